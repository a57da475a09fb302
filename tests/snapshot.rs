//! Snapshots: what an agent knows after a crash, a leave, a full disk, and from HashiCorp's file.
#![allow(clippy::disallowed_methods, reason = "tests read clocks, files and sockets; rules do not")]

mod common;

use common::peers::hashicorp_serf;
use common::rpc::{client, counter};
use common::{
    Agent, AgentSpec, Network, Scratch, Signal, all_list, all_see, settle, soon, wait_until, within,
};
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

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

#[test]
fn who_crashed_comes_back_and_hears_what_it_missed_and_nothing_twice() {
    let net = Network::claim();
    let files = Files::new();
    let n1 = net.agent("n1", 1).start();
    let mut n2 = files.kept_by(net.agent("n 2", 2)).join(net.gossip(1)).start();
    let both = [("n1", "alive"), ("n 2", "alive")];
    wait_until(soon(), "the two agree", || all_list(&[&n1, &n2], &both));
    assert!(n2.log().contains("Snapshot: true") && n1.log().contains("Snapshot: false"));
    n1.ctl(&["event", "-coalesce=false", "before", "1"]).ok();
    n1.ctl(&["query", "-timeout=1s", "ask"]).ok();
    wait_until(soon(), "the event is given", || files.given_ends_with("before 1"));
    // Nothing happens now that would flush anything.
    wait_until(soon(), "the file has the event", || files.says("event-clock: 1"));
    wait_until(soon(), "the file has the query", || files.says("query-clock: 1"));
    wait_until(soon(), "the file has the member", || files.says(&format!("alive: n1 {}", net.gossip(1))));
    assert_eq!(fs::metadata(files.snapshot()).unwrap().permissions().mode() & 0o777, 0o600);

    n2.kill();
    n1.ctl(&["event", "-coalesce=false", "meanwhile", "2"]).ok();
    let n2 = files.kept_by(net.agent("n 2", 2)).start();
    wait_until(soon(), "it is back", || all_list(&[&n1, &n2], &both));
    wait_until(soon(), "it says so", || rejoined(&n2));
    let known = format!("previously known node: n1: {}", net.gossip(1));
    assert!(n2.log().contains(&format!("Attempting re-join to {known}")), "{}", n2.log());
    wait_until(soon(), "it hears what it missed", || files.given_ends_with("meanwhile 2"));
    n2.ctl(&["event", "-coalesce=false", "after", "3"]).ok();
    wait_until(soon(), "it goes on", || files.given_ends_with("after 3"));
    // Lamport times go on, too, where they were.
    assert_eq!(files.given(), ["1 before 1", "2 meanwhile 2", "3 after 3"]);
    assert_eq!(counter(&n2, "snapshot_lines_skipped"), 0);
}

#[test]
fn whoever_left_stays_away_unless_told_to_rejoin() {
    let net = Network::claim();
    let files = Files::new();
    let n1 = net.agent("n1", 1).start();
    let spec = files.kept_by(net.agent("n2", 2));
    let mut n2 = spec.clone().join(net.gossip(1)).start();
    wait_until(soon(), "the two agree", || all_list(&[&n1, &n2], &[("n1", "alive"), ("n2", "alive")]));
    n2.signal(Signal::Interrupt);
    assert_eq!(n2.wait_exit(soon()).code(), Some(0));
    assert_eq!(files.says("leave"), Ok(()));

    let mut n2 = spec.start();
    wait_until(soon(), "the file has its new life", || {
        let text = fs::read_to_string(files.snapshot()).unwrap_or_default();
        if text.ends_with("leave\n") { Err(text) } else { Ok(()) }
    });
    assert_eq!(all_list(&[&n2], &[("n2", "alive")]), Ok(()));
    assert_eq!(n2.log_count("re-join"), 0, "{}", n2.log());
    n2.ctl(&["join", &net.gossip(1).to_string()]).ok();
    wait_until(soon(), "it knows the other", || files.says(&format!("alive: n1 {}", net.gossip(1))));
    n2.signal(Signal::Interrupt);
    assert_eq!(n2.wait_exit(soon()).code(), Some(0));

    let n2 = spec.flag("-rejoin").start();
    wait_until(soon(), "it is back", || all_list(&[&n1, &n2], &[("n1", "alive"), ("n2", "alive")]));
    wait_until(soon(), "it says so", || rejoined(&n2));
}

