//! What one process was told of events and queries, and the laws that hold for every such
//! history.

use crate::process::Pid;
use crate::world::{Via, World};
use serf::messaging::QueryProgress;
use serf::messaging::coalesce::COALESCE_PERIOD;
use serf::messaging::keys::KeyReport;
use serf::messaging::name_vote::MAX_VOTERS;
use serf::messaging::queries::MAX_OPEN;
use serf::messaging::user_events::{MAX_BYTES, MAX_TIMES};
use serf::model::{LamportTime, Moment, NodeName, QueryKey, Text, Token, UserEvent};
use serf::node::Conversation;
use serf::node::conversation::StartedQuery;
use serf::node::snapshot::Clocks;
use serf::wire::message::{Message, QueryResponse, SerfMessage};
use serf::wire::read_datagram;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What happens at a process, for its handlers, its clients, and the checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// An event is delivered to the handlers.
    Event(UserEvent, Via),
    /// A query was asked here, and ends by then at the latest.
    Asked { key: QueryKey, deadline: Moment, acks: bool },
    /// The client that asked is told this.
    Progress(QueryKey, QueryProgress),
}

/// A law that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Breach {
    /// An event was delivered a second time.
    ToldTwice(UserEvent),
    /// An event was delivered that was delivered before a restart, says the snapshot.
    ToldAgain { event: UserEvent, recalled: LamportTime },
    /// An event was told from before a join without replay.
    ToldThePast { event: UserEvent, floor: LamportTime },
    /// An event comes from a time that this process's clock has not reached.
    ToldTheFuture { event: UserEvent, clock: LamportTime },
    /// A clock fell.
    ClockFell { before: LamportTime, now: LamportTime },
    /// Something was told of a query that is not open, or not asked here.
    NotOpen(QueryKey, QueryProgress),
    /// The same was told of the same member again.
    Counted { key: QueryKey, from: NodeName },
    /// An ack that nobody wanted.
    Unwanted { key: QueryKey, from: NodeName },
    /// A query is still open after its deadline.
    Overdue { key: QueryKey, deadline: Moment, now: Moment },
    /// The rules hold more or fewer queries open than were asked and not ended.
    OpenDiffers { open: usize, told: usize },
    /// More is remembered than may be.
    RemembersTooMuch { times: usize, bytes: usize },
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[derive(Debug)]
struct Open {
    deadline: Moment,
    acks: bool,
    acked: BTreeSet<NodeName>,
    answered: BTreeSet<NodeName>,
}

/// The history of one process.
#[derive(Debug, Default)]
pub(crate) struct Listener {
    told: BTreeSet<(LamportTime, Text, Vec<u8>)>,
    floor: LamportTime,
    /// When the floor was raised last. What was heard before may be held back until a little later.
    raised: Moment,
    /// The clock of events in the snapshot with which the process started.
    recalled: LamportTime,
    clocks: [LamportTime; 2],
    open: BTreeMap<QueryKey, Open>,
    /// Queries that clients have asked, by their requests.
    requests: BTreeMap<Token, (QueryKey, bool)>,
    /// How many commands about keys are under way.
    about_keys: usize,
    /// What everyone said to commands about keys.
    pub key_reports: Vec<KeyReport>,
}

impl Listener {
    /// Takes in what is told.
    pub(crate) fn hear(&mut self, told: &Told, now: Moment) -> Result<(), Breach> {
        match told {
            Told::Event(event, _) => {
                let held_back = event.coalesce && now <= self.raised + COALESCE_PERIOD;
                if event.ltime < self.floor && !held_back {
                    return Err(Breach::ToldThePast { event: event.clone(), floor: self.floor });
                }
                if event.ltime <= self.recalled {
                    return Err(Breach::ToldAgain { event: event.clone(), recalled: self.recalled });
                }
                if !self.told.insert((event.ltime, event.name.clone(), event.payload.clone())) {
                    return Err(Breach::ToldTwice(event.clone()));
                }
            }
            Told::Asked { key, deadline, acks } => {
                let (acked, answered) = Default::default();
                self.open.insert(*key, Open { deadline: *deadline, acks: *acks, acked, answered });
            }
            Told::Progress(key, progress) => self.progress(*key, progress)?,
        }
        Ok(())
    }

