//! The vote as a table of cases: which answers lead to what, and which of the two stays.

use super::*;
use crate::membership::tests::{Bench, addr};
use crate::model::{LamportTime, Member};
use crate::wire::payload::write_conflict_response;

const KEY: QueryKey = QueryKey { ltime: LamportTime(3), id: 4 };

fn rival() -> SocketAddr {
    addr("rival")
}

/// `me` among members `a` to `e`, with a vote whose query has just been asked.
fn asking() -> (Bench, NameVote) {
    let bench = Bench::with(&["a", "b", "c", "d", "e"]);
    let mut vote = NameVote::new(true);
    vote.claimed(rival(), &bench.members, bench.now);
    let at = vote.next_deadline();
    let params = vote.tick(&bench.members, at).expect("it is time");
    assert_eq!((&*params.name.to_lossy(), params.payload.as_slice()), ("_serf_conflict", &b"me"[..]));
    assert!(!params.request_ack && params.nodes.is_none() && params.timeout.is_none());
    vote.asked(KEY);
    (bench, vote)
}

fn names(at: SocketAddr, status: Status) -> Vec<u8> {
    let bench = Bench::with(&[]);
    let member = Member { addr: at, status, ..bench.members.my_row().member() };
    write_conflict_response(Some(&member))
}

fn ours() -> Vec<u8> {
    names(addr("me"), Status::Alive)
}

fn theirs() -> Vec<u8> {
    names(rival(), Status::Alive)
}

/// What becomes of a vote with these answers, of `a`, `b` and so on.
fn outcome(answers: &[Vec<u8>]) -> Option<NameLost> {
    let (bench, mut vote) = asking();
    for (from, payload) in ["a", "b", "c", "d", "e"].iter().zip(answers) {
        vote.answered(&NodeName::new(from).unwrap(), payload, &bench.members);
    }
    let lost = vote.decide(KEY, &bench.members);
    assert_eq!(vote.next_deadline(), Moment::NEVER, "the vote is over");
    lost
}

#[test]
fn the_majority_decides() {
    for (answers, stays) in [
        (vec![ours()], true),
        (vec![theirs()], false),
        (vec![ours(), theirs(), ours()], true),
        (vec![theirs(), theirs(), ours()], false),
        (vec![ours(), names(addr("third"), Status::Alive), theirs()], false),
        (vec![ours(), ours(), ours(), theirs(), theirs()], true),
    ] {
        let lost = outcome(&answers);
        assert_eq!(lost.is_none(), stays, "{answers:?}: {lost:?}");
    }
}

#[test]
fn without_an_answer_that_counts_nobody_ends() {
    let nil = || write_conflict_response(None);
    for answers in [
        vec![],
        vec![nil(), nil()],
        vec![b"".to_vec(), b"\x07".to_vec(), b"\x06\x81".to_vec()],
        // A former run of this agent: it has been found to be dead, or has left.
        vec![names(rival(), Status::Failed), names(rival(), Status::Left)],
    ] {
        assert_eq!(outcome(&answers), None, "{answers:?}");
    }
}

#[test]
fn of_equal_votes_the_lower_address_wins() {
    let lower = addr("me").min(rival()) == addr("me");
    assert_eq!(outcome(&[ours(), theirs()]).is_none(), lower);
    // And the other way round, as the other sees it.
    let tally = VoteTally { votes: [(addr("me"), 2), (rival(), 2)].into(), undecided: 0 };
    assert_ne!(tally.is_won(addr("me")), tally.is_won(rival()), "exactly one stays");
}

#[test]
fn only_members_have_a_say_and_nobody_in_its_own_cause() {
    let (bench, mut vote) = asking();
    for from in ["me", "stranger"] {
        vote.answered(&NodeName::new(from).unwrap(), &theirs(), &bench.members);
    }
    assert_eq!(vote.decide(KEY, &bench.members), None);
}

#[test]
fn the_message_names_both_addresses_and_the_count() {
    let text = outcome(&[theirs(), theirs(), ours()]).unwrap().to_string();
    for part in ["'me'", &addr("me").to_string(), &rival().to_string(), "[1 / 3]"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_vote_waits_for_the_dead_and_there_is_one_at_a_time() {
    let bench = Bench::with(&["a", "b"]);
    let mut vote = NameVote::new(true);
    assert_eq!(vote.tick(&bench.members, bench.now), None);
    vote.claimed(rival(), &bench.members, bench.now);
    let at = vote.next_deadline();
    assert_eq!(at.since(bench.now).as_secs(), 12, "three times the least suspicion timeout");
    vote.claimed(rival(), &bench.members, bench.now);
    assert_eq!((vote.next_deadline(), vote.tick(&bench.members, bench.now)), (at, None));

    assert!(vote.tick(&bench.members, at).is_some());
    vote.asked(KEY);
    vote.claimed(rival(), &bench.members, at);
    assert_eq!((vote.next_deadline(), vote.tick(&bench.members, at)), (Moment::NEVER, None));
    assert_eq!(vote.decide(QueryKey { id: 5, ..KEY }, &bench.members), None, "another query's end");
    assert_eq!(vote.decide(KEY, &bench.members), None);
    vote.claimed(rival(), &bench.members, at);
    assert!(vote.next_deadline() > at, "another vote");
}

#[test]
fn a_disabled_vote_never_begins_and_a_leaving_agent_needs_none() {
    let mut bench = Bench::with(&["a"]);
    let mut disabled = NameVote::new(false);
    disabled.claimed(rival(), &bench.members, bench.now);
    assert_eq!(disabled.next_deadline(), Moment::NEVER);

    let mut vote = NameVote::new(true);
    vote.claimed(rival(), &bench.members, bench.now);
    bench.act(|members, now, fx| members.begin_leave(now, fx));
    let at = vote.next_deadline();
    assert_eq!((vote.tick(&bench.members, at), vote.next_deadline()), (None, Moment::NEVER));
}
