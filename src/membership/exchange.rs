//! Push/pull: two members send each other all they know (memberlist's anti-entropy, which SWIM
//! leaves out). It heals what gossip has missed, and it is how a join works.

use super::effects::Spread;
use super::effects::{Effects, StreamRequest};
use super::row::{Row, State};
use super::table::{Members, Presence};
use crate::model::{LamportTime, MemberEvent, MemberEventKind, Moment, NodeName};
use crate::telemetry::counters;
use crate::wire::message::{
    Dead, JoinIntent, LeaveIntent, LeftOut, PeerIntent, PeerRow, PeerState, PushPull, SerfState, Suspect,
};
use fastrand::Rng;
use std::time::Duration;

/// How soon after a join one more exchange with a random member follows. The first exchange
/// shows the cluster as one member saw it; when many join at once, that one may not have heard
/// of all the others, and neither may gossip have reached it.
const AFTER_JOIN: (Duration, Duration) = (Duration::from_millis(1000), Duration::from_millis(3000));

/// HashiCorp's agents do not compare digests, and their gossip passes one of them by now and then,
/// above all with the local profile. So after one of theirs has come, ours exchange with all of them,
/// each with its share, at this pace.
const ROUND_PACE: Duration = Duration::from_millis(500);
/// In larger clusters gossip is repeated more often, and the newcomers never end.
const ROUND_CLUSTER: usize = 32;

/// How many others a member hears of first. Where there are no more, the first message is the whole exchange.
pub const FIRST_ROWS: usize = 64;
/// The most bytes of names, tags and the rest in one message to a member that knows no exchange of what differs.
/// With what is remembered of events it is a message that others read.
pub(crate) const WHOLE_BYTES: usize = 4 << 20;
/// Bytes of a row besides its name and its tags, in the dialect that has more of them.
const ROW_BYTES: usize = 110;

/// How much of what another member says is passed on to all. What comes from a cluster that has been apart, or goes
/// to a newcomer, would only fill the queues of everyone; those who lack it find out by their digests.
#[derive(Clone, Copy, Debug)]
pub struct NewsBudget(usize);

impl NewsBudget {
    /// The most members that are passed on as news for one exchange.
    const MOST: usize = 256;
}

impl Members {
    /// How much of what this process is about to hear is news to others: nothing, if it is the newcomer;
    /// anything, if there are members of HashiCorp's, which compare no digests.
    pub(crate) fn news_budget(&self, is_newcomer: bool) -> NewsBudget {
        NewsBudget(match () {
            () if is_newcomer || self.present() <= 1 => 0,
            () if self.rings().hashicorp() > 0 => usize::MAX,
            () => NewsBudget::MOST,
        })
    }

    /// Everything this process knows; `serf` is what it remembers of events and queries.
    ///
    /// Of a table that is too large for one message it is this process's own row and as many others as fit, from another
    /// place on each time.
    pub fn push_pull(&self, join: bool, serf: SerfState) -> PushPull {
        let mut rows = Vec::new();
        if self.text + ROW_BYTES * self.rows.len() <= WHOLE_BYTES {
            rows.extend(self.rows().chain(self.forgotten.rows()).map(Row::peer_row));
        } else {
            let mut bytes = 0;
            let start = self.next_in_order().unwrap_or(&self.me);
            let others = self
                .rows
                .range::<NodeName, _>(start..)
                .chain(self.rows.range::<NodeName, _>(..start))
                .map(|(_, row)| &**row);
            let others = others.filter(|row| row.name != self.me);
            for row in [self.my_row()].into_iter().chain(others) {
                bytes += ROW_BYTES + row.text();
                if bytes > WHOLE_BYTES {
                    break;
                }
                rows.push(row.peer_row());
            }
        }
        self.push_pull_of(join, rows, serf)
    }

    /// How many bytes [`Members::push_pull`] comes to at most, besides what is remembered of events.
    pub fn whole_bytes(&self) -> usize {
        (self.text + ROW_BYTES * (self.rows.len() + self.forgotten.len())).min(WHOLE_BYTES)
    }

    /// What a member hears first from this one: all, if that is little; else how this process is, and some others.
    pub fn introduction(&self, join: bool, serf: SerfState, rng: &mut Rng) -> PushPull {
        if self.rows.len() + self.forgotten.len() <= FIRST_ROWS + 1 {
            return self.push_pull(join, serf);
        }
        let others = self.random_rows(FIRST_ROWS, rng, Row::is_present);
        let rows = [self.my_row()].into_iter().chain(others).map(Row::peer_row).collect();
        self.push_pull_of(join, rows, serf)
    }

    fn push_pull_of(&self, join: bool, rows: Vec<PeerRow>, serf: SerfState) -> PushPull {
        PushPull {
            join,
            ltime: self.clock.time(),
            rows,
            intents: Vec::new(),
            serf,
            left_out: LeftOut::default(),
        }
    }

