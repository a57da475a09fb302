//! One agent: a real process with a real log, asked through its control address.

use super::program::{Answer, COMMAND_DEADLINE, run_command, serf_ctl, wait_or_kill};
use super::scratch::Scratch;
use super::spec::AgentSpec;
use super::wait::{Within, forget_log, last_logs, remember_log, soon, wait_until};
use serde_json::Value;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// What an operator sends to a process.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Signal {
    /// SIGINT: leave the cluster and stop.
    Interrupt,
    /// SIGTERM: stop.
    Terminate,
    /// SIGHUP: reload the configuration.
    Hangup,
    /// SIGSTOP: be paused.
    Stop,
    /// SIGCONT: go on.
    Continue,
    /// SIGUSR1: write the metrics.
    User1,
}

/// A running agent. Dropped, it is killed and reaped.
pub(crate) struct Agent {
    spec: AgentSpec,
    child: Child,
    log: PathBuf,
    _scratch: Scratch,
}

impl AgentSpec {
    /// Starts the process and returns at once.
    pub(crate) fn spawn(&self) -> Agent {
        let scratch = Scratch::new(&self.name);
        let log = scratch.path().join("log");
        // One file for both streams, so that the order of their lines is kept.
        let out = File::create(&log).unwrap_or_else(|e| panic!("cannot create {}: {e}", log.display()));
        let err = match &self.stderr {
            None => out.try_clone().expect("a file handle can be duplicated"),
            // Both ways, so that a pipe opens without a reader.
            Some(path) => File::options().read(true).write(true).open(path).expect("standard error opens"),
        };
        let mut command = self.command();
        let child = command
            .stdout(out)
            .stderr(err)
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
        remember_log(&self.name, &log);
        Agent { spec: self.clone(), child, log, _scratch: scratch }
    }

    /// Starts the process and waits until it answers commands.
    #[track_caller]
    pub(crate) fn start(&self) -> Agent {
        let mut agent = self.spawn();
        agent.wait_ready();
        agent
    }
}

impl Agent {
    pub(crate) fn name(&self) -> &str {
        &self.spec.name
    }

    pub(crate) fn spec(&self) -> &AgentSpec {
        &self.spec
    }

