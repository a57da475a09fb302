//! An agent that is killed at any moment.

use super::{Files, is_sound, rejoined, takes_its_time};
use crate::harness::notes::note;
use crate::harness::rpc::{client, counter};
use crate::harness::{Agent, Network, Signal, all_see, settle, soon, wait_until, within};
use std::fs;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// What a kill may take back: an event that was given this shortly before may be given again.
const WINDOW: Duration = Duration::from_millis(500);

/// So many bytes are more than the file may have until it is written anew.
const ANEW: usize = 160 * 1024;

/// How long it may take until it does that.
const LONGEST: Duration = Duration::from_secs(20);

/// Sends events through an agent until it is dropped.
struct Sender {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Sender {
    fn new(agent: &Agent) -> Sender {
        let (stop, sent) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (ended, count, mut client) = (Arc::clone(&stop), Arc::clone(&sent), client(agent));
        let thread = thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                let n = count.fetch_add(1, Ordering::Relaxed);
                client.event("talk", n.to_string().as_bytes(), false).expect("an event is sent");
                settle(Duration::from_millis(40), || ended.load(Ordering::Relaxed));
            }
        });
        Sender { stop, sent, thread: Some(thread) }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
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
    let sender = Sender::new(&n2);

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
        let sent = sender.sent.load(Ordering::Relaxed);
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
    note(&format!(
        "{rounds} kills, {} events given, {in_window} of them again within {WINDOW:?} of a kill",
        given.len()
    ));
    assert!(given.len() > rounds * 5, "{} events are hardly any", given.len());
}

/// The file is at the size from which on it is written anew, and the kill comes while the new one is beside it, or a
/// moment after: what is there then is whole, either way.
#[test]
fn killed_while_it_writes_its_file_anew_it_always_comes_back() {
    let rounds = if takes_its_time() { 100 } else { 8 };
    let mut rng = fastrand::Rng::with_seed(u64::from(std::process::id()));
    let net = Network::claim();
    let files = Files::new();
    let [n1, n2] = net.cluster(["n1", "n2"]);
    let spec = files.kept_by(net.agent("phoenix", 3));
    let all = [("n1", "alive"), ("n2", "alive"), ("phoenix", "alive")];
    let mut phoenix = spec.clone().join(net.gossip(1)).start();
    wait_until(soon(), "three agree", || all_see(&[&n1, &n2, &phoenix], &all));
    let line = format!("alive: n2 {}", net.gossip(2));
    wait_until(soon(), "the file knows them", || files.says(&line));
    let (path, new) = (files.snapshot(), files.snapshot().with_extension("snapshot.new"));
    let (mut anew, mut beside) = (0, 0);
    for round in 0..rounds {
        phoenix.kill();
        let lines = format!("{line}\n").repeat(ANEW / line.len());
        let mut file = fs::File::options().append(true).open(&path).expect("the file opens");
        file.write_all(lines.as_bytes()).expect("there is room");
        let mut doomed = spec.spawn();
        // Looked for without a pause: it is there for as long as the disk takes.
        let is_short = || fs::metadata(&path).is_ok_and(|m| m.len() < ANEW as u64 / 2);
        let start = Instant::now();
        while !new.exists() && !is_short() && start.elapsed() < LONGEST {}
        if rng.bool() {
            settle(Duration::from_millis(rng.u64(0..4)), || false);
        }
        doomed.kill();
        anew += usize::from(is_short());
        beside += usize::from(new.exists());
        is_sound(&path).unwrap_or_else(|e| panic!("round {round}: {e}"));

        phoenix = spec.start();
        let what = format!("it is back in round {round}");
        wait_until(within(30), &what, || rejoined(&phoenix));
        wait_until(within(30), &what, || all_see(&[&n1, &n2, &phoenix], &all));
    }
    note(&format!("{rounds} kills: {anew} files were new, {beside} stood beside the old one"));
    assert!(anew + beside > 0, "in none of {rounds} rounds was the file written anew");
    client(&n2).event("last", b"1", false).expect("an event is sent");
    wait_until(soon(), "it hears what is said now", || files.given_ends_with("last 1"));
}
