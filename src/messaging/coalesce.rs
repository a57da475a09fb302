//! Coalescing: a burst of events becomes few, so that a handler that restarts a service does so
//! once and not fifty times (Serf's `coalesce_member.go` and `coalesce_user.go`, without their
//! faults).
//!
//! A burst ends one quiescent period after its last event, or one coalesce period after its first.
//! Member events go one better than Serf: after a quiet period the first is delivered at once, and
//! only what follows it is held back.

use crate::model::{
    Footprint, Member, MemberEvent, MemberEventKind, MemberEvents, Moment, NodeName, Standing, Text,
    UserEvent,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The longest that an event is held back.
pub const COALESCE_PERIOD: Duration = Duration::from_secs(3);
/// How long nothing must happen for a burst to be over.
pub const QUIESCENT_PERIOD: Duration = Duration::from_secs(1);
/// The most members and event names that one burst may hold back; beyond it, the burst is
/// delivered early. What a burst takes at its peak stays with the process.
pub const MAX_PENDING: usize = 1_000;
/// The most bytes of user events that one burst may hold back; beyond it, it is delivered early as well.
pub const MAX_PENDING_BYTES: usize = 512 * 1024;

/// When a burst is to be delivered.
#[derive(Clone, Copy, Debug, Default)]
struct Burst {
    /// When the first and the last event of the burst came.
    span: Option<(Moment, Moment)>,
}

impl Burst {
    fn extend(&mut self, now: Moment) {
        self.span = Some((self.span.map_or(now, |(first, _)| first), now));
    }

    fn deadline(&self) -> Moment {
        self.span
            .map_or(Moment::NEVER, |(first, last)| (first + COALESCE_PERIOD).min(last + QUIESCENT_PERIOD))
    }
}

/// What is still to be delivered about one member.
#[derive(Debug)]
struct HeldBack {
    member: Member,
    /// The last thing by which it came or went.
    change: Option<MemberEventKind>,
    /// What has happened to it since while it stayed.
    updates: BTreeSet<MemberEventKind>,
}

/// Coalesces member events.
#[derive(Debug, Default)]
pub struct MemberCoalescer {
    pending: BTreeMap<NodeName, HeldBack>,
    /// What each member was last reported to have done, so that a flap within a burst is silent.
    delivered: BTreeMap<NodeName, MemberEventKind>,
    burst: Burst,
    last_event: Option<Moment>,
}

impl MemberCoalescer {
    /// Takes an event in. Answers with what is to be delivered at once.
    pub fn offer(&mut self, event: MemberEvent, now: Moment) -> Vec<MemberEvents> {
        let quiet = self.last_event.is_none_or(|last| now.since(last) >= QUIESCENT_PERIOD);
        self.last_event = Some(now);
        let idle = self.pending.is_empty();
        self.hold(event);
        if quiet && idle {
            return self.flush();
        }
        self.burst.extend(now);
        if self.pending.len() >= MAX_PENDING { self.flush() } else { Vec::new() }
    }

    fn hold(&mut self, event: MemberEvent) {
        let MemberEvent { kind, member } = event;
        let pending = self.pending.entry(member.name.clone()).or_insert_with(|| HeldBack {
            member: member.clone(),
            change: None,
            updates: BTreeSet::new(),
        });
        pending.member = member;
        match kind.standing() {
            Standing::Stays => drop(pending.updates.insert(kind)),
            Standing::Came | Standing::Went | Standing::Forgotten => {
                // An update of what has gone since is of no interest; one of what came before a
                // join is part of it.
                pending.updates.clear();
                pending.change = Some(kind);
            }
        }
    }

    /// When [`MemberCoalescer::tick`] has something to deliver.
    pub fn next_deadline(&self) -> Moment {
        self.burst.deadline()
    }

    /// Delivers the burst if it is over.
    pub fn tick(&mut self, now: Moment) -> Vec<MemberEvents> {
        if now >= self.next_deadline() { self.flush() } else { Vec::new() }
    }

    /// Delivers everything that is held back: one entry for each kind, members by name.
    pub fn flush(&mut self) -> Vec<MemberEvents> {
        self.burst = Burst::default();
        let mut groups: BTreeMap<MemberEventKind, Vec<Member>> = BTreeMap::new();
        for (name, pending) in std::mem::take(&mut self.pending) {
            if let Some(kind) = pending.change
                && self.delivered.get(&name) != Some(&kind)
            {
                groups.entry(kind).or_default().push(pending.member.clone());
                match kind.standing() {
                    Standing::Forgotten => self.delivered.remove(&name),
                    Standing::Came | Standing::Stays | Standing::Went => self.delivered.insert(name, kind),
                };
            }
            for kind in pending.updates {
                groups.entry(kind).or_default().push(pending.member.clone());
            }
        }
        groups.into_iter().map(|(kind, members)| MemberEvents { kind, members }).collect()
    }
}

/// Coalesces user events by name: of each name only the latest Lamport time is delivered.
#[derive(Debug, Default)]
pub struct UserCoalescer {
    pending: BTreeMap<Text, Vec<UserEvent>>,
    bytes: usize,
    burst: Burst,
}

impl UserCoalescer {
    /// Takes an event in. Answers with what is to be delivered at once: an event that may not
    /// be coalesced.
    pub fn offer(&mut self, event: UserEvent, now: Moment) -> Vec<UserEvent> {
        if !event.coalesce {
            return vec![event];
        }
        let size = event.footprint();
        let latest = self.pending.entry(event.name.clone()).or_default();
        match latest.first().map(|e| e.ltime) {
            Some(known) if event.ltime < known => {}
            Some(known) if event.ltime == known => {
                self.bytes += size;
                latest.push(event);
            }
            _ => {
                self.bytes += size;
                self.bytes -= latest.iter().map(Footprint::footprint).sum::<usize>();
                *latest = vec![event];
            }
        }
        self.burst.extend(now);
        let full = self.pending.len() >= MAX_PENDING || self.bytes > MAX_PENDING_BYTES;
        if full { self.flush() } else { Vec::new() }
    }

    /// When [`UserCoalescer::tick`] has something to deliver.
    pub fn next_deadline(&self) -> Moment {
        self.burst.deadline()
    }

    /// Delivers the burst if it is over.
    pub fn tick(&mut self, now: Moment) -> Vec<UserEvent> {
        if now >= self.next_deadline() { self.flush() } else { Vec::new() }
    }

    /// Delivers everything that is held back, in the order of Lamport times.
    pub fn flush(&mut self) -> Vec<UserEvent> {
        (self.burst, self.bytes) = (Burst::default(), 0);
        let mut events: Vec<UserEvent> = std::mem::take(&mut self.pending).into_values().flatten().collect();
        events.sort_by(|a, b| (a.ltime, &a.name).cmp(&(b.ltime, &b.name)));
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Incarnation, LamportTime, Status, Tags, Versions};

    fn member(name: &str) -> Member {
        Member {
            name: NodeName::new(name).unwrap(),
            addr: "10.0.0.1:1".parse().unwrap(),
            meta: Tags::default().encode().unwrap().into(),
            status: Status::Alive,
            versions: Versions::OURS,
            incarnation: Incarnation(1),
        }
    }

    fn event(kind: MemberEventKind, name: &str) -> MemberEvent {
        MemberEvent { kind, member: member(name) }
    }

    fn at(ms: u64) -> Moment {
        Moment::from_start(Duration::from_millis(ms))
    }

    fn delivered(events: &[MemberEvents]) -> Vec<(MemberEventKind, Vec<String>)> {
        events.iter().map(|e| (e.kind, e.members.iter().map(|m| m.name.to_string()).collect())).collect()
    }

    use MemberEventKind::{Failed, Join, Leave, Reap, Update};

    #[test]
    fn the_first_after_a_quiet_second_is_delivered_at_once_and_the_burst_once() {
        let mut c = MemberCoalescer::default();
        assert_eq!(delivered(&c.offer(event(Join, "a"), at(0))), [(Join, vec!["a".to_string()])]);
        assert!(c.offer(event(Join, "c"), at(100)).is_empty());
        assert!(c.offer(event(Join, "b"), at(200)).is_empty());
        assert!(c.offer(event(Failed, "d"), at(300)).is_empty());
        assert_eq!(c.next_deadline(), at(1300));
        assert!(c.tick(at(1299)).is_empty());
        assert_eq!(
            delivered(&c.tick(at(1300))),
            [(Join, vec!["b".to_string(), "c".to_string()]), (Failed, vec!["d".to_string()])]
        );
        assert_eq!(c.next_deadline(), Moment::NEVER);
        assert!(c.flush().is_empty(), "delivered once");
    }

    #[test]
    fn a_long_burst_is_delivered_every_three_seconds() {
        let mut c = MemberCoalescer::default();
        c.offer(event(Join, "x"), at(0));
        for ms in (100..3100).step_by(500) {
            assert!(c.offer(event(Join, &format!("m{ms}")), at(ms)).is_empty());
        }
        assert_eq!(c.next_deadline(), at(3100));
    }

    #[test]
    fn flaps_are_silent_and_updates_hide_nothing() {
        let mut c = MemberCoalescer::default();
        c.offer(event(Join, "a"), at(0));
        c.offer(event(Failed, "a"), at(10));
        c.offer(event(Join, "a"), at(20));
        assert!(c.flush().is_empty(), "failed and back within a burst");
        c.offer(event(Join, "b"), at(30));
        c.offer(event(Update, "b"), at(40));
        assert_eq!(delivered(&c.flush()), [(Join, vec!["b".to_string()]), (Update, vec!["b".to_string()])]);
        assert!(c.flush().is_empty(), "an update is not delivered again");
        c.offer(event(Update, "b"), at(50));
        c.offer(event(Leave, "b"), at(60));
        assert_eq!(delivered(&c.flush()), [(Leave, vec!["b".to_string()])]);
    }

    #[test]
    fn reaped_names_are_forgotten() {
        let mut c = MemberCoalescer::default();
        c.offer(event(Join, "a"), at(0));
        c.offer(event(Reap, "a"), at(10));
        assert_eq!(delivered(&c.flush()), [(Reap, vec!["a".to_string()])]);
        assert!(c.delivered.is_empty());
        c.offer(event(Join, "a"), at(20));
        assert_eq!(delivered(&c.flush()), [(Join, vec!["a".to_string()])]);
    }

    #[test]
    fn a_burst_of_one_name_and_one_time_is_bounded_in_bytes() {
        let mut c = UserCoalescer::default();
        let event = |i: u32| UserEvent {
            ltime: LamportTime(7),
            name: "same".into(),
            payload: i.to_le_bytes().into(),
            coalesce: true,
        };
        let (mut delivered, mut most) = (0, 0);
        for i in 0..20_000 {
            delivered += c.offer(event(i), at(0)).len();
            most = most.max(c.bytes);
        }
        assert!(most <= MAX_PENDING_BYTES, "{most}");
        assert_eq!(delivered + c.flush().len(), 20_000, "none is lost");
    }

    #[test]
    fn user_events_keep_the_latest_of_each_name() {
        let mut c = UserCoalescer::default();
        let e = |ltime, name: &str, payload: &str, coalesce| UserEvent {
            ltime: LamportTime(ltime),
            name: name.into(),
            payload: payload.into(),
            coalesce,
        };
        assert_eq!(c.offer(e(1, "now", "", false), at(0)).len(), 1);
        for event in [e(5, "deploy", "x", true), e(6, "deploy", "y", true), e(4, "deploy", "w", true)] {
            assert!(c.offer(event, at(0)).is_empty());
        }
        c.offer(e(6, "deploy", "z", true), at(100));
        c.offer(e(2, "gc", "", true), at(200));
        assert!(c.tick(at(1199)).is_empty());
        let delivered: Vec<_> =
            c.tick(at(1200)).into_iter().map(|e| (e.ltime.0, e.name, e.payload)).collect();
        let expected = [(2, "gc", ""), (6, "deploy", "y"), (6, "deploy", "z")];
        assert_eq!(delivered, expected.map(|(t, n, p)| (t, n.into(), p.as_bytes().to_vec())));
    }
}