#[test]
fn nobody_to_rejoin_is_no_reason_to_end_and_whoever_comes_later_is_found() {
    let net = Network::claim();
    let files = Files::new();
    let gone = net.gossip(9);
    fs::write(files.snapshot(), format!("alive: x {gone}\nalive: n1 {}\nalive: y {gone}\n", net.gossip(1)))
        .unwrap();
    let config = files.0.path().join("config.json");
    fs::write(&config, "{\"reconnect_interval\": \"1s\"}").unwrap();
    let n1 = files.kept_by(net.agent("n1", 1)).flag(format!("-config-file={}", config.display())).start();
    wait_until(soon(), "it gives up", || {
        let tried = n1.log_count("Attempting re-join to previously known node: ");
        let over = n1.log_count("Failed to re-join any previously known node");
        if (tried, over) == (2, 1) { Ok(()) } else { Err(format!("{tried} tried")) }
    });
    assert_eq!(all_list(&[&n1], &[("n1", "alive")]), Ok(()));

    // After a power failure the others are only late.
    let late = net.agent("y", 9).start();
    wait_until(within(60), "they find each other", || {
        all_list(&[&n1, &late], &[("n1", "alive"), ("y", "alive")])
    });
}

#[test]
fn a_path_that_is_no_file_is_refused_with_a_reason() {
    let net = Network::claim();
    let scratch = Scratch::new("paths");
    let path = |name: &str| scratch.path().join(name);
    fs::create_dir(path("directory")).unwrap();
    std::os::unix::fs::symlink(path("nothing"), path("link")).unwrap();
    assert!(Command::new("mkfifo").arg(path("pipe")).status().expect("mkfifo is available").success());
    let cases = [("directory", "a directory"), ("link", "a symbolic link"), ("pipe", "a named pipe")];
    for (name, what) in cases {
        let said =
            net.agent("n1", 1).flag("-snapshot").flag(path(name).display().to_string()).run().refused();
        let expected = format!("Failed to setup snapshot: {} is {what}", path(name).display());
        assert!(said.contains(&expected), "{said}");
    }
    let said =
        net.agent("n1", 1).flag(format!("-snapshot={}", path("no/such/file").display())).run().refused();
    assert!(said.contains("no/such/file: No such file or directory"), "{said}");
}

// ---- killed at any moment ----

/// What a kill may take back: an event that was given this shortly before may be given again.
const WINDOW: Duration = Duration::from_millis(500);

/// Sends events through an agent until it is dropped.
struct Talker {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Talker {
    fn new(agent: &Agent) -> Talker {
        let (stop, sent) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (ended, count, mut client) = (Arc::clone(&stop), Arc::clone(&sent), client(agent));
        let thread = thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                let n = count.fetch_add(1, Ordering::Relaxed);
                client.event("talk", n.to_string().as_bytes(), false).expect("an event is sent");
                settle(Duration::from_millis(40), || ended.load(Ordering::Relaxed));
            }
        });
        Talker { stop, sent, thread: Some(thread) }
    }
}

impl Drop for Talker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
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

#[test]
fn killed_at_random_moments_it_always_comes_back_and_tells_nothing_twice() {
    let rounds = if takes_its_time() { 200 } else { 20 };
    let seed = u64::from(std::process::id());
    let mut rng = fastrand::Rng::with_seed(seed);
    let net = Network::claim();
    let files = Files::new();
    let [n1, n2] = net.cluster(["n1", "n2"]);
    let spec = files.kept_by(net.agent("phoenix", 3));
    let visitor = net.agent("visitor", 4).join(net.gossip(1));
    let all = [("n1", "alive"), ("n2", "alive"), ("phoenix", "alive")];
    let mut phoenix = spec.clone().join(net.gossip(1)).start();
    wait_until(soon(), "three agree", || all_see(&[&n1, &n2, &phoenix], &all));
    wait_until(soon(), "the file knows them", || files.says(&format!("alive: n2 {}", net.gossip(2))));
    let talker = Talker::new(&n2);

    let (mut visiting, mut in_window) = (None::<Agent>, 0);
    for round in 0..rounds {
        // Someone comes or goes, in each of three ways.
        match visiting.take() {
            None => visiting = Some(visitor.spawn()),
            Some(mut agent) => {
                if agent.is_running() && rng.bool() {
                    agent.signal(Signal::Interrupt);
                    visiting = Some(agent);
                } else {
                    agent.kill();
                }
            }
        }
        let before = files.given();
        settle(WINDOW + Duration::from_millis(rng.u64(0..700)), || false);
        phoenix.kill();
        // What it gave in its last moments is still being written down by the handlers.
        let at_kill = files.given();
        is_sound(&files.snapshot()).unwrap_or_else(|e| panic!("round {round} of seed {seed}: {e}"));

        phoenix = spec.start();
        let what = format!("it is back in round {round} of seed {seed}");
        wait_until(within(30), &what, || rejoined(&phoenix));
        wait_until(within(30), &what, || all_see(&[&n1, &n2, &phoenix], &all));
        let sent = talker.sent.load(Ordering::Relaxed);
        wait_until(within(30), "it hears what is said now", || {
            let latest = files.given().iter().filter_map(|l| l.rsplit(' ').next()?.parse().ok()).max();
            if latest >= Some(sent) { Ok(()) } else { Err(format!("{latest:?} of {sent}")) }
        });
        let since = files.given().split_off(at_kill.len());
        let twice: Vec<&String> = since.iter().filter(|event| before.contains(event)).collect();
        assert!(twice.is_empty(), "round {round} of seed {seed}: {twice:?} given again\n{}", phoenix.log());
        in_window += since.iter().filter(|event| at_kill.contains(event)).count();
        assert_eq!(counter(&phoenix, "snapshot_news_superseded"), 0);
    }
    let given = files.given();
    // Not `eprintln!`, which the test runner keeps to itself when a test passes.
    let _ = writeln!(
        std::io::stderr(),
        "{rounds} kills, {} events given, {in_window} of them again within {WINDOW:?} of a kill",
        given.len()
    );
    assert!(given.len() > rounds * 5, "{} events are hardly any", given.len());
}

