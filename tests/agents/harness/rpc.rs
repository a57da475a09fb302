//! The control protocol without a command in between: for streams, and for events faster than
//! processes start.

use super::agent::Agent;
use super::wait::{Within, wait_until};
use serf::rpc::record::UserEventRecord;
use serf::rpc::{Client, ClientConfig, ClientError, Record};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long a reader waits for a record before it looks whether it is still wanted.
const TURN: Duration = Duration::from_millis(50);

/// A connection to an agent that answers already.
pub(crate) fn client(agent: &Agent) -> Client {
    let config = ClientConfig::new(agent.rpc().to_string());
    Client::connect(&config).unwrap_or_else(|e| panic!("cannot connect to {}: {e}", agent.name()))
}

/// Everything that a stream delivers, read as it comes by a thread of its own until this is dropped.
pub(crate) struct Listener {
    name: String,
    heard: Arc<Mutex<Vec<Record>>>,
    stop: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

impl Listener {
    /// Listens to what the filter lets through: on return, everything from now on.
    pub(crate) fn new(agent: &Agent, filter: &str) -> Listener {
        let mut client = client(agent);
        client.stream(filter).expect("an agent can be listened to");
        let (heard, stop) = (Arc::<Mutex<Vec<Record>>>::default(), Arc::<AtomicBool>::default());
        let (delivered, ended) = (Arc::clone(&heard), Arc::clone(&stop));
        let reader = thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                match client.next_record(Some(TURN)) {
                    Ok(Some((_, record))) => delivered.lock().expect("nobody panics with it").push(record),
                    Err(ClientError::TimedOut(_)) => {}
                    // A test that waits for more says what is missing.
                    Ok(None) | Err(_) => return,
                }
            }
        });
        Listener { name: agent.name().to_string(), heard, stop, reader: Some(reader) }
    }

    /// The records so far.
    pub(crate) fn records(&self) -> Vec<Record> {
        self.heard.lock().expect("nobody panics with it").clone()
    }

    /// How many records have come so far.
    pub(crate) fn count(&self) -> usize {
        self.heard.lock().expect("nobody panics with it").len()
    }

    /// The user events so far.
    pub(crate) fn user_events(&self) -> Vec<UserEventRecord> {
        let user = |record| match record {
            Record::User(event) => Some(event),
            _ => None,
        };
        self.records().into_iter().filter_map(user).collect()
    }

    /// Waits until so many records have come.
    #[track_caller]
    pub(crate) fn wait_for(&self, count: usize, limit: Within) {
        wait_until(limit, &format!("{count} records at {}", self.name), || {
            let so_far = self.count();
            if so_far >= count { Ok(()) } else { Err(format!("{so_far}")) }
        });
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// A counter of the agent; those that are zero are not shown.
pub(crate) fn counter(agent: &Agent, name: &str) -> u64 {
    let stats = client(agent).stats().expect("the agent shows its counters");
    let value = stats.get("counters").and_then(|counters| counters.get(format!("{name}_total").as_bytes()));
    value.map_or(0, |value| value.to_lossy().parse().expect("a counter is a number"))
}
