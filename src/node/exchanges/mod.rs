//! Exchanges over TCP: joins, push/pull both ways, reaching for failed members and for seeds, and
//! the pings of the prober that go over TCP.
//!
//! Streams themselves, their deadlines and their buffers are the business of the owner; here is
//! decided what is said on them, and what comes of it.

mod dialogues;
mod difference;
mod effects;
mod join;
#[cfg(test)]
mod tests;

pub use effects::{
    DialogueId, DialogueLine, ExchangeEffect, ExchangeTurn, MAX_HELD, Plan, Purpose, StreamFailure, StreamId,
};
pub use join::{JoinError, JoinId};

use crate::membership::{
    Effects, ExchangeSchedule, FIRST_ROWS, Members, Origin, ReconnectSchedule, Row, Seeds, StreamPing,
    StreamRequest,
};
use crate::model::{Moment, NodeName};
use crate::telemetry::{Passed, RateLimit, counters};
use crate::wire::difference::DifferenceMessage;
use crate::wire::message::{
    Ack, LeftOut, MembershipMessage, Message, PeerRow, PeerState, Ping, ProbeMessage, PushPull, SerfState,
};
use crate::wire::stream::StreamMessage;
use difference::Dialogue;
use fastrand::Rng;
use join::Join;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// How many lines about one address and kind are logged in [`COMPLAINT_INTERVAL`].
const COMPLAINTS: u32 = 3;
/// A member that takes so long to answer one that joins has many others to answer: for the rest of the table, it is left
/// alone.
const SLOW: Duration = Duration::from_secs(1);
/// See [`COMPLAINTS`].
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(60);

/// The state of all exchanges.
#[derive(Debug)]
pub struct Exchanges {
    schedule: ExchangeSchedule,
    reconnect: ReconnectSchedule,
    seeds: Seeds,
    joins: BTreeMap<JoinId, Join>,
    next_join: u64,
    dialogues: BTreeMap<DialogueLine, Dialogue>,
    next_dialogue: u64,
    complaints: RateLimit<IpAddr>,
}

impl Exchanges {
    /// Nothing is under way.
    pub fn new(members: &Members, now: Moment, rng: &mut Rng) -> Self {
        let schedule = ExchangeSchedule::new(members, now, rng);
        let reconnect = ReconnectSchedule::new(members, now, rng);
        Exchanges {
            schedule,
            reconnect,
            seeds: Seeds::new(members, now, rng),
            joins: BTreeMap::new(),
            next_join: 0,
            dialogues: BTreeMap::new(),
            next_dialogue: 0,
            complaints: RateLimit::new(COMPLAINTS, COMPLAINT_INTERVAL),
        }
    }

    // ---- time --------------------------------------------------------------------------

    /// When [`Exchanges::tick`] has something to do.
    pub fn next_deadline(&self) -> Moment {
        let recovery = self.reconnect.next_deadline().min(self.seeds.next_deadline());
        self.schedule.next_deadline().min(recovery)
    }

    /// Does what has come due.
    pub fn tick(&mut self, members: &Members, now: Moment, rng: &mut Rng, fx: &mut Vec<ExchangeEffect>) {
        let exchange = self.schedule.tick(members, now, rng);
        let failed = self.reconnect.tick(members, now, rng);
        let seed = self.seeds.tick(members, now, rng);
        for request in [exchange, failed].into_iter().flatten() {
            open(request, fx);
        }
        fx.extend(seed.map(ExchangeEffect::LookUp));
    }

    /// One of HashiCorp's agents has come.
    pub fn hashicorp_member_came(&mut self, members: &Members, now: Moment, rng: &mut Rng) {
        self.schedule.hashicorp_member_came(members, now, rng);
    }

    /// Keeps addresses through which others may be found, as people write them; for ever, if they
    /// are configured.
    pub fn keep_seeds(&mut self, seeds: impl IntoIterator<Item = String>, origin: Origin) {
        self.seeds.keep(seeds, origin);
    }

