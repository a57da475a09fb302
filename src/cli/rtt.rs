//! `serf rtt`: how long a round trip between two members takes, as their coordinates say.

use super::connection::connect;
use super::console::{Console, Failure};
use crate::config::Flags;
use crate::model::{Coordinate, Text};
use crate::rpc::Client;
use crate::rpc::record::CoordinateCall;

/// Runs the command.
pub(super) fn run(flags: &Flags, console: &mut Console<'_>) -> Result<(), Failure> {
    let (first, second) = match flags.rest.as_slice() {
        [first] => (first, None),
        [first, second] => (first, Some(second.clone())),
        _ => return Err(Failure::Misuse("One or two node names must be specified".into())),
    };
    let mut client = connect(flags)?;
    let second = match second {
        Some(second) => second,
        None => own_name(&mut client)?,
    };
    let distance = coordinate(&mut client, first)?.distance_to(&coordinate(&mut client, &second)?);
    let ms = distance.as_secs_f64() * 1000.0;
    let (reader, tail) = (console.reader(), format!(" rtt: {ms:.3} ms"));
    let (first, second) = (reader.show(first), reader.show(&second));
    console.line([b"Estimated ", &*first, b" <-> ", &second, tail.as_bytes()].concat())
}

/// The name of the agent that is asked.
fn own_name(client: &mut Client) -> Result<Text, Failure> {
    let stats = client.stats().map_err(|e| Failure::message("Error querying agent", e))?;
    let name = stats.get("agent").and_then(|agent| agent.get(&b"name"[..]));
    name.cloned().ok_or_else(|| Failure::message("Error querying agent", "it does not say its name"))
}

fn coordinate(client: &mut Client, node: &Text) -> Result<Coordinate, Failure> {
    let call = CoordinateCall { node: node.clone() };
    let known = client.call(&call).map_err(|e| Failure::message("Error getting coordinates", e))?;
    if !known.ok {
        return Err(Failure::Message(format!("Could not find a coordinate for node {node:?}")));
    }
    known
        .coord
        .try_into()
        .map_err(|e| Failure::message(&format!("The coordinate of node {node:?} is useless"), e))
}