    /// How many events of a name were delivered.
    pub(crate) fn heard(&self, name: &str) -> usize {
        self.told.iter().filter(|(_, told, _)| told == name).count()
    }

    /// The process starts with a snapshot in which the clocks are these.
    pub(crate) fn resume(&mut self, recalled: Clocks) {
        self.recalled = recalled.event;
    }

    /// From now on, events from before this time are no news.
    pub(crate) fn ignore_before(&mut self, time: LamportTime, now: Moment) {
        if time > self.floor {
            (self.floor, self.raised) = (time, now);
        }
    }

    /// A client is about to ask a query.
    pub(crate) fn asks(&mut self, token: Token, acks: bool) {
        self.requests.insert(token, (QueryKey { ltime: LamportTime::ZERO, id: 0 }, acks));
    }

    /// A client is about to ask everyone about keys.
    pub(crate) fn asks_about_keys(&mut self) {
        self.about_keys += 1;
    }

    /// A client is told that its query has begun.
    pub(crate) fn started(&mut self, token: Token, started: StartedQuery) -> Told {
        let StartedQuery { key, deadline } = started;
        let request = self.requests.get_mut(&token).expect("a client asked");
        request.0 = key;
        Told::Asked { key, deadline, acks: request.1 }
    }

    /// A client is told what has come of its query.
    pub(crate) fn progress_of(&self, token: Token, progress: QueryProgress) -> Told {
        Told::Progress(self.requests[&token].0, progress)
    }

    /// A client is told what everyone said about keys.
    pub(crate) fn keys_told(&mut self, report: KeyReport) {
        self.about_keys -= 1;
        self.key_reports.push(report);
    }

    fn progress(&mut self, key: QueryKey, progress: &QueryProgress) -> Result<(), Breach> {
        let Some(open) = self.open.get_mut(&key) else {
            return Err(Breach::NotOpen(key, progress.clone()));
        };
        let (from, news) = match progress {
            QueryProgress::Ack { from } if !open.acks => {
                return Err(Breach::Unwanted { key, from: from.clone() });
            }
            QueryProgress::Ack { from } => (from, open.acked.insert(from.clone())),
            QueryProgress::Response { from, .. } => (from, open.answered.insert(from.clone())),
            QueryProgress::Done => {
                self.open.remove(&key);
                return Ok(());
            }
        };
        if news { Ok(()) } else { Err(Breach::Counted { key, from: from.clone() }) }
    }

    /// After a step: the clocks, and what is open. A process that runs has ended by then what is
    /// over.
    pub(crate) fn step(&mut self, clocks: [LamportTime; 2], open: usize, now: Moment) -> Result<(), Breach> {
        for (before, now) in self.clocks.iter().zip(clocks) {
            if now < *before {
                return Err(Breach::ClockFell { before: *before, now });
            }
        }
        self.clocks = clocks;
        let clock = clocks[0];
        if let Some((ltime, name, payload)) = self.told.last().filter(|(ltime, ..)| *ltime >= clock) {
            let (ltime, name, payload) = (*ltime, name.clone(), payload.clone());
            return Err(Breach::ToldTheFuture {
                event: UserEvent { ltime, name, payload, coalesce: false },
                clock,
            });
        }
        // The agent itself asks for one vote at a time, each voter by a query.
        let most = self.open.len() + self.about_keys + MAX_VOTERS;
        if open < self.open.len() + self.about_keys || open > most.min(MAX_OPEN) {
            return Err(Breach::OpenDiffers { open, told: self.open.len() });
        }
        match self.open.iter().find(|(_, o)| o.deadline < now) {
            Some((key, o)) => Err(Breach::Overdue { key: *key, deadline: o.deadline, now }),
            None => Ok(()),
        }
    }
}

/// What is remembered of events is bounded.
pub(crate) fn memory_is_bounded<'a>(events: impl Iterator<Item = &'a UserEvent>) -> Result<(), Breach> {
    let (mut times, mut bytes, mut last) = (0, 0, None);
    for event in events {
        // They come in the order of their times.
        times += usize::from(last.replace(event.ltime) != Some(event.ltime));
        bytes += event.name.len() + event.payload.len();
    }
    if times <= MAX_TIMES && bytes <= MAX_BYTES {
        return Ok(());
    }
    Err(Breach::RemembersTooMuch { times, bytes })
}

