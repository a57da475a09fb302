//! The gossip sockets, and the threads that own them.
//!
//! | file | what |
//! | --- | --- |
//! | `probe`, `backlog` | `serf-probe`: the receiving end of the UDP socket, and the heartbeat; news that waits for it |
//! | `gossip` | `serf-gossip`: the broadcast queue |
//! | `sync`, `stream` | `serf-sync`: the TCP listener and its streams |
//! | `buffer`, `holdings`, `recalls` | what is received until it is complete, what streams hold in memory, and exchanges that wait for room |
//! | `datagrams` | the sending end of the UDP socket |
//! | `refusals` | packets that are refused: counted, and complained about at a bounded rate |
//! | `bind`, `host`, `sockets` | which addresses to bind and to advertise, and opening them |
//! | `resolve` | `serf-resolve`: names of hosts, looked up by the system |
//! | `mdns` | `serf-mdns`: members that are announced by multicast DNS |

pub(crate) mod backlog;
pub(crate) mod bind;
mod buffer;
pub(crate) mod datagrams;
pub(crate) mod gossip;
mod holdings;
pub(crate) mod host;
pub(crate) mod mdns;
pub(crate) mod probe;
mod recalls;
pub(crate) mod refusals;
pub(crate) mod resolve;
pub(crate) mod sockets;
pub(crate) mod stream;
pub(crate) mod sync;