    /// A seed leads to these addresses; to none if it could not be looked up.
    pub fn seed_found(
        &mut self,
        seed: &str,
        addrs: Vec<SocketAddr>,
        members: &Members,
        rng: &mut Rng,
        fx: &mut Vec<ExchangeEffect>,
    ) {
        if let Some(request) = self.seeds.found(seed, addrs, members, rng) {
            open(request, fx);
        }
    }

    // ---- streams that others open ------------------------------------------------------

    /// A message came on a stream that another opened.
    pub fn heard(
        &mut self,
        stream: StreamId,
        peer: SocketAddr,
        message: StreamMessage,
        turn: &mut ExchangeTurn,
    ) {
        match message {
            StreamMessage::PushPull(theirs) => self.answer_exchange(stream, peer, theirs, turn),
            StreamMessage::Difference(DifferenceMessage::Hello(hello)) => {
                self.hear_hello(stream, hello, turn)
            }
            StreamMessage::Difference(message) => {
                self.hear_in_dialogue(DialogueLine::Theirs(stream), peer, message, turn);
            }
            StreamMessage::Ping(ping) => {
                let reply = answer_ping(&ping, &turn.table.members);
                turn.fx.push(ExchangeEffect::Reply(stream, reply));
            }
            StreamMessage::Error(why) => {
                if let Some(passed) = self.complain(peer, "error", turn.now) {
                    log::warn!(target: "memberlist", "{peer} reports an error: {why}{passed}");
                }
                turn.fx.push(ExchangeEffect::Close(stream));
            }
            StreamMessage::User(message) => {
                self.hear(message, peer, turn);
                turn.fx.push(ExchangeEffect::Close(stream));
            }
            StreamMessage::Ack(_) => {
                if let Some(passed) = self.complain(peer, "answer", turn.now) {
                    log::debug!(target: "memberlist", "{peer} sent an answer to nothing{passed}");
                }
                turn.fx.push(ExchangeEffect::Close(stream));
            }
        }
    }

    /// The other's state is taken in before the answer is made, so that the answer is this
    /// process's refutation; what the answer says of events is what was known before.
    fn answer_exchange(
        &mut self,
        stream: StreamId,
        peer: SocketAddr,
        theirs: PushPull,
        turn: &mut ExchangeTurn,
    ) {
        if let Some(why) = refuses(&theirs, &turn.table.members) {
            if let Some(passed) = self.complain(peer, "versions", turn.now) {
                log::warn!(target: "memberlist", "Refusing a push/pull from {peer}: {why}{passed}");
            }
            return turn.fx.push(ExchangeEffect::Reply(stream, StreamMessage::Error(why)));
        }
        self.note_left_out(peer, &theirs, turn.now);
        let is_present = |row: &&PeerRow| matches!(row.state, PeerState::Alive | PeerState::Suspect);
        let goes_on = theirs.rows.iter().filter(is_present).all(|row| row.versions.speaks_differences());
        let plan = Plan::Answer { stream, join: theirs.join, goes_on };
        turn.fx.push(ExchangeEffect::Recall(plan));
        merge(theirs, false, turn);
    }

    /// Takes in what otherwise comes in datagrams.
    fn hear(&mut self, message: Message, peer: SocketAddr, turn: &mut ExchangeTurn) {
        let now = turn.now;
        match message {
            Message::Serf(message) => turn.fx.push(ExchangeEffect::Hear(peer, message)),
            Message::Membership(MembershipMessage::JoinIntent(m)) => {
                change(turn, |members, _, fx| members.join_intent(&m, now, fx));
            }
            Message::Membership(MembershipMessage::LeaveIntent(m)) => {
                change(turn, |members, _, fx| members.leave_intent(&m, now, fx));
            }
            Message::Membership(
                MembershipMessage::Alive(_) | MembershipMessage::Suspect(_) | MembershipMessage::Dead(_),
            )
            | Message::Probe(
                ProbeMessage::Ping(_)
                | ProbeMessage::IndirectPing(_)
                | ProbeMessage::Ack(_)
                | ProbeMessage::Nack(_)
                | ProbeMessage::Knock(_)
                | ProbeMessage::Refused(_),
            )
            | Message::Wave(_) => {
                // These belong in datagrams; memberlist refuses them on streams as well.
                if let Some(passed) = self.complain(peer, "datagram message", now) {
                    log::debug!(target: "memberlist", "{peer} sent a datagram's message on a stream{passed}");
                }
            }
        }
    }

