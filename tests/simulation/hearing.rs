//! What was heard of events: the accounts that directed simulations look at.

use crate::bench::cluster;
use crate::delivery_laws::{Record, Told};
use crate::process::Pid;
use crate::world::{Via, World};
use serf::membership::Config;
use serf::model::Moment;
use std::collections::{BTreeMap, BTreeSet};

/// A cluster that has agreed, and a record of what is said from now on.
pub(crate) fn talking(n: usize, seed: u64, config: Config) -> World {
    let mut world = cluster(n, seed, config);
    world.record = Some(Record::default());
    world
}

pub(crate) fn record(world: &World) -> &Record {
    world.record.as_ref().expect("a record is kept")
}

/// Who was told which event, when, and how it came, by the event's payload.
pub(crate) type Hearing = BTreeMap<Vec<u8>, Vec<(Moment, Pid, Via)>>;

pub(crate) fn hearing(world: &World) -> Hearing {
    let mut heard = Hearing::new();
    for (at, pid, told) in &record(world).told {
        if let Told::Event(event, via) = told {
            heard.entry(event.payload.clone()).or_default().push((*at, *pid, *via));
        }
    }
    heard
}

/// Whether each of `events` events was told to each of `n` processes exactly once; otherwise what
/// is wrong.
pub(crate) fn complete(heard: &Hearing, events: usize, n: usize) -> Result<(), String> {
    if heard.len() != events {
        return Err(format!("{} events of {events} were told", heard.len()));
    }
    for (event, tellings) in heard {
        let who: BTreeSet<Pid> = tellings.iter().map(|(_, pid, _)| *pid).collect();
        if who.len() != n || tellings.len() != n {
            return Err(format!("{event:?}: told {} times to {} of {n}", tellings.len(), who.len()));
        }
    }
    Ok(())
}

/// Milliseconds from the firing of each event until the last member was told.
pub(crate) fn delays(heard: &Hearing) -> Vec<u128> {
    let delay = |told: &Vec<(Moment, Pid, Via)>| {
        let all = told.iter().map(|(at, ..)| *at);
        all.clone().max().zip(all.min()).map_or(0, |(last, first)| last.since(first).as_millis())
    };
    heard.values().map(delay).collect()
}

/// How often an event came to someone by push/pull first.
pub(crate) fn completed_by_exchange(heard: &Hearing) -> usize {
    heard.values().flatten().filter(|(.., via)| *via == Via::Exchange).count()
}
