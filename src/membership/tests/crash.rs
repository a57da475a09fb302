//! Crash evidence: members that refuse connections, and what others say of that.

use super::*;
use StreamPing::{Answered, Failed, Refused as RefusedPing};

impl Bench {
    /// The numbers under which others were asked to knock, of what is still to be sent.
    fn knocks(&self) -> Vec<u32> {
        let messages = self.fx.transmits.iter().flat_map(|transmit| &transmit.messages);
        let knock = |message: &Message| match message {
            Message::Probe(ProbeMessage::Knock(m)) => Some(m.seq_no),
            _ => None,
        };
        messages.filter_map(knock).collect()
    }

    /// The number of a ping over TCP that is to be sent to this member.
    fn stream_ping_to(&self, who: &str) -> Option<u32> {
        self.fx.streams.iter().find_map(|request| match request {
            StreamRequest::Ping { ping, .. } if ping.node == name(who) => Some(ping.seq_no),
            _ => None,
        })
    }

    fn refused(&mut self, from: &str, seq_no: u32) {
        self.hear(from, vec![Message::from(Refused { seq_no })]);
    }

    /// The next member is probed and refuses at once. Its name, and the numbers of the knocks.
    fn next_refuses(&mut self) -> (String, Vec<u32>) {
        let (who, seq) = self.next_round();
        self.forget();
        self.run(MS(100));
        self.stream_ping(seq, RefusedPing);
        (who, self.knocks())
    }

    /// As [`Bench::next_refuses`], and two others say so, too.
    fn next_has_crashed(&mut self) -> String {
        let (who, knocks) = self.next_refuses();
        self.refused("x", knocks[0]);
        self.refused("x", knocks[1]);
        who
    }

    /// The last try at this member comes to this.
    fn last_try(&mut self, who: &str, outcome: StreamPing) {
        let seq_no = self.stream_ping_to(who).expect("a last try");
        self.stream_ping(seq_no, outcome);
    }

    fn knock(&mut self, from: &str, at: &str, seq_no: u32) {
        let source = Source { node: name(from), addr: addr(from) };
        let knock = Knock { seq_no, target: addr(at), node: name(at), source };
        self.hear(from, vec![Message::from(knock)]);
    }
}

fn off() -> Config {
    Config { crash_patience: S(0), ..Config::for_profile(Profile::Lan) }
}

// ---- the member that is refused --------------------------------------------------------------

#[test]
fn three_that_are_refused_declare_a_member_dead_after_the_patience_if_it_still_refuses() {
    let mut b = Bench::with_many(20);
    let (who, knocks) = b.next_refuses();
    let asked = b.sent();
    assert_eq!((asked.len(), knocks.len()), (5, 5), "{asked:?}");
    assert!(asked.iter().all(|(to, what)| *to != addr(&who) && *what == format!("please knock at {who}")));
    b.refused("x", knocks[3]);
    b.refused("x", knocks[0]);
    b.run(MS(499));
    assert!(!b.is_suspect(&who));
    b.run(MS(1));
    assert_eq!(b.said(), [format!("suspect {who} 1 by me")], "it gets time to be heard");
    b.forget();
    b.run(MS(1499));
    assert_eq!(b.stream_ping_to(&who), None);
    b.run(MS(1));
    b.last_try(&who, RefusedPing);
    assert!(b.said().contains(&format!("dead {who} 1 by me")));
    assert_eq!(b.delivered(), [format!("member-failed {who} failed")]);
}

#[test]
fn help_over_udp_is_asked_for_as_soon_as_tcp_is_refused() {
    let mut b = Bench::with_many(20);
    let (who, _) = b.next_refuses();
    b.forget();
    b.run(MS(1));
    let asked = b.sent();
    assert_eq!(asked.len(), 3);
    assert!(asked.iter().all(|(_, what)| *what == format!("please ping {who}")));
}