    /// Takes in everything another member knows.
    pub fn merge(&mut self, msg: &PushPull, now: Moment, fx: &mut Effects) {
        self.hear_time(msg.ltime, now);
        // A process that knew nobody learns what everyone else knows already.
        let mut budget = self.news_budget(false);
        for row in &msg.rows {
            self.merge_within(row, &mut budget, now, fx);
        }
        for PeerIntent { node, ltime, left } in &msg.intents {
            let (ltime, node) = (*ltime, node.clone());
            if *left {
                self.admit_leave_intent(&LeaveIntent { ltime, node, prune: false }, now, fx);
            } else {
                self.admit_join_intent(&JoinIntent { ltime, node }, now);
            }
        }
    }

    /// Takes in the Lamport time of intents of another member.
    pub(crate) fn hear_time(&mut self, ltime: LamportTime, now: Moment) {
        // One less: no message with that time has been sent yet.
        if !self.clock.witness(ltime.previous(), now) {
            counters::REFUSED_ABSURD.inc();
            let me = self.me.clone();
            self.complain(&me, "push/pull time", now, |members| {
                format!("Ignoring the Lamport time {ltime} of a push/pull; here it is {}", members.time())
            });
        }
    }

    /// Takes in a row, and passes it on if it is news that there is still something of the budget for.
    pub(super) fn merge_within(
        &mut self,
        row: &PeerRow,
        budget: &mut NewsBudget,
        now: Moment,
        fx: &mut Effects,
    ) {
        let is_present = |members: &Members| members.row(&row.node).is_some_and(Row::is_present);
        let was_known = is_present(self);
        let spread = if was_known || budget.0 > 0 { Spread::Yes } else { Spread::No };
        self.merge_row(row, spread, now, fx);
        if !was_known && is_present(self) {
            budget.0 = budget.0.saturating_sub(1);
        }
    }

    fn merge_row(&mut self, row: &PeerRow, spread: Spread, now: Moment, fx: &mut Effects) {
        // Of itself this process hears whatever the vector: it knows better, and says so.
        if row.node != self.me && !self.admits_versions(&row.node, row.addr, &row.versions, now) {
            return;
        }
        let known = self.rows.contains_key(&row.node);
        // A member that another believes dead is only suspected here: it gets its chance to
        // refute before everyone.
        let suspect =
            || Suspect { incarnation: row.incarnation, node: row.node.clone(), from: self.me.clone() };
        match row.state {
            PeerState::Alive => self.admit_alive(&row.alive_message(), spread, now, fx),
            PeerState::Suspect => {
                let suspect = suspect();
                if !known || self.rows[&row.node].incarnation < row.incarnation {
                    self.admit_alive(&row.alive_message(), spread, now, fx);
                }
                self.suspect(&suspect, now, fx);
            }
            PeerState::Dead => {
                let suspect = suspect();
                self.suspect(&suspect, now, fx);
            }
            PeerState::Left => {
                let from = row.node.clone();
                self.dead(&Dead { incarnation: row.incarnation, node: row.node.clone(), from }, now, fx);
            }
        }
        self.merge_intent(row, now, fx);
    }

    /// Brings a row's last intent up to the other member's knowledge. Nothing is passed on:
    /// the member that first heard of the intent has done that.
    fn merge_intent(&mut self, row: &PeerRow, now: Moment, fx: &mut Effects) {
        let Some(mine) = self.rows.get(&row.node) else { return };
        if row.node == self.me {
            // A failed member that was made to leave has left without having been about to.
            if row.leaving || row.state == PeerState::Left {
                let (ltime, node) = (row.status_ltime, row.node.clone());
                self.admit_leave_intent(&LeaveIntent { ltime, node, prune: false }, now, fx);
            } else {
                // Others believe in a later intent than this process remembers of itself.
                let (ltime, node) = (row.status_ltime, row.node.clone());
                self.admit_join_intent(&JoinIntent { ltime, node }, now);
            }
            return;
        }
        let newer = row.status_ltime > mine.status_ltime;
        let tied = row.status_ltime == mine.status_ltime;
        match row.state {
            PeerState::Left => {
                // With no intent that decides, only the same run can have left rather than failed.
                let forced = matches!(mine.state, State::Dead)
                    && (newer || tied && row.incarnation >= mine.incarnation);
                if (newer || forced) && self.clock.witness(row.status_ltime, now) {
                    let event = self.change(&row.node, now, |mine| {
                        mine.status_ltime = mine.status_ltime.max(row.status_ltime);
                        forced.then(|| {
                            mine.state = State::Left;
                            mine.since = now;
                            MemberEvent { kind: MemberEventKind::Leave, member: mine.member() }
                        })
                    });
                    if let Some(Some(event)) = event {
                        self.report(event, fx);
                    }
                }
            }
            _ if row.leaving => {
                let (ltime, node) = (row.status_ltime, row.node.clone());
                self.admit_leave_intent(&LeaveIntent { ltime, node, prune: false }, now, fx);
            }
            _ => {
                let (ltime, node) = (row.status_ltime, row.node.clone());
                self.admit_join_intent(&JoinIntent { ltime, node }, now);
            }
        }
    }

