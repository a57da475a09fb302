//! Snapshots: what an agent knows after a crash, a leave, a full disk, and from HashiCorp's file.

mod full_disk;
mod hashicorps_file;
mod kills;
mod restarts;
mod sharing;

use crate::harness::{Agent, AgentSpec, Scratch};
use std::fs;
use std::path::{Path, PathBuf};

/// A snapshot and a record of what the handler was given, outside of any agent's own directory.
struct Files(Scratch);

impl Files {
    fn new() -> Files {
        Files(Scratch::new("snapshot"))
    }

    fn snapshot(&self) -> PathBuf {
        self.0.path().join("serf.snapshot")
    }

    fn diary(&self) -> PathBuf {
        self.0.path().join("diary")
    }

    /// With this snapshot, and a handler that writes down each user event it is given.
    fn kept_by(&self, spec: AgentSpec) -> AgentSpec {
        let script =
            format!("p=$(cat); echo \"$SERF_USER_LTIME $SERF_USER_EVENT $p\" >> {}", self.diary().display());
        spec.flag(format!("-snapshot={}", self.snapshot().display()))
            .flag("-event-handler")
            .flag(format!("user={script}"))
    }

    /// Lamport time, name and payload of each event that the handler was given.
    fn given(&self) -> Vec<String> {
        let text = fs::read_to_string(self.diary()).unwrap_or_default();
        text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).map(str::to_string).collect()
    }

    fn given_ends_with(&self, event: &str) -> Result<(), String> {
        let last = self.given().last().cloned().unwrap_or_default();
        if last.ends_with(event) { Ok(()) } else { Err(format!("the last is '{last}'")) }
    }

    /// Whether the snapshot has this line.
    fn says(&self, line: &str) -> Result<(), String> {
        let text = fs::read_to_string(self.snapshot()).map_err(|e| e.to_string())?;
        if text.lines().any(|l| l == line) { Ok(()) } else { Err(text) }
    }
}

/// Whether there is time for a thorough run.
fn takes_its_time() -> bool {
    std::env::var("SERF_TEST_LONG").is_ok_and(|value| value == "1")
}

/// Whether the agent rejoined by itself since it was started.
fn rejoined(agent: &Agent) -> Result<(), String> {
    let count = agent.log_count("Re-joined to previously known node: ");
    if count == 1 { Ok(()) } else { Err(format!("{count} rejoins")) }
}

/// Whether every whole line of the file is one that the format has.
fn is_sound(path: &Path) -> Result<(), String> {
    let text = fs::read_to_string(path).map_err(|e| e.to_string())?;
    for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
        let (what, value) = line.split_once(": ").ok_or_else(|| format!("'{line}'"))?;
        let sound = match what {
            "alive" => value.rsplit_once(' ').is_some_and(|(_, a)| a.parse::<std::net::SocketAddr>().is_ok()),
            "not-alive" => !value.is_empty(),
            "clock" | "event-clock" | "query-clock" => value.parse::<u64>().is_ok(),
            _ => false,
        };
        if !sound {
            return Err(format!("'{line}'"));
        }
    }
    Ok(())
}
