//! Agents of a program on loopback addresses, each its own, and what the kernel says of them.

use serf::rpc::{Client, ClientConfig, ClientError};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

/// Whatever goes wrong ends a run.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How often states are looked at.
const POLL: Duration = Duration::from_millis(10);
/// What the kernel counts processor time in, for programs: hundredths of a second on every architecture.
const TICKS_PER_SECOND: f64 = 100.0;

/// An agent that runs. It ends with this value.
pub struct Agent {
    child: Child,
    host: String,
}

impl Agent {
    /// Starts the agent with this number; others are joined through the first.
    fn start(program: &Path, number: usize) -> io::Result<Agent> {
        let host = format!("127.77.{}.{}", number / 250, 1 + number % 250);
        let join = (number > 0).then_some("127.77.0.1:7946");
        Agent::start_at(program, &format!("m{number:03}"), host, 7946, join)
    }

    /// Starts an agent at a host, which joins through an address if there is one.
    pub fn start_at(
        program: &Path,
        name: &str,
        host: String,
        port: u16,
        join: Option<&str>,
    ) -> io::Result<Agent> {
        let mut command = Command::new(program);
        command.args(["agent", "-log-level=err", &format!("-node={name}")]);
        command.args([format!("-bind={host}:{port}"), format!("-rpc-addr={host}:7373")]);
        command.args(join.map(|join| format!("-join={join}")));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Agent { child: command.spawn()?, host })
    }

    /// Where its control protocol is served.
    pub fn rpc(&self) -> String {
        format!("{}:7373", self.host)
    }

    /// Connects to it, which may have to wait until it has started.
    pub fn client(&self) -> Result<Client, ClientError> {
        let (config, start) = (ClientConfig::new(self.rpc()), Instant::now());
        loop {
            match Client::connect(&config) {
                Err(_) if start.elapsed() < PATIENCE => thread::sleep(Duration::from_micros(500)),
                result => return result,
            }
        }
    }

    /// Ends it as a crash does.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Seconds of processor time so far.
    pub fn cpu(&self) -> Outcome<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok());
        let (user, system) = ticks(11).zip(ticks(12)).ok_or("no processor time in /proc")?;
        Ok((user + system) / TICKS_PER_SECOND)
    }

    /// Resident bytes.
    pub fn resident(&self) -> Outcome<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes = line.and_then(|line| line.split_whitespace().next()).ok_or("no VmRSS in /proc")?;
        Ok(kibibytes.parse::<f64>()? * 1024.0)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // One that has ended already is no error.
        let _ = self.kill();
    }
}

/// Agents that have been started together.
pub struct Cluster {
    /// The agents.
    pub agents: Vec<Agent>,
    /// A connection to each.
    pub clients: Vec<Client>,
    /// How long it took from the last start until everyone listed everyone.
    pub joined: Duration,
}

impl Cluster {
    /// Starts so many at once, and waits until everyone lists everyone.
    pub fn start(program: &Path, members: usize) -> Outcome<Cluster> {
        let mut agents = Vec::with_capacity(members);
        for number in 0..members {
            agents.push(Agent::start(program, number)?);
            if number == 0 {
                agents[0].client()?;
            }
        }
        let start = Instant::now();
        let clients = agents.iter().map(Agent::client).collect::<Result<Vec<_>, _>>()?;
        let mut cluster = Cluster { agents, clients, joined: Duration::ZERO };
        cluster.wait("everyone lists everyone", |members_of| members_of("members") == Some(members), &[])?;
        cluster.joined = start.elapsed();
        Ok(cluster)
    }

    /// Waits until something holds for every agent but some, by what it says of members.
    pub fn wait(
        &mut self,
        what: &str,
        holds: impl Fn(&dyn Fn(&str) -> Option<usize>) -> bool,
        without: &[usize],
    ) -> Outcome<()> {
        let (start, all) = (Instant::now(), self.clients.iter_mut().enumerate());
        let mut waiting: Vec<&mut Client> =
            all.filter(|(number, _)| !without.contains(number)).map(|(_, client)| client).collect();
        while !waiting.is_empty() {
            let mut rest = Vec::new();
            for client in waiting {
                let stats = client.stats()?;
                let count = |key: &str| {
                    let value = stats.get("serf")?.get(key.as_bytes())?;
                    value.to_lossy().parse::<usize>().ok()
                };
                if !holds(&count) {
                    rest.push(client);
                }
            }
            waiting = rest;
            if start.elapsed() > PATIENCE {
                return Err(format!("after {PATIENCE:?} it does not hold that {what}").into());
            }
            if !waiting.is_empty() {
                thread::sleep(POLL);
            }
        }
        Ok(())
    }

    /// Seconds of processor time of all so far.
    pub fn cpu(&self) -> Outcome<f64> {
        self.agents.iter().map(Agent::cpu).sum()
    }
}

/// How long it takes from the start of one agent until its control protocol answers.
pub fn time_to_start(program: &Path) -> Outcome<Duration> {
    let start = Instant::now();
    let agent = Agent::start(program, 0)?;
    agent.client()?;
    Ok(start.elapsed())
}
