//! The prober: rounds, help from others, local health, lateness, relays, digests.

use super::*;
use crate::wire::message::{Ack, IndirectPing, Nack, Ping, Source};

impl Bench {
    /// Wakes the prober until it starts a round; says whom it pings and with which number.
    fn next_round(&mut self) -> (String, u32) {
        for _ in 0..20 {
            let at = self.prober.plan(&self.members, self.now);
            let before = self.fx.transmits.len();
            self.wake_at(at);
            if let Some(t) = self.fx.transmits[before..].iter().rfind(|t| t.probe.is_some())
                && let Some(Message::Ping(ping)) = t.messages.first()
            {
                return (ping.node.to_string(), ping.seq_no);
            }
        }
        panic!("no round was started");
    }

    fn ack(&mut self, from: &str, seq_no: u32) -> Vec<ProbeOutcome> {
        self.hear(from, vec![ack(seq_no, None)])
    }

    fn health(&self) -> u32 {
        self.members.awareness().score()
    }
}

fn ack(seq_no: u32, digest: Option<u64>) -> Message {
    Message::Ack(Ack { seq_no, digest, payload: vec![] })
}

fn nack(seq_no: u32) -> Message {
    Message::Nack(Nack { seq_no })
}

#[test]
fn a_late_ack_is_no_sign_that_this_process_was_held_up() {
    let mut b = Bench::with(&["a"]);
    b.members.awareness.apply(3);
    let (_, seq) = b.next_round();
    // With this health the round lasts 4 s, so that the next one is long overdue at 2.9 s.
    b.run(MS(2900));
    b.ack("a", seq);
    assert_eq!(b.health(), 2);
    b.forget();
    b.next_round();
    assert_eq!(b.health(), 2, "nothing was missed");
}

#[test]
fn a_confirmation_that_ends_a_suspicion_is_no_sign_that_this_process_was_held_up() {
    let mut b = Bench::with_many(8);
    b.suspect("m0", 1, "m1");
    b.pass(S(10));
    b.suspect("m0", 1, "m2");
    b.suspect("m0", 1, "m3");
    assert_eq!(b.patience("m0"), S(0));
    let at = b.prober.plan(&b.members, b.now);
    assert_eq!(at, b.now);
    b.wake_at(at);
    assert_eq!((b.status("m0"), b.health()), ("failed", 0));
}
