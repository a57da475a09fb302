//! Vivaldi: moves this process's coordinate a little with every round trip that is observed, as if
//! springs of the length of the round trips lay between members.
//!
//! With Serf's constants and refinements: a height for the access link (Dabek et al., §5.4), an
//! adjustment for what no Euclidean space can hold (Lee et al., "On Suitability of Euclidean
//! Embedding for Host-Based Network Coordinate Systems", ToN 2010), a median against blips, and
//! gravity against drift (Ledlie et al., "Network Coordinates in the Wild", §3 and §5).

use crate::model::{Coordinate, DIMENSIONS, MAX_ERROR, MIN_HEIGHT};
use fastrand::Rng;
use std::fmt;
use std::time::Duration;

/// Longer round trips are not believed (Serf's `maxRTT`).
pub const MAX_ROUND_TRIP: Duration = Duration::from_secs(10);

/// How much one observation can change the error, and the position (Serf's `VivaldiCE`,
/// `VivaldiCC`).
const ERROR_GAIN: f64 = 0.25;
const POSITION_GAIN: f64 = 0.25;
/// Observations that the adjustment averages (Serf's `AdjustmentWindowSize`).
const ADJUSTMENT_WINDOW: usize = 20;
/// Round trips of one member of which the median counts (Serf's `LatencyFilterSize`).
const LATENCY_WINDOW: usize = 3;
/// How weak gravity is, in seconds (Serf's `GravityRho`).
const GRAVITY_RHO: f64 = 150.0;
/// A member is not believed to be more than this many times as far away as its answer took: one
/// that lies, or is lost itself, moves others no further than that. Not in Serf, where one liar
/// among twenty throws everyone's estimates off by seconds. Honest members rarely differ by so
/// much, and come together all the same.
const MAX_DISCREPANCY: f64 = 10.0;
/// Below this, in seconds, two points lie on each other and a round trip takes no time.
const ZERO: f64 = 1.0e-6;

/// A round trip longer than [`MAX_ROUND_TRIP`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundTripError(pub Duration);

impl fmt::Display for RoundTripError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a round trip of {:.1} s is not believed", self.0.as_secs_f64())
    }
}

impl std::error::Error for RoundTripError {}

/// The last few round trips to one member.
#[derive(Clone, Copy, Debug, Default)]
pub struct RoundTrips {
    seconds: [f64; LATENCY_WINDOW],
    observed: usize,
}

impl RoundTrips {
    /// Notes one in place of the oldest, and answers the median.
    fn median_with(&mut self, seconds: f64) -> f64 {
        self.seconds[self.observed % LATENCY_WINDOW] = seconds;
        self.observed += 1;
        let mut known = self.seconds;
        let known = &mut known[..self.observed.min(LATENCY_WINDOW)];
        known.sort_by(f64::total_cmp);
        known[known.len() / 2]
    }
}

/// The coordinate of this process, and what it takes to improve it.
#[derive(Clone, Debug)]
pub struct Vivaldi<const D: usize = DIMENSIONS> {
    coordinate: Coordinate<D>,
    /// What the last observations differ by from the estimate, in seconds.
    differences: [f64; ADJUSTMENT_WINDOW],
    observed: usize,
    resets: u64,
}

impl<const D: usize> Default for Vivaldi<D> {
    fn default() -> Self {
        Vivaldi {
            coordinate: Coordinate::origin(),
            differences: [0.0; ADJUSTMENT_WINDOW],
            observed: 0,
            resets: 0,
        }
    }
}

impl<const D: usize> Vivaldi<D> {
    /// Where this process is.
    pub fn coordinate(&self) -> &Coordinate<D> {
        &self.coordinate
    }

    /// How often the coordinate went out of range and was begun anew.
    pub fn resets(&self) -> u64 {
        self.resets
    }

