//! Local health: how much this member trusts its own judgement (Lifeguard §IV-A).

use std::time::Duration;

/// A score of 0 (healthy) up to a limit. A missed ack, a missing nack or having to refute
/// raises it, a successful probe lowers it; it slows this member's probing down.
#[derive(Clone, Copy, Debug)]
pub struct Awareness {
    score: u32,
    max: u32,
}

impl Awareness {
    /// Starts healthy; the score stays below `max`.
    pub fn new(max: u32) -> Self {
        Awareness { score: 0, max: max.max(1) }
    }

    /// Changes the score by `delta`, within its bounds.
    pub fn apply(&mut self, delta: i32) {
        self.score = self.score.saturating_add_signed(delta).min(self.max - 1);
    }

    /// The score; 0 is healthy.
    pub fn score(&self) -> u32 {
        self.score
    }

    /// `timeout` as long as this member's health demands.
    pub fn scale(&self, timeout: Duration) -> Duration {
        timeout * (self.score + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_within_bounds_and_scales() {
        let mut a = Awareness::new(8);
        a.apply(-1);
        assert_eq!(a.score(), 0);
        a.apply(100);
        assert_eq!((a.score(), a.scale(Duration::from_secs(1))), (7, Duration::from_secs(8)));
        a.apply(-3);
        assert_eq!(a.score(), 4);
    }
}