    // ---- streams that this process opens -----------------------------------------------

    /// Begins an exchange that other rules ask for.
    pub fn open(&mut self, request: StreamRequest, fx: &mut Vec<ExchangeEffect>) {
        open(request, fx);
    }

    /// Sends this process's side of a push/pull, with what the conversation remembers.
    pub fn proceed(
        &mut self,
        plan: Plan,
        serf: SerfState,
        members: &Members,
        rng: &mut Rng,
        fx: &mut Vec<ExchangeEffect>,
    ) {
        let connect = |to, state, purpose| ExchangeEffect::Connect {
            to,
            message: StreamMessage::PushPull(state),
            purpose,
        };
        fx.push(match plan {
            Plan::Answer { stream, join, goes_on } => {
                let state = if goes_on {
                    members.introduction(join, serf, rng)
                } else {
                    members.push_pull(join, serf)
                };
                ExchangeEffect::Reply(stream, StreamMessage::PushPull(state))
            }
            Plan::AnswerHello { stream, hello } => {
                return self.answer_hello(stream, *hello, serf, members, rng);
            }
            Plan::Differ { node, to, is_newcomer } => {
                return self.open_dialogue((node, to), is_newcomer, serf, members, rng, fx);
            }
            Plan::Exchange { node, to } => {
                connect(to, members.push_pull(false, serf), Purpose::Exchange(node))
            }
            Plan::Ask { node, to } => connect(to, members.introduction(false, serf, rng), Purpose::Ask(node)),
            Plan::Reach { whom, to } => {
                connect(to, members.introduction(false, serf, rng), Purpose::Reach(whom))
            }
            Plan::Join { id, addr } => {
                // Whatever was there before may have been replaced by another kind of agent.
                let to = members.stranger(addr);
                connect(to, members.introduction(true, serf, rng), Purpose::Join(id))
            }
        });
    }

    /// A member has heard of this process and some others, and has answered in kind: goes on with it if
    /// there may be more to know on either side.
    fn go_on_with(&self, peer: SocketAddr, was_alone: bool, heard: usize, turn: &mut ExchangeTurn) {
        let members = &turn.table.members;
        // One row more than that may be a part as well: among the others there may have been this process.
        let is_all = members.len() <= FIRST_ROWS + 1 && heard <= FIRST_ROWS;
        let Some(row) = members.present_at(peer).filter(|row| row.name != *members.me() && !is_all) else {
            return;
        };
        let (node, to) = (row.name.clone(), row.target());
        let plan = if row.versions.speaks_differences() {
            Plan::Differ { node, to, is_newcomer: was_alone }
        } else if was_alone {
            // It has said all it knows, and so has this process.
            return;
        } else {
            Plan::Exchange { node, to }
        };
        turn.fx.push(ExchangeEffect::Recall(plan));
    }

