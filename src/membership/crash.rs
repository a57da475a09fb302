//! Crash evidence: a refused connection shows that a process is gone, where silence only shows that it is
//! not heard. Who is silent gets Lifeguard's patience; who refuses gets `crash_patience`.
//!
//! A member that does not answer a ping is tried over TCP. If its host refuses the connection, nothing listens
//! there any more, and a few others are asked to try for themselves (`Knock`). As soon as enough have been
//! refused, the member is suspected, so that it hears of that if it is there after all. If it still refuses
//! when `crash_patience` has passed since the first refusal, it is declared dead. One answer ends it: a process
//! that was started anew by then goes on unnoticed.
//!
//! Evidence is what this process has seen itself, and what others saw that it asked, each under a random number
//! of its own: nobody can speak for another, and nobody is heard unasked. The others of the cluster hear
//! of the suspicion and of the death as always, so that this needs nothing of members that do not know it.

use super::effects::{Effects, StreamPing, StreamRequest, Target};
use super::row::Row;
use super::table::Members;
use crate::model::{Incarnation, Moment, NodeName};
use crate::telemetry::counters;
use crate::wire::Dialect;
use crate::wire::message::{Ack, Knock, Message, Ping, Refused, Suspect};
use fastrand::Rng;
use std::collections::BTreeMap;

/// How many members have to be refused, this process included; all but the suspect, in smaller clusters.
const SEEN_BY: usize = 3;
/// How many others are asked: more than are needed, for some may be gone as well.
const ASKED: usize = 5;
/// The most members that are tried for others at once: exchanges and joins need streams, too.
pub(super) const MAX_KNOCKS: usize = 8;

/// What one process knows of crashes that it has come upon, and what it looks into for others.
#[derive(Debug, Default)]
pub(super) struct CrashEvidence {
    cases: Vec<Case>,
    /// By the sequence number of our own ping over TCP.
    knocks: BTreeMap<u32, PendingKnock>,
}

/// A member that has refused this process.
#[derive(Debug)]
struct Case {
    node: NodeName,
    incarnation: Incarnation,
    /// When it first refused.
    since: Moment,
    /// The numbers under which others were asked that have not said that they were refused.
    asked: Vec<u32>,
    /// How many of them still have to say so.
    missing: usize,
    step: Step,
    /// When the step is over.
    due: Moment,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Others try as well.
    Gathers,
    /// Enough were refused, and the member is suspected.
    Suspected,
    /// It is tried for the last time, under this sequence number.
    LastTry(u32),
}

#[derive(Debug)]
struct PendingKnock {
    reply_to: Target,
    seq_no: u32,
    /// When its stream has ended, whatever is heard of it.
    deadline: Moment,
}

impl CrashEvidence {
    /// When [`CrashEvidence::tick`] has something to do.
    pub(super) fn next_deadline(&self) -> Moment {
        self.cases.iter().map(|case| case.due).min().unwrap_or(Moment::NEVER)
    }

    /// Takes each case a step further that is due.
    pub(super) fn tick(&mut self, members: &mut Members, now: Moment, rng: &mut Rng, fx: &mut Effects) {
        self.cases.retain_mut(|case| now < case.due || case.proceed(members, now, rng, fx));
    }

    /// Forgets what was gathered: this process did not run, and may have missed an answer.
    pub(super) fn discard(&mut self) {
        self.cases.clear();
    }

    /// This process was refused by a member that it probed in this incarnation. Others are asked to try.
    pub(super) fn refused(
        &mut self,
        node: &NodeName,
        incarnation: Incarnation,
        members: &Members,
        now: Moment,
        rng: &mut Rng,
        fx: &mut Effects,
    ) {
        let config = members.config();
        let stands = members.row(node).filter(|row| row.is_present() && row.incarnation == incarnation);
        let Some(row) = stands.filter(|_| !config.crash_patience.is_zero()) else { return };
        if self.cases.iter().any(|case| case.node == *node && case.incarnation == incarnation) {
            return;
        }
        self.answered(node);
        let knows = |peer: &Row| peer.is_alive() && peer.versions.speaks_waves() && peer.name != *node;
        let asked = members.random_rows(ASKED, rng, knows).into_iter().map(|peer| {
            let seq_no = rng.u32(..);
            let source = members.own_source();
            let knock = Knock { seq_no, target: row.addr, node: node.clone(), source };
            fx.send(peer.target(), Message::from(knock));
            seq_no
        });
        let asked = asked.collect();
        // All that are present, but this process and the suspect.
        let others = members.present().saturating_sub(2);
        self.cases.push(Case {
            node: node.clone(),
            incarnation,
            since: now,
            asked,
            missing: others.min(SEEN_BY - 1),
            step: Step::Gathers,
            // As long as others have to answer, but the suspect must have time to be heard.
            due: now + config.probe_timeout.min(config.crash_patience / 2),
        });
    }

