//! What streams hold in memory, and which of them has to go when it is too much. Pure.
//!
//! The largest is the wrong one: a whole state of a large cluster is the largest and done in a moment, while a flood
//! consists of many small ones that never end. What counts is how many bytes have been held for how long, of all
//! streams of an address together.

use crate::model::Moment;
use mio::Token;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// What one stream holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holding {
    /// The stream.
    pub(super) token: Token,
    /// The other side.
    pub(super) peer: IpAddr,
    /// How many bytes.
    pub(super) bytes: usize,
    /// Since when it has held something, or since it last moved.
    pub(super) since: Moment,
}

impl Holding {
    /// Bytes times milliseconds.
    fn burden(&self, now: Moment) -> u128 {
        self.bytes as u128 * (1 + now.since(self.since).as_millis())
    }
}

/// The stream that has to go, if they hold more than `most` bytes together.
pub(super) fn to_close(
    holdings: impl Iterator<Item = Holding> + Clone,
    most: usize,
    now: Moment,
) -> Option<Token> {
    if holdings.clone().map(|holding| holding.bytes).sum::<usize>() <= most {
        return None;
    }
    let mut of_peer: BTreeMap<IpAddr, u128> = BTreeMap::new();
    for holding in holdings.clone() {
        *of_peer.entry(holding.peer).or_default() += holding.burden(now);
    }
    let (peer, _) = of_peer.into_iter().max_by_key(|(_, burden)| *burden)?;
    let of_this = holdings.filter(|holding| holding.peer == peer);
    of_this.max_by_key(|holding| holding.burden(now)).map(|holding| holding.token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn holding(token: usize, peer: u8, bytes: usize, since_ms: u64) -> Holding {
        let since = Moment::from_start(Duration::from_millis(since_ms));
        Holding { token: Token(token), peer: [10, 0, 0, peer].into(), bytes, since }
    }

    #[test]
    fn a_flood_of_small_ones_goes_before_a_large_one_that_is_fast() {
        let now = Moment::from_start(Duration::from_secs(10));
        let mut all = vec![holding(0, 1, 7 << 20, 9_900)];
        all.extend((1..=100).map(|i| holding(i, 2, 20_000, 5_000 + i as u64)));
        let mut gone = Vec::new();
        while let Some(token) = to_close(all.iter().copied(), 8 << 20, now) {
            all.retain(|holding| holding.token != token);
            gone.push(token.0);
        }
        assert!(!gone.contains(&0) && gone[0] == 1, "the oldest of the flood first: {gone:?}");
        assert_eq!(to_close(all.iter().copied(), 8 << 20, now), None);
    }

    #[test]
    fn one_that_holds_too_much_alone_goes() {
        assert_eq!(to_close([holding(3, 1, 10, 0)].into_iter(), 9, Moment::ZERO), Some(Token(3)));
        assert_eq!(to_close([].into_iter(), 0, Moment::ZERO), None);
    }
}