// ---- HashiCorp's file ----

#[test]
fn ours_goes_on_with_hashicorps_file() {
    let Some(theirs) = hashicorp_serf() else { return };
    let net = Network::claim();
    let files = Files::new();
    let snapshot = format!("-snapshot={}", files.snapshot().display());
    let h2 = net.agent("n 2", 2).program(&theirs).start();
    let mut h1 = net.agent("n1", 1).program(&theirs).flag(&snapshot).join(net.gossip(2)).start();
    wait_until(soon(), "the two agree", || all_list(&[&h1, &h2], &[("n1", "alive"), ("n 2", "alive")]));
    for n in 0..5 {
        h1.ctl(&["event", "-coalesce=false", "old", &n.to_string()]).ok();
    }
    h1.ctl(&["query", "-timeout=500ms", "ask"]).ok();
    h1.signal(Signal::Terminate);
    h1.wait_exit(soon());
    drop(h2);
    assert_eq!(files.says("event-clock: 5"), Ok(()));

    let n2 = net.agent("n 2", 2).start();
    let n1 = files.kept_by(net.agent("n1", 1)).start();
    wait_until(soon(), "ours rejoins", || all_list(&[&n1, &n2], &[("n1", "alive"), ("n 2", "alive")]));
    wait_until(soon(), "it says so", || rejoined(&n1));
    assert_eq!(counter(&n1, "snapshot_lines_skipped"), 0);
    assert_eq!(fs::metadata(files.snapshot()).unwrap().permissions().mode() & 0o777, 0o600, "narrowed");
    n1.ctl(&["event", "-coalesce=false", "new", "x"]).ok();
    wait_until(soon(), "its clock goes on", || files.given_ends_with("6 new x"));
}

#[test]
fn hashicorps_goes_on_with_our_file() {
    let Some(theirs) = hashicorp_serf() else { return };
    let net = Network::claim();
    let files = Files::new();
    let snapshot = format!("-snapshot={}", files.snapshot().display());
    let [n2, n3] = [net.agent("n 2", 2).start(), net.agent("n3", 3).join(net.gossip(2)).start()];
    let mut n1 = files.kept_by(net.agent("n1", 1)).join(net.gossip(2)).start();
    let three = [("n1", "alive"), ("n 2", "alive"), ("n3", "alive")];
    wait_until(soon(), "three agree", || all_list(&[&n1, &n2, &n3], &three));
    drop(n3);
    wait_until(within(30), "one is gone", || files.says("not-alive: n3"));
    for n in 0..5 {
        n1.ctl(&["event", "-coalesce=false", "old", &n.to_string()]).ok();
    }
    wait_until(soon(), "the file has the events", || files.says("event-clock: 5"));
    n1.kill();
    drop(n2);

    let h2 = net.agent("n 2", 2).program(&theirs).start();
    let h1 = net.agent("n1", 1).program(&theirs).flag(&snapshot).start();
    wait_until(soon(), "theirs rejoins", || all_list(&[&h1, &h2], &[("n1", "alive"), ("n 2", "alive")]));
    wait_until(soon(), "it says so", || rejoined(&h1));
    for complaint in ["Unrecognized snapshot line", "Failed to parse", "Failed to convert"] {
        assert_eq!(h1.log_count(complaint), 0, "{}", h1.log());
    }
    let time: u64 = h1.info("serf", "event_time").unwrap().parse().unwrap();
    assert_eq!(time, 6, "its clock goes on");
}