/// Checks what the rules remember.
pub(crate) fn remembers_little(conversation: &Conversation) -> Result<(), Breach> {
    memory_is_bounded(conversation.recent_events())
}

/// What was told and what came over the network, if someone wants to know.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// What was told, when and to whom.
    pub told: Vec<(Moment, Pid, Told)>,
    /// Answers that arrived at those whom they are for, directly or relayed, when and where.
    pub arrived: Vec<(Moment, Pid, QueryResponse)>,
}

impl World {
    /// Takes down which answers a datagram brings to a process.
    pub(crate) fn take_down(&mut self, pid: Pid, bytes: &[u8]) {
        let (Some(record), name) = (&mut self.record, &self.processes[pid].name) else { return };
        let mut messages = Vec::new();
        // What comes before something that cannot be read counts all the same.
        let _ = read_datagram(bytes, None, |message, _| messages.push(message));
        for message in messages {
            match message {
                Message::Serf(SerfMessage::QueryResponse(response)) => {
                    record.arrived.push((self.now, pid, response));
                }
                Message::Serf(SerfMessage::Relay(relay)) if relay.to.node == *name => {
                    record.arrived.push((self.now, pid, relay.response));
                }
                _ => {}
            }
        }
    }

    /// Checks and records what a process is told.
    pub(crate) fn hear(&mut self, pid: Pid, told: Told) {
        let now = self.now;
        let what = match &told {
            Told::Event(_, Via::Fire) => "events fired",
            Told::Event(_, Via::Gossip) => "events told by gossip",
            Told::Event(_, Via::Exchange) => "events told by push/pull",
            Told::Asked { .. } => "queries asked",
            Told::Progress(_, QueryProgress::Ack { .. }) => "acks of queries",
            Told::Progress(_, QueryProgress::Response { .. }) => "answers to queries",
            Told::Progress(key, QueryProgress::Done) => {
                let open = self.processes[pid].listener.open.get(key);
                let early = open.is_some_and(|o| now < o.deadline);
                if early { "queries that ended early" } else { "queries that timed out" }
            }
        };
        self.tally.count(what);
        let verdict = self.processes[pid].listener.hear(&told, now);
        self.obey(pid, verdict);
        if let Some(record) = &mut self.record {
            record.told.push((now, pid, told));
        }
    }