    /// The other side has answered.
    pub fn answered(
        &mut self,
        purpose: Purpose,
        peer: SocketAddr,
        message: StreamMessage,
        turn: &mut ExchangeTurn,
    ) {
        if let StreamMessage::PushPull(theirs) = &message
            && let Some(why) = refuses(theirs, &turn.table.members)
        {
            return self.failed(purpose, peer, &StreamFailure::Unfit(why), turn);
        }
        if let StreamMessage::PushPull(theirs) = &message {
            self.note_left_out(peer, theirs, turn.now);
        }
        match (purpose, message) {
            (Purpose::Join(id), StreamMessage::PushPull(theirs)) => {
                let join = self.joins.get(&id);
                let ignore_past = join.is_some_and(|join| !join.replay);
                let was_slow = join.is_some_and(|join| turn.now.since(join.began) >= SLOW);
                let (was_alone, heard) = (turn.table.members.present() <= 1, theirs.rows.len());
                merge(theirs, ignore_past, turn);
                self.joined(id, turn);
                let another = if was_slow && was_alone { another_than(peer, turn) } else { None };
                self.go_on_with(another.unwrap_or(peer), was_alone, heard, turn);
            }
            (Purpose::Dialogue(id), StreamMessage::Difference(message)) => {
                self.hear_in_dialogue(DialogueLine::Ours(id), peer, message, turn);
            }
            (Purpose::Exchange(node), StreamMessage::PushPull(theirs)) => {
                merge(theirs, false, turn);
                turn.table.members.exchanged(&node, true);
            }
            (Purpose::Ask(node), StreamMessage::PushPull(theirs)) => {
                let now = turn.now;
                change(turn, |members, _, fx| members.owner_answered(&node, peer, &theirs.rows, now, fx));
                merge(theirs, false, turn);
            }
            (Purpose::Reach(whom), StreamMessage::PushPull(theirs)) => {
                log::info!(target: "serf", "{whom} ({peer}) answers");
                let (was_alone, heard) = (turn.table.members.present() <= 1, theirs.rows.len());
                merge(theirs, false, turn);
                self.go_on_with(peer, was_alone, heard, turn);
                self.schedule.joined(turn.now, turn.rng);
            }
            (Purpose::Reconnect { node, seq_no, to }, StreamMessage::Ack(ack)) if ack.seq_no == seq_no => {
                turn.fx.push(ExchangeEffect::Recall(Plan::Reach { whom: node.to_string(), to }));
            }
            (Purpose::Ping(seq_no), StreamMessage::Ack(ack)) if ack.seq_no == seq_no => {
                turn.fx.push(ExchangeEffect::PingDone { seq_no, outcome: StreamPing::Answered });
            }
            (purpose, StreamMessage::Error(why)) => {
                self.failed(purpose, peer, &StreamFailure::Refused(why), turn);
            }
            (
                purpose,
                StreamMessage::PushPull(_)
                | StreamMessage::Ping(_)
                | StreamMessage::Ack(_)
                | StreamMessage::Difference(_)
                | StreamMessage::User(_),
            ) => self.failed(purpose, peer, &StreamFailure::Unexpected, turn),
        }
    }

    /// A stream that this process opened has not done its work.
    pub fn failed(
        &mut self,
        purpose: Purpose,
        peer: SocketAddr,
        why: &StreamFailure,
        turn: &mut ExchangeTurn,
    ) {
        counters::STREAMS_FAILED.inc();
        let now = turn.now;
        match purpose {
            Purpose::Dialogue(id) => {
                if let Some(node) = self.dialogue_failed(id) {
                    self.exchange_failed(&node, peer, why, turn);
                }
            }
            Purpose::Join(id) => {
                log::debug!(target: "memberlist", "Failed to join {peer}: {why}");
                self.step(id, |join| join.failed(format!("Failed to join {peer}: {why}")), turn.fx);
            }
            Purpose::Exchange(node) => self.exchange_failed(&node, peer, why, turn),
            Purpose::Reach(whom) if why.is_refusal() => {
                if let Some(passed) = self.complain(peer, "reach", now) {
                    log::warn!(target: "serf", "{whom} ({peer}) cannot be reconnected to: {why}{passed}");
                }
            }
            // An agent of ours says its name; one of HashiCorp's closes the stream.
            Purpose::Reconnect { node, .. }
                if why.is_refusal() || matches!(why, StreamFailure::Closed(_)) =>
            {
                if let Some(passed) = self.complain(peer, "reconnect", now) {
                    log::warn!(
                        target: "serf",
                        "Not reconnecting to {node}: what is at {peer} now does not answer to that name: {why}{passed}"
                    );
                }
            }
            Purpose::Reconnect { node, .. } => {
                log::debug!(target: "serf", "{node} ({peer}) is out of reach: {why}");
            }
            // It may be gone by now, or never have been there.
            Purpose::Ask(node) => log::debug!(target: "memberlist", "{node} ({peer}) does not answer: {why}"),
            // That is how it goes with those that have failed.
            Purpose::Reach(whom) => log::debug!(target: "serf", "{whom} ({peer}) is out of reach: {why}"),
            Purpose::Ping(seq_no) => {
                if let Some(passed) = self.complain(peer, "ping", now) {
                    log::debug!(target: "memberlist", "Failed fallback TCP ping of {peer}: {why}{passed}");
                }
                let gone = matches!(why, StreamFailure::NothingListens(_));
                let outcome = if gone { StreamPing::Refused } else { StreamPing::Failed };
                turn.fx.push(ExchangeEffect::PingDone { seq_no, outcome });
            }
        }
    }

