//! What a snapshot keeps: which members were alive and how far the clocks were. Rules without I/O: which
//! lines a change is worth, what a whole file says, and when it is time to write one.

use super::line::{ClockKind, Clocks, Line};
use crate::membership::MAX_PRESENT;
use crate::model::NodeName;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// A file up to this many bytes is never compacted (Serf's `snapshotSizeLimit`).
pub const MIN_COMPACT_BYTES: u64 = 128 * 1024;
/// What one member is expected to take (Serf's `snapshotBytesPerNode`).
const BYTES_PER_MEMBER: u64 = 128;
/// How far beyond its expected size a file may grow (Serf's `snapshotCompactionThreshold`).
const GROWTH: u64 = 2;
/// The most members that are remembered: as many as can be present.
pub const MAX_KNOWN: usize = MAX_PRESENT;

/// What a snapshot keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    alive: BTreeMap<NodeName, SocketAddr>,
    clocks: Clocks,
    /// A leave does not make anyone forgotten.
    rejoin: bool,
    /// This process has left; from then on nothing is news.
    left: bool,
}

impl Known {
    /// Nobody and nothing.
    pub fn new(rejoin: bool) -> Known {
        Known { alive: BTreeMap::new(), clocks: Clocks::default(), rejoin, left: false }
    }

    /// The members that were alive, by name.
    pub fn alive(&self) -> impl Iterator<Item = (&NodeName, SocketAddr)> {
        self.alive.iter().map(|(name, addr)| (name, *addr))
    }

    /// How far the clocks were.
    pub fn clocks(&self) -> Clocks {
        self.clocks
    }

    /// Applies a line of an earlier run. Says whether there was room for it.
    ///
    /// A leave makes the clocks past, too, as in Serf: a member that left may join another
    /// cluster, whose clocks are not that far, and must hear its events.
    pub fn recall(&mut self, line: Line) -> bool {
        match line {
            Line::Alive(name, _) if self.is_full_for(&name) => return false,
            Line::Alive(name, addr) => drop(self.alive.insert(name, addr)),
            Line::NotAlive(name) => drop(self.alive.remove(&name)),
            Line::Clock(kind, time) => *self.clocks.of(kind) = time,
            Line::Leave if self.rejoin => {}
            Line::Leave => *self = Known::new(false),
        }
        true
    }

    /// Takes note of something that happens now. Says whether it is worth a line: not if it was
    /// known, if it is older, if the format has no line for it, or after leaving.
    pub fn learn(&mut self, line: &Line) -> bool {
        if self.left || !line.is_writable() {
            return false;
        }
        match line {
            Line::Alive(name, _) if self.is_full_for(name) => false,
            Line::Alive(name, addr) => self.alive.insert(name.clone(), *addr) != Some(*addr),
            Line::NotAlive(name) => self.alive.remove(name).is_some(),
            Line::Clock(kind, time) => {
                let known = self.clocks.of(*kind);
                let later = time > known;
                *known = (*known).max(*time);
                later
            }
            Line::Leave => {
                self.left = true;
                if !self.rejoin {
                    self.alive.clear();
                }
                true
            }
        }
    }

    fn is_full_for(&self, name: &NodeName) -> bool {
        self.alive.len() >= MAX_KNOWN && !self.alive.contains_key(name)
    }

    /// Whether this process leaves for good: an empty file would say as much.
    pub fn is_forgotten(&self) -> bool {
        self.left && !self.rejoin
    }

    /// A whole file that says all of this and nothing else.
    pub fn render(&self) -> Vec<u8> {
        let alive = self.alive.iter().map(|(name, addr)| Line::Alive(name.clone(), *addr));
        let mut clocks = self.clocks;
        let clocks = ClockKind::ALL.map(|kind| Line::Clock(kind, *clocks.of(kind)));
        let leave = self.left.then_some(Line::Leave);
        alive.chain(clocks).chain(leave).flat_map(|line| line.to_bytes()).collect()
    }

