//! Clusters of our agents and HashiCorp's, and what their logs may say.
//!
//! A cluster watches the logs of everyone who was ever in it, of both kinds: when it ends, each
//! error and warning must be one that the test brought about and excused (`Excuse`). What comes
//! of a machine that did not run processes is excused only when that was seen.

use super::agent::{Agent, Signal};
use super::complaints::{Complaint, Excuse, complaint, not_of_the_machine};
use super::machine::watch_the_machine;
use super::members::all_list;
use super::network::Network;
use super::program::serf;
use super::spec::AgentSpec;
use super::wait::{promised, soon, wait_until};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

/// The two programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ours,
    Theirs,
}

impl Kind {
    /// Names that begin with `h` are HashiCorp's.
    pub(crate) fn of(name: &str) -> Kind {
        if name.starts_with('h') { Kind::Theirs } else { Kind::Ours }
    }
}

/// A cluster of both kinds.
pub(crate) struct MixedCluster {
    theirs: PathBuf,
    flags: Vec<String>,
    residents: Vec<Resident>,
    /// The next one's host.
    host: u8,
    excuses: Vec<Excuse>,
    /// When the logs were last looked through.
    looked: Instant,
    /// Outlives the agents.
    net: Network,
}

/// An agent that is in the cluster or was.
struct Resident {
    agent: Agent,
    gone: bool,
    /// How many bytes of its log have been looked through.
    read: usize,
}

impl MixedCluster {
    /// Nobody yet. Everyone is going to be started with these flags.
    pub(crate) fn new(theirs: &Path, flags: &[&str]) -> MixedCluster {
        watch_the_machine();
        let flags = flags.iter().map(|flag| flag.to_string()).collect();
        MixedCluster {
            net: Network::claim(),
            theirs: theirs.to_path_buf(),
            flags,
            residents: Vec::new(),
            host: 1,
            excuses: Vec::new(),
            looked: Instant::now(),
        }
    }

    /// Starts the agents one after the other and waits until all of them agree. Each joins through
    /// the one before it, so that both kinds are joined through.
    pub(crate) fn start(theirs: &Path, names: &[&str], flags: &[&str]) -> MixedCluster {
        let mut mixed = MixedCluster::new(theirs, flags);
        for name in names {
            mixed.admit(name, |spec| spec);
        }
        mixed.agree();
        mixed
    }

    /// Starts one more agent, which joins through the one that came last.
    pub(crate) fn admit(&mut self, name: &str, adjust: impl FnOnce(AgentSpec) -> AgentSpec) {
        let mut spec = self.spec(name);
        if let Some(last) = self.present().last() {
            spec = spec.join(last.gossip());
        }
        self.start_as(&adjust(spec));
    }

    /// An agent that could be started at a host of its own.
    pub(crate) fn spec(&mut self, name: &str) -> AgentSpec {
        let spec = self.net.agent(name, self.host).program(&self.program(Kind::of(name)));
        self.host += 1;
        let spec = spec.tag("kind", &name[..1]).flag("-log-level=debug");
        self.flags.iter().fold(spec, |spec, flag| spec.flag(flag))
    }

    pub(crate) fn program(&self, kind: Kind) -> PathBuf {
        match kind {
            Kind::Ours => serf(),
            Kind::Theirs => self.theirs.clone(),
        }
    }

    /// Starts an agent that is specified already.
    pub(crate) fn start_as(&mut self, spec: &AgentSpec) {
        self.residents.push(Resident { agent: spec.start(), gone: false, read: 0 });
    }

    /// Starts the one who was here last by this name again: same host, same files; of any kind.
    pub(crate) fn bring_back(&mut self, name: &str, kind: Kind) {
        let former = self.residents.iter().rfind(|r| r.gone && r.agent.name() == name);
        let spec = former.expect("it was here").agent.spec().clone();
        self.start_as(&spec.program(&self.program(kind)));
    }

