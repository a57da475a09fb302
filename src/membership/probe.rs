//! The prober: asks one member after the other whether it is there (SWIM §3.1), with
//! Lifeguard's local health, nacks and memberlist's fallback to TCP.
//!
//! A round goes: ping; soon try TCP; after the probe timeout, or as soon as TCP is refused, ask others to
//! ping; after the probe interval (scaled by local health) suspect. It ends early with the first ack. A process
//! that was held up of late suspects only who is silent in a second, long round, too. What follows from a refusal
//! is in `crash`.

use super::crash::CrashEvidence;
use super::effects::{Effects, StreamPing, StreamRequest, Target, Transmit};
use super::exchange::random_up_to;
use super::row::{Row, State};
use super::table::{Members, Presence};
use crate::model::{Incarnation, Moment, NodeName};
use crate::telemetry::{counters, metrics};
use crate::wire::message::{Ack, IndirectPing, Knock, Message, Nack, Ping, Refused, Suspect};
use fastrand::Rng;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// The most indirect probes that are served for others at once.
pub const MAX_RELAYS: usize = 1024;

/// The memberlist protocol from which on members say that a member they asked did not answer.
const NACK_PROTOCOL: u8 = 4;

/// For so long a process that was held up counts on being held up again. Its host lacks time, and those beside it
/// are late as well: where all members were on one such host, each would accuse others every half minute, and
/// what that costs would take the rest of the time (2,000 agents on two cores never came to rest). Others judge
/// meanwhile; and a member that is gone is found silent twice by all.
const HELD_UP: Duration = Duration::from_secs(30);

/// How long the second round for a silent member takes at least, then.
const SECOND_ROUND: Duration = Duration::from_secs(10);

/// How one probe went, for coordinates and statistics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeOutcome {
    /// The member that answered.
    pub node: NodeName,
    /// After how long.
    pub round_trip: Duration,
    /// What it added to its ack.
    pub payload: Vec<u8>,
}

/// The probe state machine of one process.
#[derive(Debug)]
pub struct Prober {
    next_round: Moment,
    round: Option<ProbeRound>,
    /// Probes on behalf of others, by the sequence number of our own ping.
    relays: BTreeMap<u32, PendingRelay>,
    evidence: CrashEvidence,
    /// Until when this process counts on being held up.
    held_up_until: Option<Moment>,
    /// Who was silent in a round meanwhile, and is asked once more.
    doubted: Option<NodeName>,
    /// When the driver was last asked to wake up.
    planned: Moment,
    /// Since when a member's digest has differed from ours, while ours stayed the same.
    differs_since: Option<Moment>,
    /// How long it has to differ until an exchange is asked for.
    patience: Duration,
}

#[derive(Debug)]
struct ProbeRound {
    node: NodeName,
    incarnation: Incarnation,
    seq_no: u32,
    sent: Moment,
    /// When TCP is tried, and whether it has been.
    try_stream_at: Moment,
    stream_tried: bool,
    /// When others are asked, and whether they have been.
    ask_others_at: Moment,
    asked: bool,
    deadline: Moment,
    nacks_expected: u32,
    nacks: u32,
    tcp: Option<bool>,
    /// Where those are that were asked to probe.
    helpers: Vec<SocketAddr>,
}

#[derive(Debug)]
struct PendingRelay {
    /// Which member is asked for whom.
    node: NodeName,
    reply_to: Target,
    seq_no: u32,
    /// When to say that there was no answer so far.
    nack_at: Option<Moment>,
    /// When an answer is of no use any more.
    deadline: Moment,
}

impl Prober {
    /// Starts at a random point of the probe interval, so that members do not move in step.
    pub fn new(members: &Members, now: Moment, rng: &mut Rng) -> Self {
        Prober {
            next_round: now + random_up_to(members.config().probe_interval, rng),
            round: None,
            relays: BTreeMap::new(),
            evidence: CrashEvidence::default(),
            held_up_until: None,
            doubted: None,
            planned: Moment::NEVER,
            differs_since: None,
            patience: settling_time(members),
        }
    }

    /// A sequence number that nobody can foretell: with a forged ack to it, a member that is dead would be kept
    /// alive.
    fn seq(&self, rng: &mut Rng) -> u32 {
        loop {
            let seq_no = rng.u32(..);
            if !self.relays.contains_key(&seq_no) {
                return seq_no;
            }
        }
    }

