//! The wire between members: a plain LAN, and a decorator that makes it a bad one.

use fastrand::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

/// One copy of a datagram that will arrive, after how long, and as what.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Copy {
    /// Time under way.
    pub after: Duration,
    /// The bytes that arrive.
    pub bytes: Vec<u8>,
}

/// Carries datagrams.
pub(crate) trait Network {
    /// What becomes of a datagram.
    fn carry(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>, rng: &mut Rng) -> Vec<Copy>;
}

/// Delivers everything, quickly and undamaged; between places as fast as the distance allows.
#[derive(Debug, Default)]
pub(crate) struct Lan {
    /// How far from the first place an address is, as time under way. The others are there.
    pub places: BTreeMap<SocketAddr, Duration>,
}

impl Lan {
    /// Time under way in one direction.
    pub(crate) fn latency(rng: &mut Rng) -> Duration {
        Duration::from_micros(rng.u64(100..1500))
    }

    /// Time under way between places.
    pub(crate) fn distance(&self, a: SocketAddr, b: SocketAddr) -> Duration {
        let place = |addr| self.places.get(addr).copied().unwrap_or_default();
        place(&a).abs_diff(place(&b))
    }
}

impl Network for Lan {
    fn carry(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>, rng: &mut Rng) -> Vec<Copy> {
        vec![Copy { after: Lan::latency(rng) + self.distance(from, to), bytes }]
    }
}

/// Faults that befall every datagram alike.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Weather {
    /// Probability that one is lost.
    pub loss: f64,
    /// Probability that one arrives twice.
    pub duplicate: f64,
    /// Probability that one takes longer, by up to `delay`, and so is overtaken by others.
    pub late: f64,
    /// See `late`.
    pub delay: Duration,
    /// Probability that a bit of it is flipped.
    pub damage: f64,
    /// Probability that the sender's kernel refuses it.
    pub refusal: f64,
}

/// A fault on the way from some addresses to some others, in that direction only.
#[derive(Clone, Debug)]
pub(crate) struct Cut {
    /// Whose datagrams.
    pub from: BTreeSet<SocketAddr>,
    /// On the way to whom.
    pub to: BTreeSet<SocketAddr>,
    /// Probability that one is lost; 1 is a partition.
    pub loss: f64,
}

/// What the faults have done so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Damage {
    /// Datagrams that were lost.
    pub lost: u64,
    /// Datagrams that arrived twice.
    pub duplicated: u64,
    /// Datagrams that were delayed.
    pub delayed: u64,
    /// Datagrams of which a bit was flipped.
    pub damaged: u64,
}

/// A network with faults. Without any it is the one it decorates.
#[derive(Debug)]
pub(crate) struct Faulty<N> {
    /// The network without faults.
    pub inner: N,
    /// Faults everywhere.
    pub weather: Weather,
    /// Faults between some.
    pub cuts: BTreeMap<u64, Cut>,
    /// What they have done.
    pub damage: Damage,
}

impl<N: Network> Faulty<N> {
    /// No faults yet.
    pub(crate) fn new(inner: N) -> Self {
        Faulty { inner, weather: Weather::default(), cuts: BTreeMap::new(), damage: Damage::default() }
    }

    /// Probability that a packet from one address to another is lost.
    pub(crate) fn loss(&self, from: SocketAddr, to: SocketAddr) -> f64 {
        let cuts = self.cuts.values().filter(|c| c.from.contains(&from) && c.to.contains(&to));
        1.0 - cuts.fold(1.0 - self.weather.loss, |arrives, cut| arrives * (1.0 - cut.loss))
    }

    /// How long a TCP segment takes with its retransmissions; `None` if it never arrives. An
    /// acknowledgement has to come back, so both directions count.
    pub(crate) fn segment(&self, from: SocketAddr, to: SocketAddr, rng: &mut Rng) -> Option<Duration> {
        const FIRST_TIMEOUT: Duration = Duration::from_millis(200);
        const RETRIES: u32 = 5;
        let loss = 1.0 - (1.0 - self.loss(from, to)) * (1.0 - self.loss(to, from));
        let mut waited = Lan::latency(rng);
        for attempt in 0..RETRIES {
            if rng.f64() >= loss {
                return Some(waited);
            }
            waited += FIRST_TIMEOUT * 2_u32.pow(attempt);
        }
        None
    }
}

impl<N: Network> Network for Faulty<N> {
    fn carry(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>, rng: &mut Rng) -> Vec<Copy> {
        let weather = &self.weather;
        let copies = if rng.f64() < weather.duplicate { 2 } else { 1 };
        self.damage.duplicated += copies - 1;
        let mut arriving = Vec::new();
        for _ in 0..copies {
            if rng.f64() < self.loss(from, to) {
                self.damage.lost += 1;
                continue;
            }
            for mut copy in self.inner.carry(from, to, bytes.clone(), rng) {
                if rng.f64() < weather.late {
                    copy.after += weather.delay.mul_f64(rng.f64());
                    self.damage.delayed += 1;
                }
                if rng.f64() < weather.damage && !copy.bytes.is_empty() {
                    let at = rng.usize(0..copy.bytes.len());
                    copy.bytes[at] ^= 1 << rng.u8(0..8);
                    self.damage.damaged += 1;
                }
                arriving.push(copy);
            }
        }
        arriving
    }
}