/// Nobody speaks for another, and nobody is heard unasked.
#[test]
fn a_lone_liar_shortens_nothing() {
    let mut b = Bench::with_many(20);
    let (who, knocks) = b.next_refuses();
    for _ in 0..9 {
        b.refused("x", knocks[0]);
        b.refused("x", knocks[0].wrapping_add(1));
    }
    b.run(MS(500));
    assert!(!b.is_suspect(&who));
    b.run(S(4));
    assert_eq!(b.status(&who), "alive");
    assert!(b.patience(&who) > S(10), "silence keeps its patience");
}

#[test]
fn unless_this_process_is_refused_itself_what_others_say_is_nothing() {
    let mut b = Bench::with_many(20);
    let (who, seq) = b.next_round();
    b.run(MS(100));
    b.forget();
    b.stream_ping(seq, Failed);
    assert_eq!(b.knocks(), [0; 0]);
    for n in 0..100 {
        b.refused("m1", seq.wrapping_add(n));
    }
    b.run(S(4));
    assert_eq!(b.status(&who), "alive");
}

#[test]
fn one_answer_ends_it_on_whatever_way_it_comes() {
    type Answer = fn(&mut Bench, &str, &str, u32, u32);
    let answers: [(&str, Answer); 4] = [
        ("to the ping, late", |b, who, _, seq, _| drop(b.ack(who, seq))),
        ("to a ping of another", |b, _, helper, seq, _| drop(b.ack(helper, seq))),
        ("to one that was asked to knock", |b, _, _, _, knock| drop(b.ack("m2", knock))),
        ("to all", |b, who, _, _, _| b.alive(who, 2)),
    ];
    for (whom, answer) in answers {
        let mut b = Bench::with_many(20);
        let (who, seq) = b.next_round();
        b.forget();
        b.run(MS(100));
        b.stream_ping(seq, RefusedPing);
        let knocks = b.knocks();
        b.refused("x", knocks[0]);
        b.refused("x", knocks[1]);
        b.forget();
        b.run(MS(1));
        let is_help = |t: &&Transmit| matches!(t.messages[0], Message::Probe(ProbeMessage::IndirectPing(_)));
        let helper = b.fx.transmits.iter().find(is_help).map(|t| b.members.present_at(t.to.addr).unwrap());
        let helper = helper.expect("others are asked").name.to_string();
        b.forget();
        answer(&mut b, &who, &helper, seq, knocks[2]);
        b.run(S(3));
        assert_eq!(b.stream_ping_to(&who), None, "{whom}");
        assert_eq!(b.status(&who), "alive", "{whom}");
    }
}

#[test]
fn a_process_that_was_started_anew_answers_the_last_try_and_goes_on_unnoticed() {
    for outcome in [Answered, Failed] {
        let mut b = Bench::with_many(20);
        let who = b.next_has_crashed();
        b.run(S(2));
        b.last_try(&who, outcome);
        b.forget();
        b.run(S(2));
        assert_eq!((b.status(&who), b.delivered()), ("alive", vec![]));
    }
}

/// It refuted between the last try and the refusal, which then is of before.
#[test]
fn a_refusal_of_before_a_refutation_is_void() {
    let mut b = Bench::with_many(20);
    let who = b.next_has_crashed();
    b.run(S(2));
    b.alive(&who, 2);
    b.last_try(&who, RefusedPing);
    assert_eq!(b.status(&who), "alive");
    let (next, seq) = b.next_round();
    b.run(MS(100));
    b.alive(&next, 2);
    b.forget();
    b.stream_ping(seq, RefusedPing);
    assert_eq!(b.knocks(), [0; 0]);
}

#[test]
fn all_others_are_enough_in_a_small_cluster_and_nobody_in_a_pair() {
    // The others besides this process and the suspect, and how many of them have to be refused.
    for (others, needed) in [(0, 0), (1, 1), (2, 2), (3, 2)] {
        for said in 0..=needed {
            let mut b = Bench::with_many(others + 1);
            let (who, knocks) = b.next_refuses();
            assert_eq!(knocks.len(), others);
            knocks[..said].iter().for_each(|seq_no| b.refused("x", *seq_no));
            b.run(MS(500));
            assert_eq!(b.is_suspect(&who), said == needed, "{said} of {others}");
        }
    }
}