    /// When to call [`Prober::tick`], for the table's deadlines and the prober's own; never before
    /// `now`. To be asked right before every wait: a tick that comes much later than planned shows
    /// that this process was held up.
    ///
    /// A deadline can come to lie in the past while this process is wide awake: a confirmation
    /// shortens a suspicion that has run for long, a late ack ends a round that went beyond its
    /// interval. Nothing was missed then, so lateness counts from `now`.
    pub fn plan(&mut self, members: &Members, now: Moment) -> Moment {
        let round = match &self.round {
            Some(round) => round.next_deadline(),
            None => self.next_round,
        };
        let relay = self.relays.values().map(|r| r.nack_at.unwrap_or(r.deadline)).min();
        let relay = relay.unwrap_or(Moment::NEVER);
        let rest =
            self.evidence.next_deadline().min(members.next_deadline()).min(members.claims.next_deadline());
        self.planned = round.min(relay).min(rest).max(now);
        self.planned
    }

    /// Does what has come due. Drain the socket first: an ack that has arrived counts.
    ///
    /// When the call comes later than planned by more than the probe timeout, this process did
    /// not run (it was paused, or starved). Then silence means nothing: the round is discarded
    /// and suspects get the lost time back.
    pub fn tick(&mut self, members: &mut Members, now: Moment, rng: &mut Rng, fx: &mut Effects) {
        let lateness = now.since(self.planned);
        if lateness > members.config().probe_timeout {
            log::warn!(
                target: "memberlist",
                "This process did not run for {:.1} s; discarding what it missed", lateness.as_secs_f64()
            );
            members.excuse_lateness(lateness);
            self.held_up_until = Some(now + HELD_UP);
            members.awareness.apply(1);
            self.relays.clear();
            self.evidence.discard();
            if self.round.take().is_some() {
                counters::PROBES_DISCARDED.inc();
            }
        }
        self.planned = Moment::NEVER;
        members.tick(now, fx);
        members.proceed_with_claims(now, rng, fx);
        self.evidence.tick(members, now, rng, fx);
        self.expire_relays(now, fx);
        if let Some(round) = &mut self.round {
            if !members.row(&round.node).is_some_and(Row::is_present) {
                // It left or was given up meanwhile. That it is silent says nothing.
                self.round = None;
                return self.next_round_if_due(members, now, rng, fx);
            }
            if now >= round.try_stream_at && !round.stream_tried {
                round.try_stream(members, fx);
            }
            if now >= round.ask_others_at && !round.asked {
                self.ask_others(members, now, rng, fx);
            } else if now >= round.deadline {
                self.give_up(members, now, fx);
            }
        }
        self.next_round_if_due(members, now, rng, fx);
    }

    fn next_round_if_due(&mut self, members: &mut Members, now: Moment, rng: &mut Rng, fx: &mut Effects) {
        if self.round.is_none() && now >= self.next_round {
            self.start_round(members, now, rng, fx);
        }
    }

    fn start_round(&mut self, members: &mut Members, now: Moment, rng: &mut Rng, fx: &mut Effects) {
        let config = members.config();
        let (interval, timeout) = (config.probe_interval, config.probe_timeout);
        let deadline = now + members.awareness().scale(interval);
        self.next_round = now + interval;
        if members.presence() == Presence::Gone {
            return;
        }
        let source = members.own_source();
        let degraded = members.awareness().score() > 0;
        // A process that mistrusts itself may be overloaded, and has no streams to waste.
        let waits_with_tcp = degraded || config.crash_patience.is_zero();
        let stream_delay = if waits_with_tcp { timeout } else { config.stream_delay() };
        let seq_no = self.seq(rng);
        let Some(row) = members.next_to_probe(rng) else { return };
        let is_doubted = self.doubted.as_ref() == Some(&row.name);
        let deadline = if is_doubted { deadline.max(now + SECOND_ROUND) } else { deadline };
        let ping = Message::from(Ping { seq_no, node: row.name.clone(), source: source.clone() });
        let mut messages = vec![ping];
        if let State::Suspect(_) = row.state {
            // Inform a suspect of what it is suspected of, so that it can refute at once
            // (Lifeguard's "buddy system").
            messages.push(Message::from(Suspect {
                incarnation: row.incarnation,
                node: row.name.clone(),
                from: source.node,
            }));
        }
        fx.transmits.push(Transmit { to: row.target(), messages, probe: Some(seq_no), piggybacks: true });
        counters::PROBES_SENT.inc();
        counters::PROBES_DEGRADED.add(usize::from(degraded));
        self.round = Some(ProbeRound {
            node: row.name.clone(),
            incarnation: row.incarnation,
            seq_no,
            sent: now,
            try_stream_at: now + stream_delay,
            stream_tried: false,
            ask_others_at: now + timeout,
            asked: false,
            deadline,
            nacks_expected: 0,
            nacks: 0,
            tcp: None,
            helpers: Vec::new(),
        });
    }

