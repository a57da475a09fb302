//! How an agent is to be started: its command line, its environment, and where it runs.

use super::program::{Answer, command, run_command, serf};
use super::scratch::Scratch;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How an agent is to be started. Can be started again: the same member comes back.
#[derive(Clone)]
pub(crate) struct AgentSpec {
    program: PathBuf,
    /// Put before every command line: `ip netns exec …`.
    pub(super) inside: Vec<String>,
    pub(super) name: String,
    pub(super) gossip: SocketAddr,
    pub(super) rpc: SocketAddr,
    flags: Vec<OsString>,
    named_in_files: bool,
    env: Vec<(String, String)>,
    pub(super) stderr: Option<PathBuf>,
}

impl AgentSpec {
    pub(crate) fn new(name: &str, gossip: SocketAddr, rpc: SocketAddr) -> AgentSpec {
        let (name, flags) = (name.to_string(), Vec::new());
        AgentSpec {
            program: serf(),
            inside: Vec::new(),
            name,
            gossip,
            rpc,
            flags,
            named_in_files: false,
            env: Vec::new(),
            stderr: None,
        }
    }

    /// Its name and its addresses are in a configuration file that a flag names.
    pub(crate) fn named_in_files(mut self) -> AgentSpec {
        self.named_in_files = true;
        self
    }

    /// With these settings, which become the configuration file in a directory.
    pub(crate) fn settings(self, directory: &Scratch, json: &str) -> AgentSpec {
        let file = directory.file("serf.json", json);
        self.flag(format!("-config-file={file}"))
    }

    /// Where it will gossip.
    pub(crate) fn gossip(&self) -> SocketAddr {
        self.gossip
    }

    /// Another program with the same command line.
    pub(crate) fn program(mut self, program: &Path) -> AgentSpec {
        self.program = program.to_path_buf();
        self
    }

    /// Runs the agent, and the commands that ask it, through another command.
    pub(crate) fn inside(mut self, command: Vec<String>) -> AgentSpec {
        self.inside = command;
        self
    }

    pub(crate) fn flag(mut self, flag: impl Into<OsString>) -> AgentSpec {
        self.flags.push(flag.into());
        self
    }

    pub(crate) fn tag(self, key: &str, value: &str) -> AgentSpec {
        self.flag("-tag").flag(format!("{key}={value}"))
    }

    pub(crate) fn join(self, seed: SocketAddr) -> AgentSpec {
        self.flag(format!("-join={seed}"))
    }

    /// A variable of its environment.
    pub(crate) fn env(mut self, name: &str, value: &str) -> AgentSpec {
        self.env.push((name.to_string(), value.to_string()));
        self
    }

    /// Standard error goes there, and not into the log.
    pub(crate) fn stderr_to(mut self, path: &Path) -> AgentSpec {
        self.stderr = Some(path.to_path_buf());
        self
    }

    pub(super) fn command(&self) -> Command {
        let mut command = self.wrapped(&self.program);
        command.arg("agent");
        if !self.named_in_files {
            command
                .arg(format!("-node={}", self.name))
                .arg(format!("-bind={}", self.gossip))
                .arg(format!("-rpc-addr={}", self.rpc));
        }
        command.args(&self.flags).envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// A program where the agent is.
    pub(super) fn wrapped(&self, program: &Path) -> Command {
        let Some((outer, rest)) = self.inside.split_first() else { return command(program) };
        let mut command = command(Path::new(outer));
        command.args(rest).arg(program);
        command
    }

    /// For an agent that is expected not to start: runs it to its end.
    pub(crate) fn run(&self) -> Answer {
        run_command(self.command(), Duration::from_secs(30))
    }
}