#[test]
fn only_members_that_know_knocks_are_asked() {
    let mut b = Bench::alone();
    let before = Versions { protocol_max: Versions::WAVES - 1, ..Versions::OURS };
    let versions = [Versions::OURS, before, Versions::ANY_SUCCESSOR];
    for i in 0..30 {
        let versions = versions[i % 3];
        b.news(Message::from(Alive { versions, ..alive(&format!("m{i}"), 1) }));
    }
    for _ in 0..3 {
        b.next_refuses();
        let ours = |to: SocketAddr| (0..30).step_by(3).any(|i| addr(&format!("m{i}")) == to);
        let asked: Vec<_> = b.sent().into_iter().filter(|(_, what)| what.contains("knock")).collect();
        assert_eq!(asked.len(), 5);
        assert!(asked.iter().all(|(to, _)| ours(*to)), "{asked:?}");
        b.forget();
        b.run(S(1));
    }
}

#[test]
fn without_crash_patience_a_refusal_is_silence() {
    let mut b = Bench::configured(off());
    for i in 0..20 {
        b.alive(&format!("m{i}"), 1);
    }
    let (who, seq) = b.next_round();
    b.run(MS(500));
    b.forget();
    b.stream_ping(seq, RefusedPing);
    assert_eq!(b.knocks(), [0; 0]);
    b.run(S(4));
    assert_eq!(b.status(&who), "alive");
}

#[test]
fn what_was_gathered_is_void_when_this_process_was_held_up() {
    let mut b = Bench::with_many(20);
    let who = b.next_has_crashed();
    b.run(MS(600));
    let planned = b.prober.plan(&b.members, b.now);
    b.wake_at(planned + S(5));
    b.forget();
    b.run(S(3));
    assert_eq!(b.stream_ping_to(&who), None);
    assert_eq!(b.status(&who), "alive");
}

// ---- the members that it asks ------------------------------------------------------------

#[test]
fn a_member_that_is_asked_tries_and_says_what_came_of_it() {
    for (outcome, reply) in [(Answered, Some("ack 5")), (RefusedPing, Some("refused 5")), (Failed, None)] {
        let mut b = Bench::with(&["a", "b"]);
        b.suspect("a", 1, "x");
        b.forget();
        b.knock("a", "b", 5);
        let seq_no = b.stream_ping_to("b").unwrap();
        b.forget();
        b.stream_ping(seq_no, outcome);
        assert!(b.fx.transmits.iter().all(|t| t.to.dialect == crate::wire::Dialect::Native));
        let expected: Vec<_> = reply.map(|reply| (addr("a"), reply.to_string())).into_iter().collect();
        assert_eq!(b.sent(), expected);
        b.stream_ping(seq_no, outcome);
        b.silent();
    }
}

#[test]
fn strangers_are_not_knocked_for_nor_at_nor_is_this_process() {
    let mut b = Bench::with(&["a", "b"]);
    b.knock("stranger", "b", 1);
    b.knock("a", "stranger", 1);
    b.knock("a", "me", 1);
    let source = Source { node: name("a"), addr: addr("a") };
    let elsewhere = Knock { seq_no: 1, target: addr("c"), node: name("b"), source };
    b.hear("a", vec![Message::from(elsewhere)]);
    b.silent();
}

/// Streams are needed for exchanges and joins.
#[test]
fn a_flood_of_knocks_takes_a_few_streams_and_only_for_a_while() {
    let mut b = Bench::with(&["a", "b"]);
    for seq_no in 0..1000 {
        b.knock("a", "b", seq_no);
    }
    assert_eq!(b.streamed().len(), super::super::crash::MAX_KNOCKS);
    b.now += b.members.config().tcp_timeout;
    b.knock("a", "b", 1);
    assert_eq!(b.streamed().len(), 1);
}
