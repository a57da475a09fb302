//! The membership table and the rules that change it. No I/O.
//!
//! | file | rules |
//! | --- | --- |
//! | `receive` | which message goes to which of them, and in which order |
//! | `config` | memberlist's and Serf's numbers, by profile |
//! | `table` | the rows; beneath it views of them, their order for probing, what comes due |
//! | `timed` | values by name and by moment |
//! | `row` | one member: SWIM state and Serf status in one |
//! | `swim` | alive, suspect, dead; refutation |
//! | `versions` | which members understand each other |
//! | `suspicion`, `awareness` | Lifeguard |
//! | `crash` | members whose host refuses connections |
//! | `moves`, `claims` | names that are claimed where their holders were not |
//! | `conflict`, `rivals` | two processes with one name |
//! | `owner`, `asked` | asking a member itself about what is claimed of it |
//! | `intent` | join and leave intents, leaving, force-leave, prune |
//! | `exchange` | push/pull |
//! | `difference`, `fruitless` | exchanges of what differs |
//! | `reconnect`, `seeds`, `retry_join` | reaching for members that are missing |
//! | `part` | ending without leaving |
//! | `forgotten` | what is remembered of the reaped, so that stale gossip does not resurrect them |
//! | `probe` | the probe state machine |
//! | `coordinates`, `vivaldi` | where members are on the network |
//! | `effects` | what rules ask to be done |
//!
//! Every rule takes a message, `now` and a random source, changes the table, and answers with
//! [`Effects`]. Nothing here opens a socket, reads a clock, sleeps, or locks anything; the same
//! code runs in the agent's threads and, in virtual time, in the simulator.

mod asked;
mod awareness;
mod claims;
mod config;
mod conflict;
mod coordinates;
mod crash;
mod difference;
mod effects;
pub(crate) mod exchange;
mod forgotten;
mod fruitless;
mod intent;
mod moves;
mod owner;
mod part;
mod probe;
mod receive;
mod reconnect;
#[cfg(test)]
mod regressions;
mod retry_join;
mod rings;
mod rivals;
mod row;
mod seeds;
mod suspicion;
mod swim;
mod table;
#[cfg(test)]
pub(crate) mod tests;
mod timed;
mod versions;
mod vivaldi;

pub use awareness::Awareness;
pub use config::{Config, Profile, ProfileError};
pub(crate) use difference::{bucket_of, buckets_for, id_of};
pub use effects::{Effects, StreamPing, StreamRequest, Target, Transmit};
pub use exchange::{ExchangeSchedule, FIRST_ROWS, NewsBudget};
pub use probe::{MAX_RELAYS, ProbeOutcome, Prober};
pub use receive::{Received, receive};
pub use reconnect::ReconnectSchedule;
pub use retry_join::{AfterFailure, RetryJoin};
pub use rings::{CHECK_RING, Direction, RINGS, Ring, Rings, between, first_from, neighbours, position};
pub use rivals::MAX_RIVALS;
pub use row::{Located, ProbeRecord, Row, State};
pub use seeds::{MAX_SEEDS, Origin, RAREST, Seeds};
pub use table::{MAX_INTENTS, MAX_PRESENT, MAX_TOMBSTONES, Members, Presence, SelfDescription};
pub use vivaldi::{MAX_ROUND_TRIP, Vivaldi};
