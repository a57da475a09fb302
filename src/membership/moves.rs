//! Names whose holder has left, or has been dead for long, and that another address claims.
//!
//! That a member has left is easily said in its name, and the next datagram could claim the name. So the former holder is
//! asked first: only when it is silent, the name moves. When it answers, it hears what is said of it, and refutes that.

use super::claims::Claim;
use super::effects::{Effects, Spread};
use super::table::Members;
use crate::model::Moment;
use crate::telemetry::counters;
use crate::wire::message::{Alive, Message, Ping};
use fastrand::Rng;
use std::net::SocketAddr;

/// How often the former holder is asked, each time with the probe timeout to answer.
const PINGS: usize = 3;
/// The most names about which holders are asked at once. Those whose claims find no room repeat them.
const MAX_CLAIMS: usize = 64;

impl Members {
    /// A name that is free is claimed at another address, in an incarnation that is news.
    pub(super) fn claim_name(&mut self, msg: &Alive, addr: SocketAddr, spread: Spread, now: Moment) {
        let claim = Alive { addr, ..msg.clone() };
        if let Some(waiting) = self.claims.0.get_mut(&msg.node) {
            // The last word counts, and has no longer to wait.
            if claim.incarnation > waiting.claim.incarnation {
                (waiting.claim, waiting.spread) = (claim, spread);
            }
        } else if self.claims.0.len() < MAX_CLAIMS {
            let waiting = Claim { claim, spread, asked: Vec::new(), due: now };
            self.claims.0.insert(msg.node.clone(), waiting);
        } else {
            counters::REFUSED_FULL.inc();
        }
    }

    /// Asks former holders, and admits claims where they were silent.
    pub(super) fn proceed_with_claims(&mut self, now: Moment, rng: &mut Rng, fx: &mut Effects) {
        let due =
            self.claims.0.iter().filter(|(_, waiting)| waiting.due <= now).map(|(name, _)| name.clone());
        for name in due.collect::<Vec<_>>() {
            let (source, timeout) = (self.own_source(), self.config().probe_timeout);
            let (Some(row), Some(waiting)) = (self.row(&name), self.claims.0.get(&name)) else {
                self.claims.0.remove(&name);
                continue;
            };
            if row.is_present() || row.addr == waiting.claim.addr {
                self.claims.0.remove(&name);
            } else if waiting.asked.len() >= PINGS {
                let known = row.incarnation;
                if let Some(Claim { claim, spread, .. }) = self.claims.0.remove(&name)
                    && claim.incarnation > known
                {
                    self.admit_known(&claim, claim.addr, spread, now, fx);
                }
            } else {
                let seq_no = rng.u32(..);
                fx.send(row.target(), Message::from(Ping { seq_no, node: name.clone(), source }));
                if let Some(waiting) = self.claims.0.get_mut(&name) {
                    waiting.asked.push(seq_no);
                    waiting.due = now + timeout;
                }
            }
        }
    }

    /// An ack has come. Says whether it was of a former holder: the name stays with it.
    pub(super) fn holder_answered(
        &mut self,
        seq_no: u32,
        from: SocketAddr,
        now: Moment,
        fx: &mut Effects,
    ) -> bool {
        let found = self.claims.0.iter().find(|(_, waiting)| waiting.asked.contains(&seq_no));
        let Some(name) = found.map(|(name, _)| name.clone()) else { return false };
        if self.may_answer(&name, from)
            && let Some(Claim { claim, .. }) = self.claims.0.remove(&name)
        {
            self.report_conflict(&claim, claim.addr, now, fx);
            self.challenge(&name, now, fx);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use crate::membership::tests::{Bench, MS, addr};
    use crate::wire::message::{Message, ProbeMessage};

    /// `a` is said to have left, and its name is claimed elsewhere.
    fn claimed() -> Bench {
        let mut b = Bench::with(&["a", "b"]);
        b.dead("a", 1, "a");
        b.alive_at("a", 2, addr("thief"));
        assert_eq!(b.members.row("a").unwrap().addr, addr("a"), "not yet");
        b.forget();
        b
    }

    /// The numbers of pings to `a` in the next time, one at a time.
    fn pings(b: &mut Bench) -> Vec<u32> {
        let mut numbers = Vec::new();
        for _ in 0..20 {
            b.run(MS(100));
            numbers.extend(b.fx.transmits.drain(..).filter_map(|t| match &t.messages[0] {
                Message::Probe(ProbeMessage::Ping(ping)) if t.to.addr == addr("a") => Some(ping.seq_no),
                _ => None,
            }));
        }
        numbers
    }

    #[test]
    fn a_name_moves_when_its_former_holder_is_silent() {
        let mut b = claimed();
        assert_eq!(pings(&mut b).len(), 3);
        assert_eq!((b.members.row("a").unwrap().addr, b.status("a")), (addr("thief"), "alive"));
    }

    #[test]
    fn a_holder_that_answers_keeps_its_name_and_hears_what_is_said_of_it() {
        let mut b = claimed();
        b.run(MS(1));
        let ping = b.fx.transmits.iter().find(|t| t.to.addr == addr("a")).expect("it is asked at once");
        let Message::Probe(ProbeMessage::Ping(ping)) = &ping.messages[0] else { panic!("{ping:?}") };
        let seq = ping.seq_no;
        b.forget();
        b.ack("b", seq);
        assert_eq!(b.sent(), [], "another answers in its place");
        b.ack("a", seq);
        assert_eq!(b.sent(), [(addr("a"), "suspect a 1 by me".to_string())]);
        assert!(pings(&mut b).is_empty());
        b.alive("a", 2);
        assert_eq!((b.members.row("a").unwrap().addr, b.status("a")), (addr("a"), "alive"));
    }

    #[test]
    fn claims_of_any_number_of_names_are_bounded() {
        let names: Vec<String> = (0..200).map(|number| format!("m{number}")).collect();
        let mut b = Bench::with(&names.iter().map(String::as_str).collect::<Vec<_>>());
        for of in &names {
            b.dead(of, 1, of);
            b.alive_at(of, 2, addr("thief"));
        }
        assert_eq!(b.members.claims.0.len(), super::MAX_CLAIMS);
    }
}
