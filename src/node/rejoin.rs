//! Rejoining after a crash: the members of the snapshot, one after the other in random order, until
//! one of them answers. If none does, they become seeds, which are tried again while this process
//! is alone.

use crate::model::NodeName;
use fastrand::Rng;
use std::fmt;
use std::net::SocketAddr;

/// The most previous members that are kept as seeds when none of them answers.
const MAX_SEEDS: usize = 32;

/// A rejoin under way.
#[derive(Debug)]
pub struct Rejoin {
    /// What has not been tried; the last is next.
    untried: Vec<(NodeName, SocketAddr)>,
    trying: (NodeName, SocketAddr),
    /// What did not answer; at most [`MAX_SEEDS`].
    tried: Vec<String>,
}

/// How a rejoin goes on after an attempt.
#[derive(Debug)]
pub enum NextAttempt {
    /// It is over: a member has answered.
    Rejoined,
    /// The next one is to be asked, see [`Rejoin::address`].
    Ask(Rejoin),
    /// None has answered. These addresses are to be kept as seeds: they may all be starting as
    /// well, after a power failure.
    KeepSeeds(Vec<String>),
}

impl Rejoin {
    /// Begins to rejoin one of the `previous` members. None if there is nobody but `me` among them.
    pub fn begin(
        mut previous: Vec<(NodeName, SocketAddr)>,
        me: (&NodeName, SocketAddr),
        rng: &mut Rng,
    ) -> Option<Rejoin> {
        previous.retain(|(name, addr)| name != me.0 && *addr != me.1);
        // Otherwise all that come back after a power failure would ask the same one.
        rng.shuffle(&mut previous);
        let trying = previous.pop()?;
        Some(Rejoin { untried: previous, trying, tried: Vec::new() })
    }

    /// Whom to join now. What happened meanwhile is news to this agent, and the snapshot says what
    /// is not, so past events are heard, as in a join with replay.
    pub fn address(&self) -> SocketAddr {
        let (name, addr) = &self.trying;
        log::info!(target: "serf", "Attempting re-join to previously known node: {name}: {addr}");
        *addr
    }

    /// The one that was asked has answered or not.
    pub fn heard(mut self, result: Result<(), impl fmt::Display>) -> NextAttempt {
        let (name, addr) = &self.trying;
        let Err(why) = result else {
            log::info!(target: "serf", "Re-joined to previously known node: {name}: {addr}");
            return NextAttempt::Rejoined;
        };
        log::debug!(target: "serf", "Failed to re-join {name}: {why}");
        if self.tried.len() < MAX_SEEDS {
            self.tried.push(addr.to_string());
        }
        match self.untried.pop() {
            Some(next) => {
                self.trying = next;
                NextAttempt::Ask(self)
            }
            None => {
                log::warn!(target: "serf", "Failed to re-join any previously known node; the last one: {why}");
                NextAttempt::KeepSeeds(self.tried)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(n: u8) -> (NodeName, SocketAddr) {
        (NodeName::new(format!("n{n}")).unwrap(), SocketAddr::from(([10, 0, 0, n], 7946)))
    }

    #[test]
    fn each_is_tried_once_and_then_kept_as_a_seed() {
        let (me, mut rng) = (member(1), Rng::with_seed(1));
        let previous: Vec<_> = (1..=40).map(member).collect();
        let mut rejoin = Rejoin::begin(previous, (&me.0, me.1), &mut rng).unwrap();
        let mut tried = std::collections::BTreeSet::new();
        let seeds = loop {
            assert!(tried.insert(rejoin.address()));
            match rejoin.heard(Err("no answer")) {
                NextAttempt::Ask(next) => rejoin = next,
                NextAttempt::KeepSeeds(seeds) => break seeds,
                NextAttempt::Rejoined => panic!("nobody has answered"),
            }
        };
        assert_eq!((tried.len(), seeds.len()), (39, MAX_SEEDS));
        assert!(!tried.contains(&me.1), "it does not join itself");
    }

    #[test]
    fn one_answer_is_enough_and_alone_there_is_none() {
        let (me, mut rng) = (member(1), Rng::with_seed(1));
        let rejoin = Rejoin::begin(vec![member(1), member(2), member(3)], (&me.0, me.1), &mut rng).unwrap();
        assert!(matches!(rejoin.heard(Ok::<(), &str>(())), NextAttempt::Rejoined));
        assert!(Rejoin::begin(vec![member(1)], (&me.0, me.1), &mut rng).is_none());
    }
}
