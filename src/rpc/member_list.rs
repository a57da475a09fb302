//! A list of members on its way to a client, however many they are: it is encoded piece by piece as the client reads,
//! and what all lists hold meanwhile is bounded.

use super::codec::encode_into;
use super::record::MemberInfo;
use crate::model::Member;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The most bytes that all lists together hold: two of twenty thousand members. A longer one is written alone. Names
/// and tags belong to the table and are not copied.
pub(crate) const MAX_HELD: usize = 3 << 20;

/// What all lists together hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListBudget(Arc<AtomicUsize>);

/// There is no room for another list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooManyLists;

impl fmt::Display for TooManyLists {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Too many lists of members are being read; try again")
    }
}

impl std::error::Error for TooManyLists {}

/// A part of the budget, for as long as it exists.
#[derive(Debug)]
struct Held {
    budget: ListBudget,
    bytes: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The members, and how far the list has been written.
#[derive(Clone, Debug)]
pub(crate) struct MemberList {
    members: Arc<Vec<Member>>,
    /// How many have been written; none, not even the head, before the first piece.
    written: Option<usize>,
    _held: Arc<Held>,
}

impl MemberList {
    /// A list of these.
    pub(crate) fn new(members: Vec<Member>, budget: &ListBudget) -> Result<MemberList, TooManyLists> {
        let mut members = members;
        members.shrink_to_fit();
        let bytes = members.capacity() * size_of::<Member>();
        let held = Held { budget: budget.clone(), bytes };
        // Counted first, so that two at once cannot both find room for one.
        let others = budget.0.fetch_add(bytes, Ordering::Relaxed);
        if others > 0 && others + bytes > MAX_HELD {
            return Err(TooManyLists);
        }
        Ok(MemberList { members: Arc::new(members), written: None, _held: Arc::new(held) })
    }

    /// Appends more of a `MembersResponse`, until `out` has `enough` bytes. Says whether there is more.
    pub(super) fn write(&mut self, out: &mut Vec<u8>, enough: usize) -> bool {
        let written = self.written.get_or_insert_with(|| {
            // A map with one field, the list.
            out.push(0x81);
            encode_into(out, &"Members".to_string());
            let len = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
            // Writing to memory cannot fail.
            let _ = rmp::encode::write_array_len(out, len);
            0
        });
        while out.len() < enough
            && let Some(member) = self.members.get(*written)
        {
            encode_into(out, &MemberInfo::from(member));
            *written += 1;
        }
        *written < self.members.len()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::{Incarnation, NodeName, Status, Tags, Versions};
    use crate::rpc::codec::encode;
    use crate::rpc::record::MembersResponse;

    pub(crate) fn members(count: usize) -> Vec<Member> {
        let meta = Tags::from_pairs(["role=web"]).unwrap().encode().unwrap();
        let member = |i| Member {
            name: NodeName::new(format!("member-{i}")).unwrap(),
            addr: "10.0.0.1:7946".parse().unwrap(),
            meta: meta.clone().into(),
            status: Status::Alive,
            versions: Versions::OURS,
            incarnation: Incarnation(1),
        };
        (0..count).map(member).collect()
    }

    #[test]
    fn a_list_in_pieces_is_the_list_in_one() {
        for count in [0, 1, 15, 16, 300, 70_000] {
            let members = members(count);
            let whole = encode(&MembersResponse { members: members.iter().map(MemberInfo::from).collect() });
            for piece in [1, 1_000, usize::MAX] {
                let mut list = MemberList::new(members.clone(), &ListBudget::default()).unwrap();
                let mut all = Vec::new();
                loop {
                    let mut out = Vec::new();
                    let more = list.write(&mut out, piece);
                    assert!(out.len() < piece.saturating_add(400));
                    all.extend(out);
                    if !more {
                        break;
                    }
                }
                assert_eq!(all, whole, "{count} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn what_all_lists_hold_is_bounded_and_given_back() {
        let budget = ListBudget::default();
        let many = members(10_000);
        let mut lists = Vec::new();
        while let Ok(list) = MemberList::new(many.clone(), &budget) {
            lists.push(list);
        }
        assert!((4..=5).contains(&lists.len()), "{}", lists.len());
        assert_eq!(MemberList::new(many.clone(), &budget).unwrap_err(), TooManyLists);
        assert!(MemberList::new(members(10), &budget).is_ok(), "a short one finds room");
        drop(lists.pop());
        assert!(MemberList::new(many, &budget).is_ok());
        drop(lists);
        let longest = MemberList::new(members(100_000), &budget).unwrap();
        assert_eq!(MemberList::new(members(10), &budget).unwrap_err(), TooManyLists, "it is written alone");
        drop(longest);
        assert_eq!(budget.0.load(Ordering::Relaxed), 0);
    }
}