    /// Checks how far a process is after a step.
    pub(crate) fn listen(&mut self, pid: Pid) {
        let now = self.now;
        let process = &mut self.processes[pid];
        let Some(node) = &process.node else { return };
        let (events, queries) = node.conversation.times();
        let verdict = process.listener.step([events, queries], node.conversation.open_queries(), now);
        self.obey(pid, verdict);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const KEY: QueryKey = QueryKey { ltime: LamportTime(3), id: 7 };

    fn at(ms: u64) -> Moment {
        Moment::ZERO + Duration::from_millis(ms)
    }

    fn event(ltime: u64, payload: &str) -> Told {
        let (name, payload) = ("deploy".into(), payload.into());
        Told::Event(UserEvent { ltime: LamportTime(ltime), name, payload, coalesce: false }, Via::Gossip)
    }

    fn asked(acks: bool) -> Told {
        Told::Asked { key: KEY, deadline: at(10), acks }
    }

    fn from() -> NodeName {
        NodeName::new("a").expect("a short name")
    }

    fn ack() -> Told {
        Told::Progress(KEY, QueryProgress::Ack { from: from() })
    }

    fn response() -> Told {
        Told::Progress(KEY, QueryProgress::Response { from: from(), payload: vec![1] })
    }

    fn done() -> Told {
        Told::Progress(KEY, QueryProgress::Done)
    }

    fn tell(told: &[Told]) -> Result<Listener, Breach> {
        let mut listener = Listener::default();
        told.iter().try_for_each(|told| listener.hear(told, at(1)))?;
        Ok(listener)
    }

    #[test]
    fn an_event_that_is_told_twice_or_from_an_ignored_past_is_noticed() {
        assert!(tell(&[event(2, "x"), event(2, "y"), event(1, "x"), event(3, "x")]).is_ok());
        assert!(matches!(tell(&[event(2, "x"), event(2, "x")]), Err(Breach::ToldTwice(_))));
        let mut listener = tell(&[event(1, "x")]).unwrap();
        listener.ignore_before(LamportTime(5), at(1));
        assert_eq!(listener.hear(&event(5, "x"), at(1)), Ok(()));
        assert!(matches!(listener.hear(&event(4, "x"), at(1)), Err(Breach::ToldThePast { .. })));
        // What may be coalesced was heard before, perhaps, and is late by so much at most.
        let held_back = |payload: &str| match event(4, payload) {
            Told::Event(event, via) => Told::Event(UserEvent { coalesce: true, ..event }, via),
            other => other,
        };
        assert_eq!(listener.hear(&held_back("y"), at(3001)), Ok(()));
        assert!(matches!(listener.hear(&held_back("z"), at(3002)), Err(Breach::ToldThePast { .. })));
        let mut listener = Listener::default();
        listener.resume(Clocks { event: LamportTime(5), ..Clocks::default() });
        assert_eq!(listener.hear(&event(6, "x"), at(1)), Ok(()));
        assert!(matches!(listener.hear(&event(5, "x"), at(1)), Err(Breach::ToldAgain { .. })));
    }

    #[test]
    fn a_clock_that_falls_or_lags_is_noticed() {
        let times = |a, b| [LamportTime(a), LamportTime(b)];
        let mut listener = tell(&[event(4, "x")]).unwrap();
        assert!(matches!(listener.step(times(4, 1), 0, at(1)), Err(Breach::ToldTheFuture { .. })));
        assert_eq!(listener.step(times(5, 2), 0, at(1)), Ok(()));
        assert!(matches!(listener.step(times(5, 1), 0, at(1)), Err(Breach::ClockFell { .. })));
        assert!(matches!(listener.step(times(4, 2), 0, at(1)), Err(Breach::ClockFell { .. })));
    }

    #[test]
    fn what_does_not_follow_of_a_query_is_noticed() {
        assert!(tell(&[asked(true), ack(), response(), done()]).is_ok());
        assert!(tell(&[asked(false), response(), done()]).is_ok());
        assert!(matches!(tell(&[asked(true), ack(), ack()]), Err(Breach::Counted { .. })));
        assert!(matches!(tell(&[asked(true), response(), response()]), Err(Breach::Counted { .. })));
        assert!(matches!(tell(&[asked(false), ack()]), Err(Breach::Unwanted { .. })));
        for late in [ack(), response(), done()] {
            assert!(matches!(tell(&[asked(true), done(), late.clone()]), Err(Breach::NotOpen(..))));
            assert!(matches!(tell(&[late]), Err(Breach::NotOpen(..))));
        }
    }

    #[test]
    fn a_query_that_outlives_its_deadline_or_its_end_is_noticed() {
        let times = [LamportTime(1); 2];
        let mut listener = tell(&[asked(true)]).unwrap();
        assert_eq!(listener.step(times, 1, at(10)), Ok(()));
        assert!(matches!(listener.step(times, 1, at(11)), Err(Breach::Overdue { .. })));
        assert!(matches!(listener.step(times, 0, at(9)), Err(Breach::OpenDiffers { .. })));
        let mut listener = tell(&[asked(true), done()]).unwrap();
        assert!(matches!(listener.step(times, 1 + MAX_VOTERS, at(9)), Err(Breach::OpenDiffers { .. })));
        assert_eq!(listener.step(times, 0, at(11)), Ok(()));
    }

    #[test]
    fn too_many_times_or_bytes_are_noticed() {
        let remembered = |times: usize, per_time: usize, len: usize| {
            let (name, payload) = (Text::default(), vec![0; len]);
            let one = UserEvent { ltime: LamportTime(0), name, payload, coalesce: false };
            let events: Vec<UserEvent> = (0..times * per_time)
                .map(|i| UserEvent { ltime: LamportTime((i / per_time) as u64), ..one.clone() })
                .collect();
            memory_is_bounded(events.iter())
        };
        assert_eq!(remembered(MAX_TIMES, 2, 1), Ok(()));
        assert_eq!(remembered(1, 1, MAX_BYTES), Ok(()));
        assert!(remembered(MAX_TIMES + 1, 1, 1).is_err());
        assert!(remembered(1, 2, MAX_BYTES / 2 + 1).is_err());
    }
}