    /// The direct ping was not answered in time: asks `indirect_checks` others.
    fn ask_others(&mut self, members: &mut Members, now: Moment, rng: &mut Rng, fx: &mut Effects) {
        let Some(round) = &mut self.round else { return };
        round.asked = true;
        // However late it is asked, the help has as long as was planned for it.
        let time_for_help = round.deadline.since(round.ask_others_at);
        round.deadline = round.deadline.max(now + time_for_help);
        let Some(row) = members.row(&round.node) else { return };
        log::debug!(target: "memberlist", "Failed UDP ping: {} (timeout reached)", round.node);
        let source = members.own_source();
        let k = members.config().indirect_checks;
        let target = row.addr;
        for peer in members.random_rows(k, rng, |r| r.is_alive() && r.name != round.node) {
            let nack = peer.versions.protocol_max >= NACK_PROTOCOL;
            round.nacks_expected += u32::from(nack);
            let ask = IndirectPing {
                seq_no: round.seq_no,
                target,
                node: round.node.clone(),
                nack,
                source: source.clone(),
            };
            round.helpers.push(peer.addr);
            fx.send(peer.target(), Message::from(ask));
        }
        members.record(&round.node, |r| r.udp_failed = r.udp_failed.saturating_add(1));
    }

    /// Nobody has had an answer from the member.
    fn give_up(&mut self, members: &mut Members, now: Moment, fx: &mut Effects) {
        let Some(round) = self.round.take() else { return };
        metrics::PROBE_TIME.record_time(now.since(round.sent));
        if round.tcp == Some(true) {
            counters::PROBES_TCP_ONLY.inc();
            members.complain(&round.node, "udp", now, |_| {
                format!(
                    "Was able to connect to {} over TCP but UDP probes failed, network may be misconfigured",
                    round.node
                )
            });
            members.awareness.apply(-1);
            return;
        }
        counters::PROBES_FAILED.inc();
        members.record(&round.node, |r| r.tcp_failed = r.tcp_failed.saturating_add(1));
        // Nacks that are missing show that those that were asked do not hear this process either;
        // with nobody to ask, the failure itself is all there is to go by.
        let missing = if round.nacks_expected > 0 {
            round.nacks_expected.saturating_sub(round.nacks) as i32
        } else {
            1
        };
        members.awareness.apply(missing);
        let Some(row) = members.row(&round.node) else { return };
        if !row.is_present() || row.incarnation > round.incarnation {
            return;
        }
        let is_second = self.doubted.take().is_some_and(|node| node == round.node);
        if self.held_up_until.is_some_and(|until| now < until) && !is_second {
            members.probe_next(&round.node);
            self.doubted = Some(round.node);
            return;
        }
        if row.is_alive() {
            log::info!(target: "memberlist", "Suspect {} has failed, no acks received", round.node);
        }
        let from = members.me().clone();
        let suspect = Suspect { incarnation: round.incarnation, node: round.node, from };
        members.suspect(&suspect, now, fx);
    }

    /// The datagram of a probe could not even be sent: that is a failed ping.
    pub fn send_failed(&mut self, seq_no: u32, now: Moment) {
        if let Some(round) = &mut self.round
            && round.seq_no == seq_no
        {
            round.ask_others_at = now;
            round.try_stream_at = now;
        }
    }

