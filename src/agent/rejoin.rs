//! Rejoining after a crash: the members of the snapshot, one after the other in random order, until
//! one of them answers. If nobody does, they become seeds, which are tried again while this process
//! is alone. The main thread drives it while the agent serves already.

use super::channels::{Corridors, JoinRequest, JoinResult, ToMain, ToSync};
use crate::membership::Origin;
use crate::model::NodeName;
use fastrand::Rng;
use std::net::SocketAddr;
use std::time::Duration;

/// The most previous members that are kept as seeds when none of them answers.
const MAX_SEEDS: usize = 32;
/// How long asking waits for room.
const PATIENCE: Duration = Duration::from_secs(1);

/// A rejoin under way.
#[derive(Debug)]
pub struct Rejoin {
    /// Who has not been tried; the last is next.
    untried: Vec<(NodeName, SocketAddr)>,
    trying: (NodeName, SocketAddr),
    /// Who did not answer; at most [`MAX_SEEDS`].
    tried: Vec<String>,
}

impl Rejoin {
    /// Begins to rejoin one of the `previous` members. None if there is nobody but `me` among them.
    pub fn begin(
        mut previous: Vec<(NodeName, SocketAddr)>,
        me: (&NodeName, SocketAddr),
        corridors: &Corridors,
        rng: &mut Rng,
    ) -> Option<Rejoin> {
        previous.retain(|(name, addr)| name != me.0 && *addr != me.1);
        // Otherwise all that come back after a power failure would ask the same one.
        rng.shuffle(&mut previous);
        let trying = previous.pop()?;
        let rejoin = Rejoin { untried: previous, trying, tried: Vec::new() };
        rejoin.ask(corridors);
        Some(rejoin)
    }

    fn ask(&self, corridors: &Corridors) {
        let (name, addr) = &self.trying;
        log::info!(target: "serf", "Attempting re-join to previously known node: {name}: {addr}");
        let main = corridors.main.clone();
        let reply = Box::new(move |result| {
            // The corridor is wide enough for the one rejoin.
            let _ = main.send(ToMain::Rejoined(result));
        });
        // What happened meanwhile is news to this agent, and the snapshot says what is not: it
        // hears past events as in a join with replay.
        let request = JoinRequest::new(vec![addr.to_string()], true, reply);
        corridors.sync.send_within(ToSync::Join(request), PATIENCE);
    }

    /// The one that was asked has answered or not. Goes on with the next, if there is need.
    pub fn heard(mut self, result: JoinResult, corridors: &Corridors) -> Option<Rejoin> {
        let (name, addr) = &self.trying;
        let why = match result {
            Ok(_) => {
                log::info!(target: "serf", "Re-joined to previously known node: {name}: {addr}");
                return None;
            }
            Err(why) => why,
        };
        log::debug!(target: "serf", "Failed to re-join {name}: {why}");
        if self.tried.len() < MAX_SEEDS {
            self.tried.push(addr.to_string());
        }
        match self.untried.pop() {
            Some(next) => self.trying = next,
            None => {
                log::warn!(target: "serf", "Failed to re-join any previously known node; the last one: {why}");
                // They may all be starting as well, after a power failure.
                corridors.keep_seeds(self.tried, Origin::Found);
                return None;
            }
        }
        self.ask(corridors);
        Some(self)
    }
}
