//! When members agree with each other and with the truth, and how long that may take.

use crate::world::World;
use serf::membership::{Config, Members};
use serf::model::{Incarnation, NodeName, Status};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// How often islands are looked for and bridged; see [`settling_bound`].
pub(crate) const REJOIN_EVERY: Duration = Duration::from_secs(5);

/// What is known, or true, of a member that is alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fact {
    /// Where it is.
    pub addr: SocketAddr,
    /// Its encoded tags.
    pub meta: Vec<u8>,
    /// Its incarnation.
    pub incarnation: Incarnation,
}

/// Members that are alive, by name.
pub(crate) type Facts = BTreeMap<NodeName, Fact>;

/// Why a member's view is not the truth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Disagreement {
    /// It does not know that someone is alive.
    Misses(NodeName),
    /// It believes someone alive who is not.
    Imagines(NodeName),
    /// It is wrong about someone's address, tags or incarnation.
    Outdated(NodeName),
}

/// Who is alive in a member's view.
pub(crate) fn view(members: &Members) -> Facts {
    let alive = members.rows().filter(|r| r.status() == Status::Alive);
    alive
        .map(|r| {
            let fact = Fact { addr: r.addr, meta: r.meta.as_bytes().to_vec(), incarnation: r.incarnation };
            (r.name.clone(), fact)
        })
        .collect()
}

/// Compares a view with the truth.
pub(crate) fn compare(truth: &Facts, view: &Facts) -> Result<(), Disagreement> {
    if let Some(name) = view.keys().find(|name| !truth.contains_key(*name)) {
        return Err(Disagreement::Imagines(name.clone()));
    }
    for (name, fact) in truth {
        match view.get(name) {
            None => return Err(Disagreement::Misses(name.clone())),
            Some(seen) if seen != fact => return Err(Disagreement::Outdated(name.clone())),
            Some(_) => {}
        }
    }
    Ok(())
}

impl World {
    /// The truth: what every living member says of itself.
    pub(crate) fn truth(&self) -> Facts {
        let live = self.processes.iter().filter(|p| p.stays()).filter_map(|p| p.node.as_ref());
        live.map(|node| {
            let me = node.members().my_row();
            let fact = Fact { addr: me.addr, meta: me.meta.as_bytes().to_vec(), incarnation: me.incarnation };
            (me.name.clone(), fact)
        })
        .collect()
    }

    /// Whether every living member sees exactly the truth; otherwise who does not, and why.
    pub(crate) fn agreement(&self) -> Result<(), (NodeName, Disagreement)> {
        let truth = self.truth();
        for process in self.processes.iter().filter(|p| p.stays()) {
            let Some(node) = &process.node else { continue };
            compare(&truth, &view(node.members())).map_err(|why| (process.name.clone(), why))?;
        }
        Ok(())
    }

    /// Whether all living members have the same digest: cheap, and agreement implies it.
    fn digests_agree(&self) -> bool {
        let live = self.processes.iter().filter(|p| p.stays()).filter_map(|p| p.node.as_ref());
        let mut digests = live.map(|node| node.members().digest());
        let first = digests.next();
        digests.all(|digest| Some(digest) == first)
    }

    /// How everyone sees the member that is disagreed about.
    fn explain(&self, why: &Option<(NodeName, Disagreement)>) -> String {
        use Disagreement::{Imagines, Misses, Outdated};
        let Some((_, Misses(subject) | Imagines(subject) | Outdated(subject))) = why else {
            return "someone never finishes leaving".to_string();
        };
        let mut lines = String::new();
        for process in self.processes.iter().filter(|p| p.stays()) {
            let row = process.node.as_ref().and_then(|n| n.members().row(subject));
            let seen = row.map(|r| (r.addr, r.status(), r.incarnation, r.status_ltime));
            lines += &format!("{} sees {subject} as {seen:?}\n", process.name);
        }
        lines
    }

    /// Whether nobody is on the way out any more.
    pub(crate) fn nobody_leaves(&self) -> bool {
        !self.processes.iter().any(|p| p.node.as_ref().is_some_and(|n| n.is_leaving()))
    }

    /// Runs until everyone agrees, at most for `bound`. Returns how long that took.
    pub(crate) fn settle_within(&mut self, bound: Duration) -> Duration {
        self.settle_with(bound, |_| {})
    }

    /// The same, with something to be done every [`REJOIN_EVERY`].
    pub(crate) fn settle_with(&mut self, bound: Duration, mut repeat: impl FnMut(&mut World)) -> Duration {
        const LOOK_EVERY: Duration = Duration::from_millis(250);
        let start = self.now;
        let mut repeat_at = self.now;
        loop {
            if self.now >= repeat_at {
                repeat_at = self.now + REJOIN_EVERY;
                repeat(self);
            }
            let took = self.now.since(start);
            let worth_a_look = self.nobody_leaves() && (self.digests_agree() || took >= bound);
            let verdict = if worth_a_look { self.agreement().map_err(Some) } else { Err(None) };
            match verdict {
                Ok(()) => {
                    self.inspect_all();
                    return took;
                }
                Err(why) if took >= bound => {
                    panic!("no agreement after {took:?}: {why:?}\n{}", self.explain(&why))
                }
                Err(_) => self.run_for(LOOK_EVERY),
            }
        }
    }
}

/// How long after the last fault `n` names may need until everyone agrees:
///
/// 1. A probe round that is under way ends after probe interval × the worst local health.
/// 2. Everyone who is gone but believed alive is probed: each of the living picks one member a
///    round, so that a given one is left out by all of them with (1 − 1/n)ⁿ ≈ 1/e; twenty
///    rounds leave out one in 10⁸. Rounds stretch with local health, which falls by one with
///    each success, so that its sum over the way down is added once.
/// 3. Its suspicion lasts at most the greatest timeout for n.
/// 4. Points 2 and 3 can come twice: news that was still under way (a later incarnation in
///    someone's table) clears the first suspicion, but nobody is there to raise it again.
/// 5. A member that moved while it was believed to be at its old address is admitted
///    `dead_reclaim` after its old self was declared dead. Whoever missed that declaration hears
///    that the address is disputed and probes it next, so that points 2 and 3 hold for it as well.
/// 6. What gossip has missed is levelled by push/pull: one period until everyone has exchanged
///    with someone, a second one for what was learned meanwhile; with the rest of gossip's
///    transmissions (limit ÷ fan-out ticks) after each. (Digests make it faster; the bound does
///    not count on them.)
/// 7. Members that have given each other up need two contacts: one to learn that they are
///    believed dead, the next to say that they are not; and the same for members on their side.
///    Islands are bridged every [`REJOIN_EVERY`].
pub(crate) fn settling_bound(config: &Config, n: usize) -> Duration {
    let health = config.probe_interval * (config.awareness_max * (config.awareness_max + 1) / 2);
    let probed = config.probe_interval * 20;
    let suspected = config.suspicion_timeouts(n).1;
    let ticks = config.transmit_limit(n) / config.gossip_nodes as u32 + 1;
    let levelled = config.push_pull_period(n) + config.gossip_interval * ticks;
    health + (probed + suspected) * 2 + config.dead_reclaim + levelled * 2 + REJOIN_EVERY * 4
}
