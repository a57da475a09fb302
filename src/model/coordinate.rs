//! Where a member is on the network: a point in Vivaldi's space, whose distance to another point
//! estimates the round trip between the two members.
//!
//! F. Dabek et al., "Vivaldi: A Decentralized Network Coordinate System", SIGCOMM 2004. How a
//! coordinate comes about is in `membership/vivaldi.rs`.

use std::fmt;
use std::time::Duration;

/// Dimensions of the Euclidean part (Serf's `Dimensionality`); more do not estimate better
/// (J. Ledlie et al., "Network Coordinates in the Wild", NSDI 2007, §4).
pub const DIMENSIONS: usize = 8;
/// No part of a coordinate lies further out, in seconds. Round trips beyond it are not believed,
/// so whatever lies there is a mistake or a lie. Serf refuses only what is not finite.
pub const MAX_EXTENT: f64 = 10.0;
/// The error of a member that has observed nothing yet, and the most there is (Serf's
/// `VivaldiErrorMax`).
pub const MAX_ERROR: f64 = 1.5;
/// The height of a member that has observed nothing yet, in seconds, and the least that is ever
/// announced (Serf's `HeightMin`).
pub const MIN_HEIGHT: f64 = 10.0e-6;

/// A point that is valid: finite, and within [`MAX_EXTENT`] and [`MAX_ERROR`].
///
/// Other numbers of dimensions than Serf's are for trying out the algorithm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coordinate<const D: usize = DIMENSIONS> {
    position: [f64; D],
    error: f64,
    adjustment: f64,
    height: f64,
}

/// Why numbers are no coordinate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CoordinateError {
    /// A position of this many dimensions.
    Dimensions(usize),
    /// A part is not finite, or further out than can be.
    Range {
        /// Which.
        part: &'static str,
        /// What it is.
        value: f64,
    },
}

impl fmt::Display for CoordinateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CoordinateError::Dimensions(n) => write!(f, "{n} dimensions instead of {DIMENSIONS}"),
            CoordinateError::Range { part, value } => write!(f, "its {part} {value} is out of range"),
        }
    }
}

impl std::error::Error for CoordinateError {}

impl<const D: usize> Coordinate<D> {
    /// A point, if it is valid. All in seconds but `error`, which has no unit.
    ///
    /// `height` is the way from the host to the network's core, `adjustment` what observed round
    /// trips differ by on average, `error` the confidence: the smaller the better.
    pub fn new(
        position: [f64; D],
        error: f64,
        adjustment: f64,
        height: f64,
    ) -> Result<Self, CoordinateError> {
        // What is not a number lies in no range.
        let check = |part, value: f64, least, most| {
            if (least..=most).contains(&value) { Ok(()) } else { Err(CoordinateError::Range { part, value }) }
        };
        for value in position {
            check("position", value, -MAX_EXTENT, MAX_EXTENT)?;
        }
        check("error", error, 0.0, MAX_ERROR)?;
        check("adjustment", adjustment, -MAX_EXTENT, MAX_EXTENT)?;
        check("height", height, 0.0, MAX_EXTENT)?;
        Ok(Coordinate { position, error, adjustment, height })
    }

    /// Where everyone begins, with no confidence at all.
    pub const fn origin() -> Self {
        Coordinate { position: [0.0; D], error: MAX_ERROR, adjustment: 0.0, height: MIN_HEIGHT }
    }

    /// As [`Coordinate::new`], of numbers from outside.
    pub fn from_parts(
        position: &[f64],
        error: f64,
        adjustment: f64,
        height: f64,
    ) -> Result<Self, CoordinateError> {
        let position = position.try_into().map_err(|_| CoordinateError::Dimensions(position.len()))?;
        Coordinate::new(position, error, adjustment, height)
    }

    /// The Euclidean part, in seconds.
    pub fn position(&self) -> &[f64; D] {
        &self.position
    }

    /// The confidence: 0 is certainty.
    pub fn error(&self) -> f64 {
        self.error
    }