    /// Its process id, or that of the command it was started through.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn gossip(&self) -> SocketAddr {
        self.spec.gossip
    }

    pub(crate) fn rpc(&self) -> SocketAddr {
        self.spec.rpc
    }

    /// Everything the agent has written so far.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// How many lines of the log contain this text.
    pub(crate) fn log_count(&self, text: &str) -> usize {
        self.log().lines().filter(|line| line.contains(text)).count()
    }

    /// How often it has reported that a member failed.
    pub(crate) fn failures_reported(&self, member: &str) -> usize {
        self.log_count(&format!("EventMemberFailed: {member} "))
    }

    /// Waits until the control port answers.
    #[track_caller]
    pub(crate) fn wait_ready(&mut self) {
        let what = format!("{} answers at its control address {}", self.name(), self.rpc());
        let (rpc, reachable) = (self.rpc(), self.spec.inside.is_empty());
        let mut ask = self.spec.wrapped(&serf_ctl());
        ask.arg("info").arg(format!("-rpc-addr={rpc}")).stdout(Stdio::null()).stderr(Stdio::null());
        let (child, log) = (&mut self.child, &self.log);
        wait_until(soon(), &what, || {
            if let Some(status) = child.try_wait().expect("a child can be waited for") {
                let log = fs::read_to_string(log).unwrap_or_default();
                panic!("the agent ended with {status} instead:\n{log}");
            }
            if !reachable {
                let answered = ask.status().expect("the commands can be run").success();
                return if answered { Ok(()) } else { Err("it does not answer".to_string()) };
            }
            match TcpStream::connect_timeout(&rpc, Duration::from_secs(1)) {
                Ok(_) => Ok(()),
                Err(e) => Err(e.to_string()),
            }
        });
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_none()
    }

    /// Sends a signal to this very process.
    pub(crate) fn signal(&mut self, signal: Signal) {
        self.send_signal(match signal {
            Signal::Interrupt => "INT",
            Signal::Terminate => "TERM",
            Signal::Hangup => "HUP",
            Signal::Stop => "STOP",
            Signal::Continue => "CONT",
            Signal::User1 => "USR1",
        });
    }

    /// Sends any signal, by the name or the number that `kill -s` knows.
    pub(crate) fn send_signal(&mut self, name: &str) {
        assert!(self.is_running(), "{} has ended, its process id may be another's", self.name());
        let sent = Command::new("sh")
            .args(["-c", "kill -s \"$0\" \"$1\"", name, &self.child.id().to_string()])
            .stdin(Stdio::null())
            .status()
            .expect("sh is available");
        assert!(sent.success(), "sending {name} to {} failed", self.name());
    }

    /// Ends the process as a crash would: SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("our own child can be killed");
        self.child.wait().expect("a killed child can be waited for");
    }

    /// Waits until the process has ended by itself.
    #[track_caller]
    pub(crate) fn wait_exit(&mut self, limit: Within) -> ExitStatus {
        let what = format!("the process of {} ends", self.name());
        let child = &mut self.child;
        wait_until(limit, &what, || {
            child.try_wait().expect("a child can be waited for").ok_or("it is still running".to_string())
        })
    }

    /// Runs a control command of `serf-ctl` against this agent: `["join", "127.0.0.1"]`.
    pub(crate) fn ctl<S: AsRef<str>>(&self, args: &[S]) -> Answer {
        self.ctl_with(&serf_ctl(), args)
    }

    /// Runs a control command of any such program against this agent.
    pub(crate) fn ctl_with<S: AsRef<str>>(&self, program: &Path, args: &[S]) -> Answer {
        let (name, rest) = args.split_first().expect("a command has a name");
        // Go's flags end at the first argument that is none, so the address comes before the rest.
        let mut all = vec![name.as_ref().to_string(), format!("-rpc-addr={}", self.rpc())];
        all.extend(rest.iter().map(|arg| arg.as_ref().to_string()));
        let mut command = self.spec.wrapped(program);
        command.args(&all);
        run_command(command, COMMAND_DEADLINE)
    }

    /// One value of `info`, by section and key.
    pub(crate) fn info(&self, section: &str, key: &str) -> Result<String, String> {
        let answer = self.ctl(&["info", "-format=json"]);
        let info: Value = serde_json::from_str(&answer.stdout).map_err(|e| format!("{e}: {answer}"))?;
        match &info[section][key] {
            Value::String(text) => Ok(text.clone()),
            _ => Err(format!("info of {} has no {section}: {key}; {answer}", self.name())),
        }
    }

    /// Resident memory in KiB.
    pub(crate) fn rss_kib(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(&path).unwrap_or_else(|e| panic!("cannot read {path}: {e}"));
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        line.and_then(|line| line.split_whitespace().nth(1)).and_then(|kib| kib.parse().ok()).unwrap_or_else(
            || panic!("{} has no resident memory; is it running?\n{}", self.name(), last_logs()),
        )
    }

    /// How often its thread of this name has gone to sleep.
    pub(crate) fn sleeps(&self, thread: &str) -> u64 {
        let dir = format!("/proc/{}/task", self.child.id());
        let tasks = fs::read_dir(&dir).unwrap_or_else(|e| panic!("cannot read {dir}: {e}"));
        let texts = tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("status")).ok());
        let text = texts.into_iter().find(|text| text.lines().next() == Some(&format!("Name:\t{thread}")));
        let count = text.as_deref().and_then(|text| {
            text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")?.trim().parse().ok())
        });
        count.unwrap_or_else(|| panic!("{} has no thread {thread}\n{}", self.name(), last_logs()))
    }

    /// The names of its threads, as `ps -T` shows them.
    pub(crate) fn thread_names(&self) -> Vec<String> {
        let dir = format!("/proc/{}/task", self.child.id());
        let tasks = fs::read_dir(&dir).unwrap_or_else(|e| panic!("cannot read {dir}: {e}"));
        // A thread may end between listing and reading.
        let names = tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
        let mut names: Vec<String> = names.map(|name| name.trim_end().to_string()).collect();
        names.sort();
        names
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        wait_or_kill(&mut self.child, Duration::from_secs(5));
        forget_log(&self.log);
    }
}