    /// How an exchange with a member went that this process began. A member whose datagrams come through while its
    /// streams do not stays alive, so that nothing else would show it.
    pub fn exchanged(&mut self, node: &NodeName, worked: bool) {
        self.record(node, |probes| {
            let count = if worked { &mut probes.tcp_ok } else { &mut probes.tcp_failed };
            *count = count.saturating_add(1);
        });
    }

    /// A random member to exchange everything with.
    pub fn exchange_partner(&self, rng: &mut Rng) -> Option<StreamRequest> {
        self.exchange_with(rng, |_| true)
    }

    fn exchange_with(&self, rng: &mut Rng, suits: impl Fn(&Row) -> bool) -> Option<StreamRequest> {
        let row = self.random_rows(1, rng, |row| row.is_alive() && suits(row)).into_iter().next()?;
        Some(row.exchange())
    }
}

/// When to exchange: periodically, once more soon after a join, and in rounds among HashiCorp's
/// agents when one of them has come.
#[derive(Debug)]
pub struct ExchangeSchedule {
    periodic: Moment,
    extra: Moment,
    round: Round,
}

/// Exchanges with several of HashiCorp's agents, one after the other.
#[derive(Debug)]
struct Round {
    next: Moment,
    left: usize,
    /// With whom there was one already.
    done: Vec<NodeName>,
}

impl ExchangeSchedule {
    /// Starts at a random point of the period, so that members do not move in step.
    pub fn new(members: &Members, now: Moment, rng: &mut Rng) -> Self {
        let period = members.config().push_pull_interval;
        let round = Round { next: Moment::NEVER, left: 0, done: Vec::new() };
        ExchangeSchedule { periodic: now + random_up_to(period, rng), extra: Moment::NEVER, round }
    }

    /// When [`ExchangeSchedule::tick`] has something to do.
    pub fn next_deadline(&self) -> Moment {
        self.periodic.min(self.extra).min(self.round.next)
    }

    /// After a successful join.
    pub fn joined(&mut self, now: Moment, rng: &mut Rng) {
        let (least, most) = AFTER_JOIN;
        self.extra = now + least + random_up_to(most - least, rng);
    }

    /// One of HashiCorp's agents has come.
    pub fn hashicorp_member_came(&mut self, members: &Members, now: Moment, rng: &mut Rng) {
        if members.present() > ROUND_CLUSTER {
            return;
        }
        let hashicorp = members.rings().hashicorp();
        let ours = members.present().saturating_sub(hashicorp).max(1);
        self.round.left = hashicorp.div_ceil(ours);
        self.round.done.clear();
        let (least, most) = AFTER_JOIN;
        let start = now + least + random_up_to(most - least, rng) / 2;
        self.round.next = self.round.next.min(start);
    }

    /// With whom to exchange now, if it is time.
    pub fn tick(&mut self, members: &Members, now: Moment, rng: &mut Rng) -> Option<StreamRequest> {
        let due = now >= self.next_deadline();
        if now >= self.periodic {
            // Where all are native an exchange costs what differs, however many members there are.
            let config = members.config();
            let is_native = members.rings().hashicorp() == 0;
            self.periodic = now
                + if is_native {
                    config.push_pull_interval
                } else {
                    config.push_pull_period(members.present())
                };
        }
        if now >= self.extra {
            self.extra = Moment::NEVER;
        }
        let in_round = now >= self.round.next;
        if in_round {
            self.round.next = Moment::NEVER;
        }
        if !due || members.presence() != Presence::Here {
            return None;
        }
        if in_round { self.round.step(members, now, rng) } else { members.exchange_partner(rng) }
    }
}

impl Round {
    fn step(&mut self, members: &Members, now: Moment, rng: &mut Rng) -> Option<StreamRequest> {
        let request = members.exchange_with(rng, |row| is_hashicorp(row) && !self.done.contains(&row.name));
        if let Some(StreamRequest::PushPull { node, .. }) = &request {
            self.done.push(node.clone());
        }
        self.left = self.left.saturating_sub(1);
        if self.left > 0 && request.is_some() {
            self.next = now + ROUND_PACE;
        }
        request
    }
}

fn is_hashicorp(row: &Row) -> bool {
    !row.versions.speaks_native()
}

/// A random duration below `limit`.
pub(super) fn random_up_to(limit: Duration, rng: &mut Rng) -> Duration {
    Duration::from_nanos(rng.u64(0..=u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX)))
}