    /// Whether a file of `size` bytes is to be replaced by a whole one. `whole` is its size right
    /// after that was done last: what cannot shrink is not tried again and again.
    pub fn is_compaction_due(&self, size: u64, whole: u64) -> bool {
        let expected = self.alive.len() as u64 * BYTES_PER_MEMBER;
        size > (GROWTH * expected.max(whole)).max(MIN_COMPACT_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::super::reading::Reading;
    use super::*;
    use crate::model::LamportTime;
    use proptest::prelude::*;

    fn name(text: &str) -> NodeName {
        NodeName::new(text).unwrap()
    }

    fn alive(text: &str, host: u8) -> Line {
        Line::Alive(name(text), SocketAddr::from(([10, 0, 0, host], 7946)))
    }

    fn clock(kind: ClockKind, time: u64) -> Line {
        Line::Clock(kind, LamportTime(time))
    }

    #[test]
    fn only_news_is_worth_a_line() {
        let mut known = Known::new(false);
        assert!(known.learn(&alive("a", 1)));
        assert!(!known.learn(&alive("a", 1)));
        assert!(known.learn(&alive("a", 2)), "it moved");
        assert!(known.learn(&clock(ClockKind::Event, 5)));
        assert!(!known.learn(&clock(ClockKind::Event, 5)) && !known.learn(&clock(ClockKind::Event, 4)));
        assert_eq!(known.clocks().event, LamportTime(5));
        assert!(known.learn(&Line::NotAlive(name("a"))));
        assert!(!known.learn(&Line::NotAlive(name("a"))));
        assert!(!known.learn(&Line::Alive(name("x\nleave"), SocketAddr::from(([10, 0, 0, 1], 1)))));
        assert_eq!(known.render(), b"clock: 0\nevent-clock: 5\nquery-clock: 0\n");
    }

    #[test]
    fn after_a_leave_nothing_is_news() {
        for rejoin in [false, true] {
            let mut known = Known::new(rejoin);
            known.learn(&alive("a", 1));
            assert!(known.learn(&Line::Leave));
            assert!(!known.learn(&Line::Leave) && !known.learn(&Line::NotAlive(name("a"))));
            assert!(!known.learn(&alive("b", 2)) && !known.learn(&clock(ClockKind::Event, 5)));
            assert_eq!((known.alive().count(), known.is_forgotten()), (usize::from(rejoin), !rejoin));
            assert!(known.render().ends_with(b"leave\n"));
        }
    }

    #[test]
    fn a_file_may_grow_to_twice_what_it_should_be() {
        let mut known = Known::new(false);
        assert!(
            !known.is_compaction_due(MIN_COMPACT_BYTES, 0)
                && known.is_compaction_due(MIN_COMPACT_BYTES + 1, 0)
        );
        for i in 0..1000 {
            known.learn(&alive(&i.to_string(), 1));
        }
        assert!(!known.is_compaction_due(256_000, 0) && known.is_compaction_due(256_001, 0));
        // Long names: 1,000 lines of 300 bytes.
        assert!(!known.is_compaction_due(600_000, 300_000) && known.is_compaction_due(600_001, 300_000));
    }

    fn any_change() -> impl Strategy<Value = Line> {
        prop_oneof![
            (0u8..20, 1u8..5).prop_map(|(n, host)| alive(&format!("n {n}"), host)),
            (0u8..20).prop_map(|n| Line::NotAlive(name(&format!("n {n}")))),
            (0usize..3, 0u64..50).prop_map(|(kind, time)| clock(ClockKind::ALL[kind], time)),
        ]
    }

    fn recall(text: &[u8], rejoin: bool) -> Known {
        let mut reading = Reading::new(rejoin);
        reading.push(text);
        let recalled = reading.finish();
        assert_eq!(recalled.skipped, 0);
        recalled.known
    }

    proptest! {
        #[test]
        fn the_lines_and_the_whole_file_say_the_same(
            changes in proptest::collection::vec(any_change(), 0..100),
            leaves in any::<bool>(),
            rejoin in any::<bool>(),
        ) {
            let mut known = Known::new(rejoin);
            let mut lines = Vec::new();
            for change in changes.into_iter().chain(leaves.then_some(Line::Leave)) {
                if known.learn(&change) {
                    lines.extend(change.to_bytes());
                }
            }
            let whole = known.render();
            prop_assert_eq!(recall(&lines, rejoin), recall(&whole, rejoin));
            prop_assert_eq!(recall(&lines, false), recall(&whole, false));
            if leaves && !rejoin {
                prop_assert_eq!(recall(&whole, rejoin), Known::new(false));
            } else {
                prop_assert_eq!(recall(&whole, rejoin).alive, known.alive);
                prop_assert_eq!(recall(&whole, rejoin).clocks, known.clocks);
            }
        }
    }
}
