//! Ten agents of HashiCorp's are replaced by ours, one by one, with the same files, while events
//! are sent; then ours by theirs again.

use crate::harness::complaints::{Excuse, nobody_complains};
use crate::harness::machine::watch_the_machine;
use crate::harness::peers::hashicorp_serf;
use crate::harness::{
    Agent, AgentSpec, Network, Scratch, Signal, all_list, run, serf, serf_ctl, soon, wait_until, within,
};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::mem;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

const AGENTS: u8 = 10;
/// Time between events.
const PACE: Duration = Duration::from_millis(50);
/// An event that was sent this long before a restart or after a return may be lost by that agent:
/// it is still on its way, or the agent has not been seen again by all.
const MARGIN: Duration = Duration::from_secs(1);

struct Host {
    name: String,
    rpc: SocketAddr,
    spec: AgentSpec,
    record: PathBuf,
}

impl Host {
    /// The events that its handler was given, both programs' alike.
    fn told(&self) -> BTreeSet<usize> {
        let told = fs::read_to_string(&self.record).unwrap_or_default();
        told.lines().filter_map(|line| line.strip_prefix("event-")?.parse().ok()).collect()
    }
}

/// The hosts with their files, which both programs start from.
fn hosts(net: &Network, scratch: &Scratch) -> Vec<Host> {
    let host = |number: u8| {
        let name = format!("n{number}");
        let path = |what: &str| scratch.path().join(format!("{name}.{what}"));
        let record = path("events");
        let config = json!({
            "node_name": name,
            "bind": net.gossip(number).to_string(),
            "rpc_addr": net.rpc(number).to_string(),
            "log_level": "debug",
            "tags": {"rack": number.to_string()},
            "snapshot_path": path("snapshot"),
            "retry_join": [net.gossip(1).to_string(), net.gossip(2).to_string()],
            "retry_interval": "1s",
            "event_handlers": [format!("user=cat > /dev/null; echo $SERF_USER_EVENT >> {}", record.display())],
        });
        fs::write(path("json"), config.to_string()).expect("the file is ours");
        let rpc = net.rpc(number);
        let spec = AgentSpec::new(&name, net.gossip(number), rpc).named_in_files();
        Host { spec: spec.flag(format!("-config-file={}", path("json").display())), name, rpc, record }
    };
    (1..=AGENTS).map(host).collect()
}

/// What was sent, and when each host was away.
#[derive(Default)]
struct Account {
    sent: Mutex<BTreeMap<usize, Instant>>,
    away: Mutex<Vec<(usize, Instant, Instant)>>,
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().expect("nobody panics with it")
}

impl Account {
    fn newest(&self) -> usize {
        lock(&self.sent).keys().last().copied().unwrap_or(0)
    }

    /// Waits until so many more events have been sent.
    fn pass(&self, events: usize) {
        let later = self.newest() + events;
        wait_until(soon(), "events are sent", || match self.newest() {
            newest if newest >= later => Ok(()),
            newest => Err(format!("the newest is {newest}, not {later}")),
        });
    }

    fn was_away(&self, host: usize, since: Instant) {
        lock(&self.away).push((host, since, Instant::now()));
    }

    /// Whether a host was told of every event up to a moment ago that it was there for.
    fn is_settled(&self, at: usize, host: &Host) -> Result<(), String> {
        let told = host.told();
        let now = Instant::now();
        let away = lock(&self.away);
        let there = |sent: Instant| {
            let absences = away.iter().filter(|(who, ..)| *who == at);
            sent + MARGIN < now
                && absences.clone().all(|(_, from, to)| sent + MARGIN < *from || sent > *to + MARGIN)
        };
        let sent = lock(&self.sent);
        let missed = sent.iter().filter(|(event, sent)| there(**sent) && !told.contains(event));
        let missed: Vec<usize> = missed.map(|(event, _)| *event).collect();
        if missed.is_empty() { Ok(()) } else { Err(format!("{} was not told of {missed:?}", host.name)) }
    }
}

/// Sends events until it goes out of scope, also when the test fails.
struct Load {
    account: Account,
    through: Mutex<SocketAddr>,
    done: AtomicBool,
}