// ---- a full disk ----

/// A file system of its own, unmounted when this is dropped.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: &Path, size: &str) -> Option<Disk> {
        let options = format!("size={size},mode=700");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "serf-test"]).arg(at).output();
        let why = match mounted {
            Ok(output) if output.status.success() => return Some(Disk(at.to_path_buf())),
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(e) => e.to_string(),
        };
        let required = std::env::var("CI").is_ok_and(|value| value == "true");
        assert!(!required, "required, but no file system can be mounted: {why}");
        // Not `eprintln!`, which the test runner keeps to itself when a test passes.
        let _ = writeln!(std::io::stderr(), "SKIPPED: no file system can be mounted to be filled up: {why}");
        None
    }

    /// Fills it to the last byte.
    fn fill(&self) {
        let mut filler = fs::File::create(self.0.join("filler")).expect("a file can be made");
        for size in [4096, 1] {
            while filler.write_all(&vec![b'x'; size]).is_ok() {}
        }
    }

    fn make_room(&self) {
        fs::remove_file(self.0.join("filler")).expect("the filler is there");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily, if something still holds a file open.
        for options in [&[][..], &["-l"]] {
            if Command::new("umount").args(options).arg(&self.0).status().is_ok_and(|s| s.success()) {
                return;
            }
        }
    }
}

#[test]
fn a_full_disk_is_spoken_of_and_the_agent_goes_on() {
    let net = Network::claim();
    let scratch = Scratch::new("disk");
    let Some(disk) = Disk::mount(scratch.path(), "256k") else { return };
    let path = scratch.path().join("serf.snapshot");
    let n1 = net.agent("n1", 1).start();
    let spec = net.agent("n2", 2).flag(format!("-snapshot={}", path.display()));
    let mut n2 = spec.clone().join(net.gossip(1)).start();
    let both = [("n1", "alive"), ("n2", "alive")];
    wait_until(soon(), "the two agree", || all_list(&[&n1, &n2], &both));
    let told = |agent: &Agent, n: u64| {
        let told = counter(agent, "events_told");
        if told >= n { Ok(()) } else { Err(format!("{told} of {n}")) }
    };

    disk.fill();
    // More lines than what is left of the file's last page. From here, so that they come in order:
    // a time that is not the latest has no line.
    let mut talker = client(&n2);
    for n in 0..600 {
        talker.event("burst", n.to_string().as_bytes(), false).expect("an event is sent");
    }
    wait_until(soon(), "it hears all of them", || told(&n2, 600));
    let complaint =
        format!("Failed to write the snapshot {}: No space left on device (os error 28)", path.display());
    wait_until(soon(), "it says that the disk is full", || match n2.log_count(&complaint) {
        0 => Err(n2.log()),
        _ => Ok(()),
    });
    wait_until(within(30), "it keeps trying", || match counter(&n2, "snapshot_writes_failed") {
        0..3 => Err("not yet".to_string()),
        _ => Ok(()),
    });
    assert_eq!(n2.log_count(&complaint), 1, "said once");
    if takes_its_time() {
        wait_until(within(60), "it says so again after a while", || match n2.log_count(&complaint) {
            1 => Err("not yet".to_string()),
            _ => Ok(()),
        });
        assert_eq!(n2.log_count(&complaint), 2, "said once per interval");
    }
    // Meanwhile the cluster goes on, and news is kept in memory.
    let n3 = net.agent("n3", 3).join(net.gossip(1)).start();
    let three = [("n1", "alive"), ("n2", "alive"), ("n3", "alive")];
    wait_until(soon(), "a third is seen", || all_list(&[&n1, &n2, &n3], &three));

    disk.make_room();
    wait_until(within(30), "it recovers", || match n2.log_count("is complete again") {
        0 => Err(n2.log()),
        _ => Ok(()),
    });
    let text = fs::read_to_string(&path).unwrap();
    for line in [format!("alive: n3 {}", net.gossip(3)), "event-clock: 600".to_string()] {
        assert!(text.lines().any(|l| l == line), "no '{line}' in\n{text}");
    }
    assert_eq!(is_sound(&path), Ok(()));
    n2.kill();
    let n2 = spec.start();
    wait_until(soon(), "it is back after a crash", || all_list(&[&n1, &n2, &n3], &three));
    drop((n1, n2, n3, disk));
}
