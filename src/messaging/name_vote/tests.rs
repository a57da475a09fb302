//! The vote as a table of cases: which answers lead to what, and which of the two stays.

use super::*;
use crate::membership::tests::{Bench, S, addr, name};
use crate::model::{LamportTime, Member};
use crate::wire::payload::write_conflict_response;

/// The query that this member is asked.
fn key(of: &str) -> QueryKey {
    QueryKey { ltime: LamportTime(3), id: u32::from(of.as_bytes()[0]) }
}

/// These members, who have answered a probe.
fn proven(names: &[&str]) -> Bench {
    let mut bench = Bench::with(names);
    for of in names {
        bench.members.record(&name(of), |probes| probes.udp_ok = 1);
    }
    bench
}

/// Asks, if it is time; those that are asked.
fn ask(vote: &mut NameVote, bench: &mut Bench, at: Moment) -> Option<Vec<String>> {
    let (voters, params) = vote.tick(&bench.members, at, &mut bench.rng)?;
    assert_eq!((&*params.name.to_lossy(), params.payload.as_slice()), ("_serf_conflict", &b"me"[..]));
    assert!(!params.request_ack && params.relay_factor == 0 && params.timeout.is_none());
    vote.asked(voters.iter().map(|voter| (key(&voter.to_string()), voter.clone())).collect(), &bench.members);
    let mut voters: Vec<String> = voters.iter().map(NodeName::to_string).collect();
    voters.sort();
    Some(voters)
}

fn rival() -> SocketAddr {
    addr("rival")
}

/// `me` among members `a` to `e`, with a vote whose query has just been asked.
fn asking() -> (Bench, NameVote) {
    let mut bench = proven(&["a", "b", "c", "d", "e"]);
    let mut vote = NameVote::new(true);
    vote.claimed(rival(), &bench.members, bench.now);
    let at = vote.next_deadline();
    assert_eq!(ask(&mut vote, &mut bench, at).expect("it is time"), ["a", "b", "c", "d", "e"]);
    (bench, vote)
}

fn decide_nothing(vote: &mut NameVote, bench: &Bench) {
    for of in ["a", "b"] {
        assert_eq!(vote.decide(key(of), &bench.members), None);
    }
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
        vote.answered(key(from), &name(from), payload, &bench.members);
    }
    let lost = decide(&mut vote, &bench);
    assert_eq!(vote.next_deadline(), Moment::NEVER, "the vote is over");
    lost
}

/// All queries are over.
fn decide(vote: &mut NameVote, bench: &Bench) -> Option<NameLost> {
    let decided: Vec<_> = ["a", "b", "c", "d", "e"].map(|of| vote.decide(key(of), &bench.members)).into();
    let (last, others) = decided.split_last().unwrap();
    assert!(others.iter().all(Option::is_none), "before the last it is not decided");
    last.clone()
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
fn only_the_one_that_was_asked_has_a_say() {
    let (bench, mut vote) = asking();
    for from in ["me", "stranger", "b", "c", "d", "e"] {
        vote.answered(key("a"), &name(from), &theirs(), &bench.members);
    }
    let unknown = QueryKey { id: 7, ..key("a") };
    vote.answered(unknown, &name("a"), &theirs(), &bench.members);
    assert_eq!(decide(&mut vote, &bench), None);
}

#[test]
fn those_are_asked_that_have_answered_and_were_there_first_each_host_once() {
    let mut bench = proven(&["a", "b", "c"]);
    bench.now += S(600);
    for number in 0..40 {
        let of = format!("x{number}");
        bench.alive_at(&of, 1, SocketAddr::from(([10, 9, 9, 9], 1000 + number)));
        bench.members.record(&name(&of), |probes| probes.udp_ok = 1);
        bench.alive(&format!("silent{number}"), 1);
    }
    let asked: Vec<String> = voters(&bench.members, &mut bench.rng).iter().map(NodeName::to_string).collect();
    assert_eq!(asked.len(), 4, "{asked:?}");
    assert!(["a", "b", "c"].iter().all(|of| asked.contains(&of.to_string())), "{asked:?}");
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
    let mut bench = proven(&["a", "b"]);
    let (mut vote, start) = (NameVote::new(true), bench.now);
    assert_eq!(ask(&mut vote, &mut bench, start), None);
    vote.claimed(rival(), &bench.members, bench.now);
    let at = vote.next_deadline();
    assert_eq!(at.since(bench.now).as_secs(), 12, "three times the least suspicion timeout");
    vote.claimed(rival(), &bench.members, bench.now);
    assert_eq!((vote.next_deadline(), ask(&mut vote, &mut bench, start)), (at, None));

    assert!(ask(&mut vote, &mut bench, at).is_some());
    vote.claimed(rival(), &bench.members, at);
    assert_eq!((vote.next_deadline(), ask(&mut vote, &mut bench, at)), (Moment::NEVER, None));
    assert_eq!(vote.decide(QueryKey { id: 5, ..key("a") }, &bench.members), None, "another query's end");
    decide_nothing(&mut vote, &bench);
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
    assert_eq!((ask(&mut vote, &mut bench, at), vote.next_deadline()), (None, Moment::NEVER));
}