    /// How a TCP ping went.
    pub fn stream_ping_done(
        &mut self,
        seq_no: u32,
        outcome: StreamPing,
        members: &mut Members,
        now: Moment,
        rng: &mut Rng,
        fx: &mut Effects,
    ) {
        let Some(round) = self.round.as_mut().filter(|round| round.seq_no == seq_no) else {
            return self.evidence.stream_ping_done(seq_no, outcome, members, now, fx);
        };
        round.tcp = Some(outcome == StreamPing::Answered);
        match outcome {
            StreamPing::Answered => {
                members.record(&round.node, |r| r.tcp_ok = r.tcp_ok.saturating_add(1));
                self.evidence.answered(&round.node);
            }
            StreamPing::Refused => {
                // No answer will come here; others may still have one.
                round.ask_others_at = round.ask_others_at.min(now);
                self.evidence.refused(&round.node, round.incarnation, members, now, rng, fx);
            }
            StreamPing::Failed => {}
        }
    }

    /// Another was refused by a member, and asks this process to try.
    pub fn knock(&mut self, msg: &Knock, members: &Members, now: Moment, rng: &mut Rng, fx: &mut Effects) {
        self.evidence.knock(msg, members, now, rng, fx);
    }

    /// A member that was asked to try was refused as well.
    pub fn refused(&mut self, msg: &Refused) {
        self.evidence.confirm(msg);
    }

    /// Someone asks whether this process is there.
    pub fn ping(&mut self, msg: &Ping, from: SocketAddr, members: &Members, fx: &mut Effects) {
        if members.presence() == Presence::Gone {
            // It has left: that others count it as here is over.
            return;
        }
        if msg.node != *members.me() {
            log::debug!(target: "memberlist", "Got ping for unexpected node '{}' from {from}", msg.node);
            counters::REFUSED_UNKNOWN_SENDER.inc();
            return;
        }
        let ack =
            |payload| Message::from(Ack { seq_no: msg.seq_no, digest: Some(members.digest()), payload });
        // The answer goes to the address in the message only if a member has it; otherwise back
        // to where the ping came from, and without a coordinate: it would be thrice as long as
        // the ping, which may be forged.
        match members.row_at(&msg.source.node, msg.source.addr) {
            Some(row) => fx.send(row.target(), ack(members.ack_payload())),
            None => fx.send_to_stranger(members.stranger(from), ack(Vec::new())),
        }
    }

    /// Someone asks to ask someone else.
    pub fn indirect_ping(
        &mut self,
        msg: &IndirectPing,
        members: &Members,
        now: Moment,
        rng: &mut Rng,
        fx: &mut Effects,
    ) {
        let asker = members.row_at(&msg.source.node, msg.source.addr);
        let target = members.row_at(&msg.node, msg.target);
        let (Some(asker), Some(target)) = (asker, target) else {
            log::debug!(
                target: "memberlist",
                "Refusing to ping '{}' at {} for '{}' at {}: not the addresses of known members",
                msg.node, msg.target, msg.source.node, msg.source.addr
            );
            counters::REFUSED_UNKNOWN_SENDER.inc();
            return;
        };
        if self.relays.len() >= MAX_RELAYS {
            counters::REFUSED_UNKNOWN_SENDER.inc();
            return;
        }
        let seq_no = self.seq(rng);
        // The asker counts a nack only within its probe interval, of which the probe timeout has
        // passed when it asks. Sent with the timeout itself, as memberlist does, nacks come too
        // late for an asker in good health; Lifeguard's four fifths are in time (§IV-A).
        let config = members.config();
        let time_for_help = config.probe_interval.saturating_sub(config.probe_timeout);
        let nack_at = msg.nack.then(|| now + time_for_help.min(config.probe_timeout) * 4 / 5);
        let deadline = now + config.probe_timeout;
        let relay = PendingRelay {
            node: target.name.clone(),
            reply_to: asker.target(),
            seq_no: msg.seq_no,
            nack_at,
            deadline,
        };
        self.relays.insert(seq_no, relay);
        let ping = Ping { seq_no, node: target.name.clone(), source: members.own_source() };
        fx.send(target.target(), Message::from(ping));
    }