impl Load {
    fn send(&self) {
        for event in 0.. {
            if self.done.load(Ordering::Relaxed) {
                return;
            }
            let address = format!("-rpc-addr={}", lock(&self.through));
            let name = format!("event-{event}");
            if run(&serf_ctl(), ["event", &address, "-coalesce=false", &name, "x"]).code() == Some(0) {
                lock(&self.account.sent).insert(event, Instant::now());
            }
            // The pace of the load, not a wait for anything.
            thread::sleep(PACE);
        }
    }
}

/// Ends the load.
struct Ends<'a>(&'a Load);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.done.store(true, Ordering::Relaxed);
    }
}

fn everyone(hosts: &[Host]) -> Vec<(&str, &str)> {
    hosts.iter().map(|host| (host.name.as_str(), "alive")).collect()
}

/// How often each agent has reported each member failed, but for what concerns one of them.
fn failures(agents: &[Agent], hosts: &[Host], except: usize) -> Vec<usize> {
    let reporters = agents.iter().enumerate().filter(|(at, _)| *at != except).map(|(_, agent)| agent);
    let others = || hosts.iter().enumerate().filter(move |(at, _)| *at != except).map(|(_, host)| host);
    reporters.flat_map(|agent| others().map(|host| agent.failures_reported(&host.name))).collect()
}

/// What agents of both kinds say because others are restarted, and when they return.
fn of_restarts() -> Vec<Excuse> {
    let lines = [
        // What others remember of the life before.
        "[WARN] memberlist: Refuting an alive message for *",
        // To talk to it just then was begun in vain, or cut short.
        "[ERR] memberlist: *connection refused",
        "[ERR] memberlist: *connection reset by peer",
        "[ERR] memberlist: *: EOF",
        "[ERR] memberlist: *: closed by the other side before a message was complete",
    ];
    lines.map(|line| Excuse::new("*", line)).to_vec()
}

#[test]
fn ten_are_replaced_one_by_one_and_back_again() {
    let Some(theirs) = hashicorp_serf() else { return };
    watch_the_machine();
    let start = Instant::now();
    let (net, scratch) = (Network::claim(), Scratch::new("replacement"));
    let hosts = hosts(&net, &scratch);
    let mut agents: Vec<Agent> =
        hosts.iter().map(|host| host.spec.clone().program(&theirs).start()).collect();
    let all = everyone(&hosts);
    let agree = |agents: &[Agent]| all_list(&agents.iter().collect::<Vec<_>>(), &all);
    wait_until(within(60), "ten of HashiCorp's agree", || agree(&agents));

    let load =
        Load { account: Account::default(), through: Mutex::new(hosts[1].rpc), done: AtomicBool::new(false) };
    let account = &load.account;
    let mut former = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| load.send());
        let _ends = Ends(&load);
        for program in [serf(), theirs] {
            for (at, host) in hosts.iter().enumerate() {
                // Events are sent through a member that stays, and nothing that was sent through the
                // other one goes with it.
                *lock(&load.through) = hosts[usize::from(at == 0)].rpc;
                account.pass(10);
                // What gossip missed comes with an exchange; who is restarted before that has missed it.
                wait_until(within(90), "nothing is missing there", || account.is_settled(at, host));

                let before = failures(&agents, &hosts, at);
                let left = Instant::now();
                agents[at].signal(Signal::Terminate);
                agents[at].wait_exit(soon());
                let successor = host.spec.clone().program(&program).start();
                former.push(mem::replace(&mut agents[at], successor));
                wait_until(within(60), &format!("{} is back", host.name), || agree(&agents));
                account.was_away(at, left);
                let next = account.newest() + 5;
                wait_until(within(60), &format!("{} takes part again", host.name), || {
                    let last = host.told().last().copied();
                    if last >= Some(next) { Ok(()) } else { Err(format!("told of {last:?}, not of {next}")) }
                });
                assert_eq!(failures(&agents, &hosts, at), before, "while {} was away", host.name);
            }
        }
    });
    let sent = account.newest();
    assert!(sent > 100, "there was load: {sent} events");
    wait_until(within(90), "whoever was there was told of every event", || {
        hosts.iter().enumerate().try_for_each(|(at, host)| account.is_settled(at, host))
    });
    nobody_complains(agents.iter().chain(&former), &of_restarts(), start);
    println!("{sent} events while twenty agents were replaced");
}
