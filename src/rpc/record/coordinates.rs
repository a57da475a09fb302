//! Where members are on the network.

use crate::model::{Coordinate, CoordinateError};
use crate::rpc::codec::{nil_if_empty, or_nil, record};

record! {
    /// `get-coordinate`.
    pub CoordinateCall {
        /// Name of the member.
        #[serde(deserialize_with = "or_nil")]
        node: String,
    }
}

record! {
    /// Reply to `get-coordinate`.
    pub(crate) CoordinateResponse {
        /// The coordinate; zeros if there is none.
        #[serde(deserialize_with = "or_nil")]
        coord: CoordinateRecord,
        /// Whether there is one.
        #[serde(deserialize_with = "or_nil")]
        ok: bool,
    }
}

record! {
    /// A Vivaldi coordinate. All but `error` in seconds.
    pub(crate) CoordinateRecord {
        /// Offset from observed round trips.
        #[serde(deserialize_with = "or_nil")]
        adjustment: f64,
        /// Confidence; smaller is better, no unit.
        #[serde(deserialize_with = "or_nil")]
        error: f64,
        /// Distance of the host from the network's core.
        #[serde(deserialize_with = "or_nil")]
        height: f64,
        /// The Euclidean part.
        #[serde(serialize_with = "nil_if_empty", deserialize_with = "or_nil")]
        vec: Vec<f64>,
    }
}

impl From<Option<&Coordinate>> for CoordinateResponse {
    fn from(known: Option<&Coordinate>) -> CoordinateResponse {
        let coord = known.map(|c| CoordinateRecord {
            adjustment: c.adjustment(),
            error: c.error(),
            height: c.height(),
            vec: c.position().to_vec(),
        });
        CoordinateResponse { ok: coord.is_some(), coord: coord.unwrap_or_default() }
    }
}

impl TryFrom<CoordinateRecord> for Coordinate {
    type Error = CoordinateError;

    fn try_from(record: CoordinateRecord) -> Result<Coordinate, CoordinateError> {
        Coordinate::from_parts(&record.vec, record.error, record.adjustment, record.height)
    }
}