    /// An answer came, to a probe of ours or to one on behalf of another.
    pub fn ack(
        &mut self,
        msg: Ack,
        from: SocketAddr,
        members: &mut Members,
        now: Moment,
        fx: &mut Effects,
    ) -> Option<ProbeOutcome> {
        if self.evidence.ack(msg.seq_no) || members.holder_answered(msg.seq_no, from, now, fx) {
            return None;
        }
        if self.relays.get(&msg.seq_no).is_some_and(|relay| members.may_answer(&relay.node, from))
            && let Some(relay) = self.relays.remove(&msg.seq_no)
        {
            let ack = Ack { seq_no: relay.seq_no, digest: None, payload: Vec::new() };
            fx.send(relay.reply_to, Message::from(ack));
            return None;
        }
        let round =
            self.round.take_if(|round| round.seq_no == msg.seq_no && round.may_answer(from, members))?;
        metrics::PROBE_TIME.record_time(now.since(round.sent));
        members.awareness.apply(-1);
        self.evidence.answered(&round.node);
        members.record(&round.node, |r| r.udp_ok = r.udp_ok.saturating_add(1));
        self.doubted.take_if(|node| *node == round.node);
        if let Some(digest) = msg.digest {
            self.compare(digest, &round.node, members, now, fx);
        }
        // An answer through others says nothing about the way to the member, nor does one that is
        // read late.
        (!round.asked && now < round.ask_others_at).then(|| ProbeOutcome {
            node: round.node,
            round_trip: now.since(round.sent),
            payload: msg.payload,
        })
    }

    /// A member that was asked had no answer either, but is there.
    pub fn nack(&mut self, msg: &Nack, from: SocketAddr) {
        if let Some(round) = &mut self.round
            && round.seq_no == msg.seq_no
            && round.nacks < round.nacks_expected
            && round.helpers.contains(&from)
        {
            round.nacks += 1;
        }
    }

    /// Asks for an exchange with a member whose view differs from ours for longer than gossip
    /// takes to level it. An exchange that does not help, because one of the two refuses what
    /// the other believes, is repeated ever more rarely, down to the periodic rate.
    fn compare(&mut self, theirs: u64, node: &NodeName, members: &Members, now: Moment, fx: &mut Effects) {
        if theirs == members.digest() || members.is_fruitless(theirs, now) {
            self.differs_since = None;
            self.patience = settling_time(members);
            return;
        }
        // Only what differs while nothing changes here is a lasting difference.
        let since = self.differs_since.filter(|since| *since > members.digest_since());
        match since {
            None => self.differs_since = Some(now),
            Some(since) if now.since(since) < self.patience => {}
            Some(_) => {
                self.differs_since = None;
                self.patience = (self.patience * 2).min(members.config().push_pull_interval);
                if let Some(row) = members.row(node).filter(|r| r.is_alive()) {
                    log::debug!(target: "memberlist", "View differs from that of {node}; exchanging");
                    fx.streams.push(row.exchange());
                }
            }
        }
    }

    fn expire_relays(&mut self, now: Moment, fx: &mut Effects) {
        self.relays.retain(|_, relay| {
            if relay.nack_at.take_if(|at| *at <= now).is_some() {
                // A late answer is still passed on after this.
                fx.send(relay.reply_to, Message::from(Nack { seq_no: relay.seq_no }));
            }
            now < relay.deadline
        });
    }
}

impl ProbeRound {
    /// Whether an ack from this address counts: from the member that is probed, or one that was asked to.
    fn may_answer(&self, from: SocketAddr, members: &Members) -> bool {
        self.helpers.contains(&from) || members.may_answer(&self.node, from)
    }

    fn next_deadline(&self) -> Moment {
        let try_stream_at = if self.stream_tried { Moment::NEVER } else { self.try_stream_at };
        let ask_others_at = if self.asked { Moment::NEVER } else { self.ask_others_at };
        self.deadline.min(try_stream_at).min(ask_others_at)
    }

    /// The ack is late: tries TCP, if the member knows pings over TCP.
    fn try_stream(&mut self, members: &Members, fx: &mut Effects) {
        self.stream_tried = true;
        let Some(row) = members.row(&self.node) else { return };
        if row.answers_stream_pings() {
            let ping = Ping { seq_no: self.seq_no, node: self.node.clone(), source: members.own_source() };
            fx.streams.push(StreamRequest::Ping { to: row.target(), ping });
        }
    }
}

/// How long gossip takes to level a difference.
fn settling_time(members: &Members) -> Duration {
    members.config().gossip_interval * 5
}