    /// Learns from a round trip to a member with this coordinate. An error leaves all as it was.
    pub fn observe(
        &mut self,
        other: &Coordinate<D>,
        round_trip: Duration,
        round_trips: &mut RoundTrips,
        rng: &mut Rng,
    ) -> Result<(), RoundTripError> {
        if round_trip > MAX_ROUND_TRIP {
            return Err(RoundTripError(round_trip));
        }
        let seconds = round_trips.median_with(round_trip.as_secs_f64());
        let mut point = Point::of(&self.coordinate);
        point.yield_to_spring(other, seconds, rng);

        // Earlier adjustments are left out, or they would adjust themselves.
        let difference = seconds - believed(point.unadjusted_seconds_to(other), seconds);
        self.differences[self.observed % ADJUSTMENT_WINDOW] = difference;
        self.observed = (self.observed + 1) % ADJUSTMENT_WINDOW;
        // Half of it: the other member adjusts for the same difference.
        point.adjustment = self.differences.iter().sum::<f64>() / (2 * ADJUSTMENT_WINDOW) as f64;

        point.yield_to_gravity(rng);
        self.coordinate = point.checked().unwrap_or_else(|| {
            self.resets += 1;
            self.differences = [0.0; ADJUSTMENT_WINDOW];
            Coordinate::origin()
        });
        Ok(())
    }
}

/// A coordinate that is being moved, and may be anywhere meanwhile.
#[derive(Clone, Copy, Debug)]
struct Point<const D: usize> {
    position: [f64; D],
    error: f64,
    adjustment: f64,
    height: f64,
}

impl<const D: usize> Point<D> {
    fn of(coordinate: &Coordinate<D>) -> Self {
        Point {
            position: *coordinate.position(),
            error: coordinate.error(),
            adjustment: coordinate.adjustment(),
            height: coordinate.height(),
        }
    }

    /// The coordinate, if it is one still.
    fn checked(self) -> Option<Coordinate<D>> {
        Coordinate::new(self.position, self.error, self.adjustment, self.height).ok()
    }

    /// Distance in seconds, without adjustments.
    fn unadjusted_seconds_to(&self, other: &Coordinate<D>) -> f64 {
        length(&self.way_from(other)) + self.height + other.height()
    }

    fn seconds_to(&self, other: &Coordinate<D>) -> f64 {
        let raw = self.unadjusted_seconds_to(other);
        let adjusted = raw + self.adjustment + other.adjustment();
        if adjusted > 0.0 { adjusted } else { raw }
    }

    fn way_from(&self, other: &Coordinate<D>) -> [f64; D] {
        std::array::from_fn(|i| self.position[i] - other.position()[i])
    }

    /// Moves as the spring to another member pulls or pushes, the more the surer that member is of
    /// itself compared to this one.
    fn yield_to_spring(&mut self, other: &Coordinate<D>, round_trip: f64, rng: &mut Rng) {
        let round_trip = round_trip.max(ZERO);
        let estimate = believed(self.seconds_to(other), round_trip);
        let wrongness = (estimate - round_trip).abs() / round_trip;
        let weight = self.error / (self.error + other.error()).max(ZERO);
        let share = ERROR_GAIN * weight;
        self.error = (share * wrongness + (1.0 - share) * self.error).min(MAX_ERROR);
        self.push(POSITION_GAIN * weight * (round_trip - estimate), other, rng);
    }

    /// Moves a little towards the origin. Estimates depend on differences alone, so without this
    /// everyone could wander off together.
    fn yield_to_gravity(&mut self, rng: &mut Rng) {
        let origin = Coordinate::origin();
        let force = -(self.seconds_to(&origin) / GRAVITY_RHO).powi(2);
        self.push(force, &origin, rng);
    }

    /// Moves away from another point, or towards it with a negative force. The height changes by
    /// the same share as the distance.
    fn push(&mut self, force: f64, other: &Coordinate<D>, rng: &mut Rng) {
        let way = self.way_from(other);
        let distance = length(&way);
        if distance > ZERO {
            for (own, step) in self.position.iter_mut().zip(way) {
                *own += step / distance * force;
            }
            let height = self.height + (self.height + other.height()) * force / distance;
            self.height = height.max(MIN_HEIGHT);
        } else {
            // On each other: any direction does.
            for (own, step) in self.position.iter_mut().zip(random_direction::<D>(rng)) {
                *own += step * force;
            }
        }
    }
}

/// As much of a distance as can be believed after this round trip; see [`MAX_DISCREPANCY`].
fn believed(distance: f64, round_trip: f64) -> f64 {
    distance.min(MAX_DISCREPANCY * round_trip.max(ZERO))
}

fn random_direction<const D: usize>(rng: &mut Rng) -> [f64; D] {
    let mut direction: [f64; D] = std::array::from_fn(|_| rng.f64() - 0.5);
    let length = length(&direction);
    if length > ZERO {
        direction.iter_mut().for_each(|part| *part /= length);
    }
    direction
}

fn length<const D: usize>(way: &[f64; D]) -> f64 {
    way.iter().map(|part| part * part).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests;
