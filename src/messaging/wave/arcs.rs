//! How a part of a ring is delegated: cut into parts, each of which its first member sees to.

use crate::membership::{Direction, between};
use crate::membership::{Members, Ring, Row, first_from, neighbours, position};
use crate::model::NodeName;

/// Into how many parts a part of a ring is cut. With eight, a hundred members are reached in three
/// steps and ten thousand in five.
pub(super) const CUTS: usize = 8;
/// Up to so many members that take part in waves, this process included, the origin sends to all of
/// them itself.
pub(super) const SMALL: usize = 17;
/// The most suspects in a row that get a copy each before one that is not suspected sees to the rest.
const MAX_SKIPPED: usize = 3;

/// A member that is sent news, and the position up to which it is to forward it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delegate<'a> {
    pub(super) row: &'a Row,
    pub(super) end: u64,
}

/// Whom to send what is meant for the members between this process and `end`, and which part of that
/// each of them sees to. From its own position round to itself that is everyone.
///
/// The part is cut at equal distances, which needs no count of the members in it; their positions
/// are hashes, so that each gets about as many.
pub(super) fn cut<'a>(members: &'a Members, ring: usize, end: u64) -> Vec<Delegate<'a>> {
    let me = position(members.me(), ring);
    let ring = members.rings().ring(ring);
    let row = |name: &NodeName| members.row(name).filter(|row| row.name != *members.me());
    let few: Vec<(&u64, &NodeName)> = between(ring, me, end).take(CUTS + 1).collect();
    if few.len() <= CUTS {
        let leaf =
            |(at, name): (&u64, &NodeName)| Some(Delegate { row: row(name)?, end: at.wrapping_add(1) });
        return few.into_iter().filter_map(leaf).collect();
    }
    let length = u128::from(end.wrapping_sub(me).wrapping_sub(1)) + 1;
    let bound = |i: usize| me.wrapping_add((length * i as u128 / CUTS as u128) as u64);
    let mut delegates = Vec::with_capacity(CUTS);
    for i in 0..CUTS {
        // This process is at the start of the first part.
        let start = if i == 0 { me.wrapping_add(1) } else { bound(i) };
        let stop = if i + 1 == CUTS { end } else { bound(i + 1) };
        delegate(ring, start, stop, &row, &mut delegates);
    }
    delegates
}

/// The members from `start` on, up to the first that is not suspected: that one sees to the rest.
fn delegate<'a>(
    ring: &'a Ring,
    mut start: u64,
    stop: u64,
    row: &impl Fn(&NodeName) -> Option<&'a Row>,
    delegates: &mut Vec<Delegate<'a>>,
) {
    for skipped in 0.. {
        if start == stop {
            return;
        }
        let Some((at, name)) = first_from(ring, start, stop) else { return };
        let next = at.wrapping_add(1);
        let Some(row) = row(name) else {
            // This process itself; what is behind it counts all the same.
            start = next;
            continue;
        };
        let sees_to_the_rest = row.is_alive() || skipped >= MAX_SKIPPED;
        delegates.push(Delegate { row, end: if sees_to_the_rest { stop } else { next } });
        if sees_to_the_rest {
            return;
        }
        start = next;
    }
}

/// Everyone who takes part in waves but this process, each for itself alone.
pub(super) fn everyone(members: &Members) -> Vec<Delegate<'_>> {
    let me = position(members.me(), 0);
    let ring = members.rings().ring(0);
    let others = neighbours(ring, me, Direction::Forward);
    others
        .filter_map(|(at, name)| Some(Delegate { row: members.row(name)?, end: at.wrapping_add(1) }))
        .collect()
}
