//! Clusters in virtual time: the machines of `node/`, as the agent ships them, hundreds of members,
//! bad networks, from a seed. Here is the world (network, time, faults, handlers, disks) and the
//! laws; what a member does is decided in `src/`. Nothing opens a socket, reads a clock or sleeps.
//!
//! | module | what |
//! | --- | --- |
//! | `calendar` | what happens when |
//! | `network` | datagrams between addresses, and a decorator that spoils them |
//! | `streams` | TCP between addresses |
//! | `clients` | handlers, control connections and keyrings around a process |
//! | `process` | an agent at an address, and what the kernel keeps for it |
//! | `world` | processes, network and time together |
//! | `membership_laws` | the laws that hold for what one process sees |
//! | `delivery_laws` | the same for what it was told of events and queries |
//! | `wave_laws` | the same for the waves that it passes on |
//! | `agreement` | when all agree, and how long that may take |
//! | `storm`, `forgeries`, `random_events`, `chaos` | chaos from a seed, then calm |
//! | `bench`, `hearing` | the test bench of the directed simulations, and what was heard in them |
//! | `failure_detection` | pauses, kills, loss, half-connected members |
//! | `joining`, `churn`, `partitions` | joining at once, 100,000 names, partitions |
//! | `recovery` | partitions that outlast every memory, seeds, ghosts |
//! | `coordinates` | network coordinates |
//! | `events_and_queries` | events and queries, directed |
//! | `waves` | how news travels, what it costs, and what faults and forgeries make of it |
//! | `deliveries` | what handlers hear after coalescing; leaving |
//! | `name_votes`, `key_rotation`, `restarts` | votes about names, keys, snapshots |
//! | `scale` | what depends on how many members there are |
//! | `laws_can_fail` | proof that each law can be broken |
//! | `tally` | what has happened, so that no run is vacuous |

mod agreement;
mod bench;
mod calendar;
mod chaos;
mod churn;
mod clients;
mod coordinates;
mod deliveries;
mod delivery_laws;
mod events_and_queries;
mod failure_detection;
mod forgeries;
mod hearing;
mod joining;
mod key_rotation;
mod laws_can_fail;
mod membership_laws;
mod name_votes;
mod network;
mod partitions;
mod process;
mod random_events;
mod recovery;
mod restarts;
mod scale;
mod storm;
mod streams;
mod tally;
mod wave_laws;
mod waves;
mod world;