    fn exchange_failed(
        &mut self,
        node: &NodeName,
        peer: SocketAddr,
        why: &StreamFailure,
        turn: &mut ExchangeTurn,
    ) {
        turn.table.members.exchanged(node, false);
        if let Some(passed) = self.complain(peer, "exchange", turn.now) {
            let hint = hint(node, &turn.table.members);
            log::error!(target: "memberlist", "Push/Pull with {node} ({peer}) failed: {why}{hint}{passed}");
        }
    }

    // ---- joins -------------------------------------------------------------------------

    /// A name for the next join.
    pub fn next_join(&mut self) -> JoinId {
        self.next_join += 1;
        JoinId(self.next_join)
    }

    /// Joins through all of these addresses at once; `errors` are those of names that led nowhere.
    /// [`ExchangeEffect::Joined`] says how it went.
    pub fn join(
        &mut self,
        id: JoinId,
        addrs: Vec<SocketAddr>,
        errors: Vec<String>,
        replay: bool,
        turn: &mut ExchangeTurn,
    ) {
        let now = turn.now;
        change(turn, |members, _, fx| members.come_back(now, fx));
        self.joins.insert(id, Join::new(addrs.len(), errors, replay, now));
        for addr in addrs {
            turn.fx.push(ExchangeEffect::Recall(Plan::Join { id, addr }));
        }
        self.step(id, Join::begun, turn.fx);
    }

    /// An address of a join has answered.
    fn joined(&mut self, id: JoinId, turn: &mut ExchangeTurn) {
        let now = turn.now;
        let Some(join) = self.joins.get_mut(&id) else { return };
        if join.succeeded() {
            change(turn, |members, _, fx| members.announce_join(now, fx));
            self.schedule.joined(now, turn.rng);
        }
        self.end(id, turn.fx);
    }

    fn step(&mut self, id: JoinId, step: impl FnOnce(&mut Join), fx: &mut Vec<ExchangeEffect>) {
        if let Some(join) = self.joins.get_mut(&id) {
            step(join);
            self.end(id, fx);
        }
    }

    /// Ends a join if nothing of it is pending.
    fn end(&mut self, id: JoinId, fx: &mut Vec<ExchangeEffect>) {
        if self.joins.get(&id).is_some_and(Join::is_over)
            && let Some(join) = self.joins.remove(&id)
        {
            fx.push(ExchangeEffect::Joined(id, join.outcome()));
        }
    }

    /// Says what could not be read of an exchange, which goes on without it.
    fn note_left_out(&mut self, peer: SocketAddr, theirs: &PushPull, now: Moment) {
        let LeftOut { count, first } = &theirs.left_out;
        if *count > 0
            && let Some(passed) = self.complain(peer, "left out", now)
        {
            log::warn!(
                target: "memberlist",
                "Left out {count} of the entries of a push/pull with {peer}; the first is {first}{passed}"
            );
        }
    }

