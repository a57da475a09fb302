//! Seeds for ever: the addresses through which this process may find the others are never
//! forgotten, and tried whenever they seem to lead to a member that is missing.
//!
//! Failed members are reached for by `reconnect`, but only until they are forgotten. A partition
//! that lasts longer leaves two clusters, each content with itself: nobody is alone, nobody has
//! failed. What still shows that something is missing is a seed whose address belongs to no member
//! that is present. So:
//!
//! * Every reconnect interval, give or take half of it, it is considered whether to try a seed.
//!   There is reason to if one of them has an address that no present member has (or has not been
//!   looked up yet), if this process is alone, or if there are failed members.
//! * All that are present together make about one attempt for each missing seed in an interval:
//!   each draws with the chance missing ÷ present. So that few members with seeds among many
//!   without any still try, nobody's chance is below one in [`RAREST`]. Alone it is certain.
//! * An attempt looks one missing seed up anew, as its address may have changed, and exchanges
//!   everything with one of the addresses that no present member has. If there is none, there is
//!   nothing to do: what is at a present member's address is in touch already.
//!
//! The side of a partition that has all the seeds makes no attempts, and need not. A seed that is
//! retired for good costs a connection that fails now and then, until it is taken out of the
//! configuration.

use super::effects::StreamRequest;
use super::exchange::random_up_to;
use super::table::{Members, Presence};
use crate::model::{HostPort, Moment, canonical_ip};
use crate::telemetry::counters;
use fastrand::Rng;
use std::net::SocketAddr;
use std::time::Duration;

/// The most seeds that are kept. Beyond it the oldest of those that were found go.
pub const MAX_SEEDS: usize = 1024;
/// A process with a reason to try a seed does so at least once in this many intervals on average.
pub const RAREST: u32 = 10;
/// The most addresses of one seed that are kept.
const MAX_ADDRESSES: usize = 64;
/// After this long no answer of the resolver is waited for any more.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where a seed comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Someone wrote it down for this process. Always kept.
    Configured,
    /// It was found, in the snapshot: where members were once. Tried only when this process is
    /// alone or members have failed.
    Found,
}

#[derive(Debug)]
struct Seed {
    text: String,
    origin: Origin,
    /// Where it led when it was looked up last; empty before that.
    addrs: Vec<SocketAddr>,
}

/// The seeds, and when to try one.
#[derive(Debug)]
pub struct Seeds {
    known: Vec<Seed>,
    next: Moment,
    /// Since when an answer of the resolver is waited for.
    asked: Option<Moment>,
}

impl Seeds {
    /// None yet. Starts at a random point of the interval, so that members do not move in step.
    pub fn new(members: &Members, now: Moment, rng: &mut Rng) -> Self {
        let next = now + random_up_to(members.config().reconnect_interval, rng);
        Seeds { known: Vec::new(), next, asked: None }
    }

    /// Remembers addresses as people write them. A text that is none would never lead anywhere.
    pub fn keep(&mut self, texts: impl IntoIterator<Item = String>, origin: Origin) {
        for text in texts {
            if HostPort::of_member(&text, 0).is_err() {
                continue;
            }
            if let Some(seed) = self.known.iter_mut().find(|seed| seed.text == text) {
                if origin == Origin::Configured {
                    seed.origin = origin;
                }
                continue;
            }
            if self.known.len() >= MAX_SEEDS {
                counters::SEEDS_DROPPED.inc();
                match self.known.iter().position(|seed| seed.origin == Origin::Found) {
                    Some(oldest) => drop(self.known.remove(oldest)),
                    None => continue,
                }
            }
            self.known.push(Seed { text, origin, addrs: Vec::new() });
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// When [`Seeds::tick`] has something to do; never without seeds.
    pub fn next_deadline(&self) -> Moment {
        if self.known.is_empty() { Moment::NEVER } else { self.next }
    }

    /// The seed to look up now, if it is time, there is reason to, and the lot falls on this
    /// process. The answer goes to [`Seeds::found`].
    pub fn tick(&mut self, members: &Members, now: Moment, rng: &mut Rng) -> Option<String> {
        if now < self.next_deadline() {
            return None;
        }
        let interval = members.config().reconnect_interval;
        self.next = now + interval / 2 + random_up_to(interval, rng);
        if members.presence() != Presence::Here || self.asked.is_some_and(|at| now < at + PATIENCE) {
            return None;
        }
        let alone = members.present() <= 1;
        let leads_on = |seed: &&Seed| {
            let asked_for = alone || seed.origin == Origin::Configured;
            asked_for && (seed.addrs.is_empty() || seed.addrs.iter().any(|a| !members.has_address(*a)))
        };
        let missing: Vec<&Seed> = self.known.iter().filter(leads_on).collect();
        if missing.is_empty() && members.failed() == 0 && !alone {
            return None;
        }
        let chance = missing.len().max(1) as f64 / members.present() as f64;
        if rng.f64() >= chance.max(1.0 / f64::from(RAREST)) {
            return None;
        }
        let seed = rng.choice(missing).or_else(|| rng.choice(&self.known))?;
        self.asked = Some(now);
        Some(seed.text.clone())
    }

    /// Where a seed leads; nowhere if it could not be looked up, in which case it is where it was.
    /// Answers with whom to exchange.
    pub fn found(
        &mut self,
        text: &str,
        addrs: Vec<SocketAddr>,
        members: &Members,
        rng: &mut Rng,
    ) -> Option<StreamRequest> {
        self.asked = None;
        let seed = self.known.iter_mut().find(|seed| seed.text == text)?;
        if !addrs.is_empty() {
            let canonical = |a: SocketAddr| SocketAddr::new(canonical_ip(a.ip()), a.port());
            seed.addrs = addrs.into_iter().map(canonical).take(MAX_ADDRESSES).collect();
        }
        let others: Vec<SocketAddr> =
            seed.addrs.iter().filter(|a| !members.has_address(**a)).copied().collect();
        let addr = rng.choice(others)?;
        Some(StreamRequest::Reach { whom: seed.text.clone(), to: members.stranger(addr) })
    }
}
