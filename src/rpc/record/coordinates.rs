//! Where members are on the network.

use crate::model::{Coordinate, CoordinateError, Text};
use crate::rpc::codec::{Field, read_list, record, write_list};
use crate::wire::msgpack::{Fault, Reader};

record! {
    /// `get-coordinate`.
    pub CoordinateCall {
        /// Name of the member.
        "Node" node: Text,
    }
    listed "Node"
}

record! {
    /// Reply to `get-coordinate`.
    pub(crate) CoordinateResponse {
        /// The coordinate; zeros if there is none.
        "Coord" coord: CoordinateRecord,
        /// Whether there is one.
        "Ok" ok: bool,
    }
}

record! {
    /// A Vivaldi coordinate. All but `error` in seconds.
    pub(crate) CoordinateRecord {
        /// Offset from observed round trips.
        "Adjustment" adjustment: f64,
        /// Confidence; smaller is better, no unit.
        "Error" error: f64,
        /// Distance of the host from the network's core.
        "Height" height: f64,
        /// The Euclidean part.
        "Vec" vec: Position,
    }
}

/// The position of a coordinate; nil where there is none.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Position(pub Vec<f64>);

impl Field for Position {
    fn read(r: &mut Reader) -> Result<Position, Fault> {
        read_list(r).map(Position)
    }

    fn write(&self, out: &mut Vec<u8>) {
        if self.0.is_empty() {
            let _ = rmp::encode::write_nil(out);
        } else {
            write_list(&self.0, out);
        }
    }
}

impl From<Option<&Coordinate>> for CoordinateResponse {
    fn from(known: Option<&Coordinate>) -> CoordinateResponse {
        let coord = known.map(|c| CoordinateRecord {
            adjustment: c.adjustment(),
            error: c.error(),
            height: c.height(),
            vec: Position(c.position().to_vec()),
        });
        CoordinateResponse { ok: coord.is_some(), coord: coord.unwrap_or_default() }
    }
}

impl TryFrom<CoordinateRecord> for Coordinate {
    type Error = CoordinateError;

    fn try_from(record: CoordinateRecord) -> Result<Coordinate, CoordinateError> {
        Coordinate::from_parts(&record.vec.0, record.error, record.adjustment, record.height)
    }
}