    /// Whether a line of this kind about this peer may be logged now.
    fn complain(&mut self, peer: SocketAddr, kind: &'static str, now: Moment) -> Option<Passed> {
        self.complaints.pass(peer.ip(), kind, now)
    }
}

fn open(request: StreamRequest, fx: &mut Vec<ExchangeEffect>) {
    fx.push(match request {
        StreamRequest::Ping { to, ping } => {
            let purpose = Purpose::Ping(ping.seq_no);
            ExchangeEffect::Connect { to, message: StreamMessage::Ping(ping), purpose }
        }
        StreamRequest::PushPull { node, to, differs: true } => {
            ExchangeEffect::Recall(Plan::Differ { node, to, is_newcomer: false })
        }
        StreamRequest::PushPull { node, to, differs: false } => {
            ExchangeEffect::Recall(Plan::Exchange { node, to })
        }
        StreamRequest::Ask { node, to } => ExchangeEffect::Recall(Plan::Ask { node, to }),
        StreamRequest::Reconnect { to, ping } => {
            log_attempt(&ping.node, to.addr);
            let purpose = Purpose::Reconnect { node: ping.node.clone(), seq_no: ping.seq_no, to };
            ExchangeEffect::Connect { to, message: StreamMessage::Ping(ping), purpose }
        }
        StreamRequest::Reach { whom, to } => {
            log_attempt(&whom, to.addr);
            ExchangeEffect::Recall(Plan::Reach { whom, to })
        }
    });
}

/// What an operator should look at when exchanges with a member fail.
fn hint(node: &NodeName, members: &Members) -> &'static str {
    match members.row(node) {
        Some(row) if row.is_alive() && row.probes.udp_ok > 0 && row.probes.tcp_ok == 0 => {
            ". It answers over UDP: is TCP blocked?"
        }
        _ => "",
    }
}

fn log_attempt(whom: &dyn std::fmt::Display, addr: SocketAddr) {
    log::info!(target: "serf", "attempting reconnect to {whom} {addr}");
}

/// Why an exchange is refused as a whole, if it is.
fn refuses(theirs: &PushPull, members: &Members) -> Option<String> {
    let why = members.refuses(theirs);
    if why.is_some() {
        counters::REFUSED_MALFORMED.inc();
    }
    why
}

fn answer_ping(Ping { node, seq_no, .. }: &Ping, members: &Members) -> StreamMessage {
    if node == members.me() {
        let digest = Some(members.digest());
        StreamMessage::Ack(Ack { seq_no: *seq_no, digest, payload: Vec::new() })
    } else {
        StreamMessage::Error(format!("this is '{}', not '{node}'", members.me()))
    }
}

/// The address of a member that this process has just heard of.
fn another_than(peer: SocketAddr, turn: &mut ExchangeTurn) -> Option<SocketAddr> {
    let (members, rng) = (&turn.table.members, &mut *turn.rng);
    let is_other = |row: &Row| row.name != *members.me() && row.addr != peer;
    let fits = |row: &Row| row.is_alive() && row.versions.speaks_differences() && is_other(row);
    members.random_rows(1, rng, fits).first().map(|row| row.addr)
}

fn merge(theirs: PushPull, ignore_past: bool, turn: &mut ExchangeTurn) {
    let now = turn.now;
    change(turn, |members, _, fx| members.merge(&theirs, now, fx));
    turn.fx.push(ExchangeEffect::MergeSerf { theirs: theirs.serf, ignore_past });
}

/// Changes the table by a rule; what comes of it is carried out with the rest.
fn change(turn: &mut ExchangeTurn, rule: impl FnOnce(&mut Members, &mut Rng, &mut Effects)) {
    let rng = &mut *turn.rng;
    let out = turn.table.change(|members, fx| rule(members, rng, fx));
    turn.fx.push(ExchangeEffect::Table(out));
}