    /// Waits until everyone lists everyone who is here as alive, and nobody else.
    pub(crate) fn agree(&self) {
        let present = self.present();
        let alive: Vec<(&str, &str)> = present.iter().map(|agent| (agent.name(), "alive")).collect();
        let who = alive.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" ");
        wait_until(promised(10), &format!("{who} agree on who is here {:?}", self.flags), || {
            all_list(&present, &alive)
        });
    }

    /// Those who are here.
    pub(crate) fn present(&self) -> Vec<&Agent> {
        self.residents.iter().filter(|r| !r.gone).map(|r| &r.agent).collect()
    }

    pub(crate) fn of(&self, name: &str) -> &Agent {
        &self.residents[self.position(name)].agent
    }

    fn position(&self, name: &str) -> usize {
        let found = self.residents.iter().position(|r| !r.gone && r.agent.name() == name);
        found.unwrap_or_else(|| panic!("{name} is not here"))
    }

    /// Ends a process as a crash does.
    pub(crate) fn kill(&mut self, name: &str) {
        let at = self.position(name);
        let excuses = of_the_dead(&self.residents[at].agent);
        self.excuse(excuses);
        self.residents[at].agent.kill();
        self.residents[at].gone = true;
    }

    /// Has an agent leave, and waits for its end.
    pub(crate) fn leave(&mut self, name: &str) {
        // HashiCorp's agent is surprised at times by the shutdown that it has asked for.
        self.excuse([
            Excuse::new(name, "[WARN] agent: Serf shutdown detected, quitting"),
            Excuse::new(name, "[ERR] memberlist: Failed to send *: use of closed network connection"),
        ]);
        let at = self.position(name);
        let Resident { agent, gone, .. } = &mut self.residents[at];
        agent.ctl(&["leave"]).ok();
        agent.wait_exit(soon());
        *gone = true;
    }

    /// Has a process not run any more until `resume`.
    pub(crate) fn pause(&mut self, name: &str) {
        let at = self.position(name);
        let excuses = of_the_paused(&self.residents[at].agent);
        self.excuse(excuses);
        self.residents[at].agent.signal(Signal::Stop);
    }

    pub(crate) fn resume(&mut self, name: &str) {
        let at = self.position(name);
        self.residents[at].agent.signal(Signal::Continue);
    }

    /// Whether nobody who was ever here has reported anyone as failed.
    pub(crate) fn nobody_failed(&self) -> Result<(), String> {
        for Resident { agent, .. } in &self.residents {
            if let Some(line) = agent.log().lines().find(|line| reports_failure(line)) {
                return Err(format!("{} logged: {line}", agent.name()));
            }
        }
        Ok(())
    }

    /// How often anyone who was ever here has reported anyone as failed.
    pub(crate) fn failures_reported(&self) -> usize {
        self.residents.iter().map(|r| r.agent.log_count("EventMemberFailed")).sum()
    }

    /// From now on, these lines are no complaints.
    #[track_caller]
    pub(crate) fn excuse(&mut self, excuses: impl IntoIterator<Item = Excuse>) {
        self.nobody_complains();
        self.excuses.extend(excuses);
    }

    /// What has been said since the last look that nobody excused: who said it, and the line.
    pub(crate) fn new_complaints(&mut self) -> Vec<Complaint> {
        let mut complaints = Vec::new();
        for Resident { agent, read, .. } in &mut self.residents {
            let log = agent.log();
            // The last line may not be complete yet.
            let end = log.rfind('\n').map_or(0, |at| at + 1).max(*read);
            let new = log[*read..end].lines().filter_map(complaint);
            let excused = |line: &&str| !self.excuses.iter().any(|e| e.covers(agent.name(), line));
            complaints.extend(new.filter(excused).map(|line| (agent.name().to_string(), line.to_string())));
            *read = end;
        }
        self.looked = Instant::now();
        complaints
    }

    /// Fails if anyone who was ever here has complained about anything that is not excused.
    #[track_caller]
    pub(crate) fn nobody_complains(&mut self) {
        let since = self.looked;
        let complaints = not_of_the_machine(self.new_complaints(), since);
        assert!(complaints.is_empty(), "complaints that nothing excuses: {complaints:#?}");
    }
}

impl Drop for MixedCluster {
    /// No test can forget to look.
    fn drop(&mut self) {
        if !thread::panicking() {
            self.nobody_complains();
        }
    }
}

// ---- Excuses ----

fn reports_failure(line: &str) -> bool {
    line.contains("EventMemberFailed")
}

/// What may be said of an agent that is killed now.
fn of_the_dead(agent: &Agent) -> Vec<Excuse> {
    let (name, addr) = (agent.name(), agent.gossip());
    vec![
        // Probing it by HashiCorp's: nobody is there any more.
        Excuse::new("h*", format!("[ERR] memberlist: Failed fallback ping: dial tcp {addr}: *refused")),
        // An exchange with it that was due before anybody noticed, as either kind says it. In the
        // cluster it may have another name than in the test.
        Excuse::new("h*", format!("[ERR] memberlist: Push/Pull with * failed: dial tcp {addr}: *refused")),
        Excuse::new("o*", format!("[ERR] memberlist: Push/Pull with * ({addr}) failed: *")),
        // Should it come back, it says that it lives again to members that still take it for dead.
        Excuse::new(name, "[WARN] memberlist: Refuting a suspect message (from: *)"),
        Excuse::new(name, "[WARN] memberlist: Refuting a dead message (from: *)"),
    ]
}

/// What may be said of an agent that is paused now, and by it when it goes on.
fn of_the_paused(agent: &Agent) -> Vec<Excuse> {
    let (name, addr) = (agent.name(), agent.gossip());
    vec![
        // The system takes a connection for a paused process, but nobody answers.
        Excuse::new("h*", format!("[ERR] memberlist: Failed fallback ping: read tcp *->{addr}: i/o timeout")),
        // It answers as soon as it goes on.
        Excuse::new("*", format!("[WARN] memberlist: Was able to connect to {name} *")),
        // It notices that it did not run, and holds what it missed against no other.
        Excuse::new(name, "[WARN] memberlist: This process did not run for *"),
        // It says that it is well.
        Excuse::new(name, "[WARN] memberlist: Refuting a suspect message (from: *)"),
    ]
}

// ---- Several at once ----

/// Does the same to all cases, at most so many at a time: a cluster waits most of the time.
pub(crate) fn side_by_side<T: Sync>(cases: &[T], at_once: usize, act: impl Fn(&T) + Sync) {
    let next = Mutex::new(cases.iter());
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                loop {
                    let case = next.lock().expect("nobody panics with it").next();
                    let Some(case) = case else { return };
                    act(case);
                }
            });
        }
    });
}
