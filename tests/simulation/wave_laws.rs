//! What holds for the waves that one process passes on: no event and no query goes to the same member twice
//! on one ring, nor to more members than the rules allow, whatever others send.

use serf::wire::message::{Message, WaveMessage};
use serf::wire::read_datagram;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;

/// A part of a ring is cut into eight; in front of the member that sees to one of these, up to three that are
/// suspected get copies. A small cluster is told by its origin: 16 others.
pub(crate) const MOST_RECEIVERS: usize = 8 * (1 + 3);

/// A law that was broken. The number names the news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Excess {
    /// It went to a member a second time on a ring.
    Again { news: u64, ring: u8, to: SocketAddr },
    /// It went to too many members on a ring.
    TooMany { news: u64, ring: u8 },
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Where one process has forwarded what.
#[derive(Debug, Default)]
pub(crate) struct Forwards(BTreeMap<(u8, u64), BTreeMap<SocketAddr, usize>>);

impl Forwards {
    /// Takes down a datagram that the process sends to an address, which so many members have had.
    pub(crate) fn note(
        &mut self,
        datagram: &[u8],
        to: SocketAddr,
        members: impl Fn() -> usize,
    ) -> Result<(), Excess> {
        let (mut on, mut said) = (None, Vec::new());
        // What is sealed cannot be read; it is sealed after all this.
        let _ = read_datagram(datagram, None, |message, bytes| match message {
            Message::Wave(WaveMessage::Forward(forward)) => on = Some(forward.ring),
            Message::Serf(_) => {
                let mut hasher = DefaultHasher::new();
                bytes.hash(&mut hasher);
                said.push(hasher.finish());
            }
            _ => {}
        });
        let Some(ring) = on else { return Ok(()) };
        said.into_iter().try_for_each(|news| self.forward(ring, news, to, members()))
    }

    /// The most members to which one piece of news went on one ring.
    pub(crate) fn most(&self) -> usize {
        self.0.values().map(BTreeMap::len).max().unwrap_or(0)
    }

    fn forward(&mut self, ring: u8, news: u64, to: SocketAddr, members: usize) -> Result<(), Excess> {
        let receivers = self.0.entry((ring, news)).or_default();
        let times = receivers.entry(to).or_default();
        *times += 1;
        if *times > members {
            return Err(Excess::Again { news, ring, to });
        }
        if receivers.len() > MOST_RECEIVERS {
            return Err(Excess::TooMany { news, ring });
        }
        Ok(())
    }
}

#[test]
fn the_laws_of_waves_can_be_broken() {
    let addr = |n: usize| SocketAddr::from(([10, 0, 0, n as u8], 7946));
    let mut forwards = Forwards::default();
    assert_eq!(forwards.forward(0, 7, addr(1), 1), Ok(()));
    assert_eq!(forwards.forward(1, 7, addr(1), 1), Ok(()), "another ring");
    assert_eq!(forwards.forward(0, 8, addr(1), 1), Ok(()), "other news");
    assert_eq!(forwards.forward(0, 7, addr(1), 2), Ok(()), "another member at its address");
    assert_eq!(forwards.forward(0, 7, addr(1), 2), Err(Excess::Again { news: 7, ring: 0, to: addr(1) }));
    let many = (2..=MOST_RECEIVERS + 1).try_for_each(|n| forwards.forward(0, 7, addr(n), 1));
    assert_eq!(many, Err(Excess::TooMany { news: 7, ring: 0 }));
    assert_eq!(forwards.most(), MOST_RECEIVERS + 1);
}