    /// What observed round trips differ by, in seconds.
    pub fn adjustment(&self) -> f64 {
        self.adjustment
    }

    /// The way to the network's core, in seconds.
    pub fn height(&self) -> f64 {
        self.height
    }

    /// The estimated round trip between the two members.
    pub fn distance_to(&self, other: &Self) -> Duration {
        Duration::from_secs_f64(self.seconds_to(other))
    }

    /// As [`Coordinate::distance_to`], in seconds. Adjustments that would bring the members onto
    /// each other are left out.
    pub fn seconds_to(&self, other: &Self) -> f64 {
        let raw = self.unadjusted_seconds_to(other);
        let adjusted = raw + self.adjustment + other.adjustment;
        if adjusted > 0.0 { adjusted } else { raw }
    }

    /// The distance without adjustments, in seconds.
    pub fn unadjusted_seconds_to(&self, other: &Self) -> f64 {
        let squares = self.position.iter().zip(&other.position).map(|(a, b)| (a - b).powi(2));
        squares.sum::<f64>().sqrt() + self.height + other.height
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(first: f64, adjustment: f64, height: f64) -> Coordinate {
        let mut position = [0.0; DIMENSIONS];
        position[0] = first;
        Coordinate::new(position, 1.0, adjustment, height).unwrap()
    }

    #[test]
    fn distances() {
        let (a, b) = (at(-0.5, 0.0, 0.1), at(1.2, 0.0, 0.2));
        assert_eq!(a.distance_to(&b), Duration::from_millis(2000));
        assert_eq!(b.distance_to(&a), a.distance_to(&b));
        assert_eq!(a.distance_to(&a), Duration::from_millis(200));
        // Adjustments of both count, unless nothing would be left.
        assert_eq!(at(0.0, -0.1, 0.1).distance_to(&at(0.3, 0.2, 0.1)), Duration::from_millis(600));
        assert_eq!(at(0.0, -0.5, 0.1).distance_to(&at(0.3, -0.5, 0.1)), Duration::from_millis(500));
    }

    #[test]
    fn what_is_refused() {
        let p = [0.0; DIMENSIONS];
        let with = |value| {
            let mut position = p;
            position[DIMENSIONS - 1] = value;
            position
        };
        for wild in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 10.1, -10.1, f64::MAX] {
            assert!(Coordinate::new(with(wild), 1.0, 0.0, 0.1).is_err(), "position {wild}");
            assert!(Coordinate::new(p, wild, 0.0, 0.1).is_err(), "error {wild}");
            assert!(Coordinate::new(p, 1.0, wild, 0.1).is_err(), "adjustment {wild}");
            assert!(Coordinate::new(p, 1.0, 0.0, wild).is_err(), "height {wild}");
        }
        assert!(Coordinate::new(p, -0.1, 0.0, 0.1).is_err());
        assert!(Coordinate::new(p, 1.6, 0.0, 0.1).is_err());
        assert!(Coordinate::new(p, 1.0, 0.0, -0.1).is_err());
        assert!(Coordinate::new(with(-10.0), 1.5, -10.0, 10.0).is_ok());
        for dimensions in [0, 7, 9, 1000] {
            let parts = Coordinate::<DIMENSIONS>::from_parts(&vec![0.0; dimensions], 1.0, 0.0, 0.1);
            assert_eq!(parts, Err(CoordinateError::Dimensions(dimensions)));
        }
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_has_a_distance(
            a in proptest::array::uniform11(proptest::num::f64::ANY),
            b in proptest::array::uniform11(-12.0..12.0),
        ) {
            let made = |v: &[f64]| Coordinate::<DIMENSIONS>::from_parts(&v[..DIMENSIONS], v[8], v[9], v[10]);
            if let (Ok(a), Ok(b)) = (made(&a), made(&b)) {
                let _ = a.distance_to(&b);
            }
            if let Ok(b) = made(&b) {
                prop_assert!(b.distance_to(&b) <= Duration::from_secs(80));
            }
        }
    }
}
