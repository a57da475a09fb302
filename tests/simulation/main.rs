//! Clusters in virtual time: the machines of `node/`, as the agent ships them, hundreds of members,
//! bad networks, from a seed. Here is the world (network, time, faults, handlers, disks) and the
//! laws; what a member does is decided in `src/`. Nothing opens a socket, reads a clock or sleeps.
//!
//! | module | what |
//! | --- | --- |
//! | `calendar` | what happens when |
//! | `network` | datagrams between addresses, and a decorator that spoils them |
//! | `streams` | TCP between addresses |
//! | `process` | an agent at an address, and what the kernel keeps for it |
//! | `world` | processes, network and time together |
//! | `observer` | the laws that hold for what one process sees |
//! | `listener` | the same for what it was told of events and queries |
//! | `agreement` | when all agree, and how long that may take |
//! | `storm`, `hostile`, `chatter`, `chaos` | chaos from a seed, then calm |
//! | `directed` | the test bench of the directed simulations |
//! | `failing` | pauses, kills, loss, half-connected members |
//! | `joining`, `churn`, `parting` | joining at once, 100,000 names, partitions |
//! | `recovery` | partitions that outlast every memory, seeds, ghosts |
//! | `locating` | network coordinates |
//! | `talking` | events and queries, directed |
//! | `delivering` | what handlers hear after coalescing; leaving |
//! | `naming`, `rotating`, `restarting` | votes about names, keys, snapshots |
//! | `laws` | proof that each law can be broken |
//! | `tally` | what has happened, so that no run is vacuous |

mod agreement;
mod calendar;
mod chaos;
mod chatter;
mod churn;
mod delivering;
mod directed;
mod failing;
mod hostile;
mod joining;
mod laws;
mod listener;
mod locating;
mod naming;
mod network;
mod observer;
mod parting;
mod process;
mod recovery;
mod restarting;
mod rotating;
mod storm;
mod streams;
mod talking;
mod tally;
mod world;
