//! What a member answers to others' probes and relays for them, and what it makes of the digests
//! in their acks.

use super::probing::ack;
use super::*;
use crate::wire::message::{IndirectPing, Ping, Source};

fn source(of: &str) -> Source {
    Source { node: name(of), addr: addr(of) }
}

fn please(node: &str, at: SocketAddr, source: Source) -> Message {
    Message::from(IndirectPing { seq_no: 5, target: at, node: name(node), nack: true, source })
}

impl Bench {
    /// The number of the last ping that it sent.
    pub(crate) fn last_ping(&self) -> u32 {
        let pings = self.fx.transmits.iter().flat_map(|t| &t.messages);
        let mut numbers = pings.filter_map(|m| {
            if let Message::Probe(ProbeMessage::Ping(p)) = m { Some(p.seq_no) } else { None }
        });
        numbers.next_back().expect("no ping was sent")
    }

    /// How many answers of this kind to the request 5 it has sent there, since last asked.
    fn sent_to(&mut self, to: &str, what: &str) -> usize {
        let wanted = (addr(to), format!("{what} 5"));
        self.sent().into_iter().filter(|sent| *sent == wanted).count()
    }
}

#[test]
fn acks_go_only_to_addresses_of_known_members_or_back_where_the_ping_came_from() {
    let mut b = Bench::with(&["a"]);
    let ping = |node: &str, source| Message::from(Ping { seq_no: 9, node: name(node), source });
    let (victim, origin) = (addr("victim"), addr("origin"));
    b.hear_from(origin, vec![ping("me", source("a"))]);
    b.hear_from(origin, vec![ping("me", Source { node: name("a"), addr: victim })]);
    b.hear_from(origin, vec![ping("me", Source { node: name("stranger"), addr: victim })]);
    b.hear_from(origin, vec![ping("other", source("a"))]);
    let to: Vec<_> = b.sent().into_iter().collect();
    assert_eq!(to, [addr("a"), origin, origin].map(|to| (to, "ack 9".to_string())));
}

#[test]
fn a_relay_passes_the_answer_back() {
    let mut b = Bench::with(&["a", "t"]);
    b.hear("a", vec![please("t", addr("t"), source("a"))]);
    let seq = b.last_ping();
    assert_eq!(b.sent(), [(addr("t"), "ping t".into())]);
    b.hear("t", vec![ack(seq, None)]);
    assert_eq!(b.sent(), [(addr("a"), "ack 5".into())]);
    b.hear("t", vec![ack(seq, None)]);
    b.silent();
}

#[test]
fn a_relay_nacks_in_time_to_count_and_still_passes_a_late_answer_on() {
    for profile in [Profile::Lan, Profile::Wan, Profile::Local] {
        let config = Config::for_profile(profile);
        let in_time = config.probe_timeout.min(config.probe_interval - config.probe_timeout);
        let mut b = Bench::configured(config);
        b.alive("a", 1);
        b.alive("t", 1);
        b.forget();
        b.hear("a", vec![please("t", addr("t"), source("a"))]);
        let seq = b.last_ping();
        b.forget();
        b.run(in_time - MS(1));
        assert_eq!(b.sent_to("a", "nack"), 1, "{profile:?}");
        b.hear("t", vec![ack(seq, None)]);
        assert_eq!(b.sent_to("a", "ack"), 1, "{profile:?}");
    }
}

#[test]
fn a_relay_that_is_never_answered_is_forgotten_after_one_nack() {
    let mut b = Bench::with(&["a", "t"]);
    b.hear("a", vec![please("t", addr("t"), source("a"))]);
    let seq = b.last_ping();
    b.run(S(1));
    assert_eq!(b.sent_to("a", "nack"), 1);
    b.hear("t", vec![ack(seq, None)]);
    assert_eq!(b.sent_to("a", "ack"), 0);
}

#[test]
fn nothing_is_relayed_from_or_to_addresses_that_no_member_has() {
    let mut b = Bench::with(&["a", "t"]);
    let victim = addr("victim");
    b.hear("a", vec![please("t", victim, source("a"))]);
    b.hear("a", vec![please("stranger", victim, source("a"))]);
    b.hear("a", vec![please("t", addr("t"), Source { node: name("a"), addr: victim })]);
    b.hear("a", vec![please("t", addr("t"), source("stranger"))]);
    b.silent();
}

#[test]
fn relays_are_bounded() {
    let mut b = Bench::with(&["a", "t"]);
    for _ in 0..MAX_RELAYS + 10 {
        b.hear("a", vec![please("t", addr("t"), source("a"))]);
    }
    assert_eq!(b.sent().len(), MAX_RELAYS);
}

// ---- digests -----------------------------------------------------------------------------

impl Bench {
    /// One round, answered with this digest.
    fn round_with_digest(&mut self, digest: impl FnOnce(u64) -> u64) {
        let (who, seq) = self.next_round();
        let digest = digest(self.members.digest());
        self.hear(&who, vec![ack(seq, Some(digest))]);
    }
}

#[test]
fn only_a_lasting_difference_of_digests_leads_to_an_exchange() {
    let mut b = Bench::with(&["a"]);
    b.round_with_digest(|same| same);
    b.round_with_digest(|mine| !mine);
    assert_eq!(b.streamed(), Vec::<String>::new());
    b.round_with_digest(|same| same);
    b.round_with_digest(|mine| !mine);
    assert_eq!(b.streamed(), Vec::<String>::new(), "they have agreed in between");
    b.round_with_digest(|mine| !mine);
    assert_eq!(b.streamed(), ["exchange with a"]);
}

#[test]
fn a_difference_during_change_is_no_lasting_one() {
    let mut b = Bench::with(&["a"]);
    for incarnation in 2..20 {
        b.round_with_digest(|mine| !mine);
        b.alive("a", incarnation);
    }
    assert_eq!(b.streamed(), Vec::<String>::new());
}

#[test]
fn acks_without_a_digest_say_nothing_about_it() {
    let mut b = Bench::with(&["a"]);
    for _ in 0..10 {
        let (_, seq) = b.next_round();
        b.ack("a", seq);
    }
    assert_eq!(b.streamed(), Vec::<String>::new());
}

#[test]
fn a_difference_that_exchanges_do_not_mend_is_not_exchanged_for_ever_faster_than_the_period() {
    let mut b = Bench::with(&["a"]);
    let start = b.now;
    while b.now.since(start) < S(600) {
        b.round_with_digest(|mine| !mine);
    }
    let exchanges = b.streamed().len();
    assert!((15..30).contains(&exchanges), "{exchanges} in ten minutes");
    b.round_with_digest(|same| same);
    for _ in 0..3 {
        b.round_with_digest(|mine| !mine);
    }
    assert_eq!(b.streamed().len(), 1, "once they agreed, the next difference is a new one");
}

#[test]
fn the_digest_shows_who_is_present_and_leaving_and_forgets_the_past() {
    let (mut b, mut c) = (Bench::with(&["a", "b"]), Bench::with(&["b", "a", "c"]));
    assert_ne!(b.members.digest(), c.members.digest());
    c.suspect("c", 1, "a");
    c.dead("c", 1, "a");
    c.suspect("a", 1, "b");
    assert_eq!(b.members.digest(), c.members.digest(), "suspicions pass, the failed do not count");
    b.leave("a", 5);
    assert_ne!(b.members.digest(), c.members.digest());
    c.leave("a", 9);
    assert_eq!(b.members.digest(), c.members.digest());
    b.alive("b", 2);
    assert_ne!(b.members.digest(), c.members.digest());
}