    /// A member has answered: it is there.
    pub(super) fn answered(&mut self, node: &NodeName) {
        self.cases.retain(|case| case.node != *node);
    }

    /// An ack has come. Says whether it was from one of those that were asked to try: the member is there.
    pub(super) fn ack(&mut self, seq_no: u32) -> bool {
        let before = self.cases.len();
        self.cases.retain(|case| !case.asked.contains(&seq_no));
        self.cases.len() < before
    }

    /// One of those that were asked to try was refused as well.
    pub(super) fn confirm(&mut self, msg: &Refused) {
        for case in &mut self.cases {
            if let Some(at) = case.asked.iter().position(|seq_no| *seq_no == msg.seq_no) {
                case.asked.swap_remove(at);
                case.missing = case.missing.saturating_sub(1);
            }
        }
    }

    /// Another was refused by a member, and asks this process to try.
    pub(super) fn knock(
        &mut self,
        msg: &Knock,
        members: &Members,
        now: Moment,
        rng: &mut Rng,
        fx: &mut Effects,
    ) {
        let asker = members.row_at(&msg.source.node, msg.source.addr);
        let target = members.row_at(&msg.node, msg.target).filter(|row| row.name != *members.me());
        let (Some(asker), Some(target)) = (asker, target) else {
            counters::REFUSED_UNKNOWN_SENDER.inc();
            return;
        };
        self.knocks.retain(|_, knock| now < knock.deadline);
        if self.knocks.len() >= MAX_KNOCKS || !target.answers_stream_pings() {
            counters::REFUSED_UNKNOWN_SENDER.inc();
            return;
        }
        let seq_no = rng.u32(..);
        // What it has just said belongs to our dialect, however it counts here.
        let reply_to = Target { dialect: Dialect::Native, ..asker.target() };
        let deadline = now + members.config().tcp_timeout;
        self.knocks.insert(seq_no, PendingKnock { reply_to, seq_no: msg.seq_no, deadline });
        fx.streams.push(ping(target, seq_no, members));
    }

    /// How a ping over TCP went, if it is one of those that were sent from here.
    pub(super) fn stream_ping_done(
        &mut self,
        seq_no: u32,
        outcome: StreamPing,
        members: &mut Members,
        now: Moment,
        fx: &mut Effects,
    ) {
        if let Some(PendingKnock { reply_to, seq_no, .. }) = self.knocks.remove(&seq_no) {
            match outcome {
                StreamPing::Answered => {
                    fx.send(reply_to, Message::from(Ack { seq_no, digest: None, payload: Vec::new() }));
                }
                StreamPing::Refused => fx.send(reply_to, Message::from(Refused { seq_no })),
                StreamPing::Failed => {}
            }
        } else if let Some(at) = self.cases.iter().position(|case| case.step == Step::LastTry(seq_no)) {
            let case = self.cases.swap_remove(at);
            if outcome == StreamPing::Refused && case.stands(members) {
                members.crashed(case.node, case.incarnation, now.since(case.since), now, fx);
            }
        }
    }
}

impl Case {
    /// Whether the member is still as it was when it refused.
    fn stands(&self, members: &Members) -> bool {
        let row = members.row(&self.node);
        row.is_some_and(|row| row.is_present() && row.incarnation == self.incarnation)
    }

    /// Begins the next step. Says whether there is one.
    fn proceed(&mut self, members: &mut Members, now: Moment, rng: &mut Rng, fx: &mut Effects) -> bool {
        if self.missing > 0 || !self.stands(members) {
            return false;
        }
        let config = members.config();
        let (patience, tcp_timeout) = (config.crash_patience, config.tcp_timeout);
        match self.step {
            Step::Gathers => {
                (self.step, self.due) = (Step::Suspected, self.since + patience);
                let (incarnation, node, from) = (self.incarnation, self.node.clone(), members.me().clone());
                if members.row(&node).is_some_and(Row::is_alive) {
                    log::info!(target: "memberlist", "Suspect {node} has failed, it refuses connections");
                }
                members.suspect(&Suspect { incarnation, node, from }, now, fx);
            }
            Step::Suspected => {
                let Some(row) = members.row(&self.node) else { return false };
                let seq_no = rng.u32(..);
                fx.streams.push(ping(row, seq_no, members));
                (self.step, self.due) = (Step::LastTry(seq_no), now + tcp_timeout);
            }
            // It was silent: that is Lifeguard's.
            Step::LastTry(_) => return false,
        }
        true
    }
}

fn ping(row: &Row, seq_no: u32, members: &Members) -> StreamRequest {
    let ping = Ping { seq_no, node: row.name.clone(), source: members.own_source() };
    StreamRequest::Ping { to: row.target(), ping }
}
