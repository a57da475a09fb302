//! Consumers that do not keep up (scripts that never end, clients that never read) lose their own
//! events, counted one by one, and nobody else's.

use crate::harness::notes::note;
use crate::harness::rpc::{Listener, client, counter};
use crate::harness::{Agent, Network, Scratch, Signal, all_list, settle, soon, wait_until, within};
use serf::rpc::{Client, ClientError, Record};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

const EVENTS_PER_SECOND: usize = 200;

/// How many events wait for one script (besides the one that it runs for).
const LANE: usize = 1024;

/// The good script may be this far behind; its own events are not to be lost to a slow machine.
const MOST_BEHIND: usize = 700;

/// Each event goes to so many streams of the client that does not read that no system's socket
/// buffers hold what piles up.
const DEAF_STREAMS: usize = 64;

/// What an agent that keeps no more than it should may grow by, in KiB.
const GROWTH: u64 = 24 * 1024;

/// A command line is answered within this time on a machine that is busy.
const PROMPT: Duration = Duration::from_secs(2);

fn duration() -> usize {
    let long = std::env::var("SERF_TEST_LONG").is_ok_and(|value| value == "1");
    if long { 30 } else { 8 }
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_string).collect()
}

/// Everything that came for a client that did not read: by stream, and how many streams ended.
fn read_at_last(client: &mut Client) -> (BTreeMap<u64, Vec<Vec<u8>>>, usize) {
    let (mut read, mut ended) = (BTreeMap::<u64, Vec<Vec<u8>>>::new(), 0);
    loop {
        match client.next_record(Some(Duration::from_secs(2))) {
            Ok(Some((stream, Record::User(event)))) => read.entry(stream).or_default().push(event.payload),
            Err(ClientError::StreamEnded(why)) => {
                assert!(why.contains("client does not read fast enough"), "{why}");
                ended += 1;
                if ended == DEAF_STREAMS {
                    return (read, ended);
                }
            }
            Err(ClientError::TimedOut(_)) => return (read, ended),
            other => panic!("not a user event: {other:?}"),
        }
    }
}

/// Numbered and of some size.
fn payload(n: usize) -> Vec<u8> {
    format!("{n:0>300}").into_bytes()
}

#[test]
fn those_that_are_stuck_hold_up_nobody() {
    let net = Network::claim_alone();
    let scratch = Scratch::new("consumers");
    let [good, child] = ["good", "child"].map(|name| scratch.path().join(name));
    let n1 = net
        .agent("n1", 1)
        .flag("-profile=local")
        .flag("-event-handler=user:tick=exec sleep 300")
        // A process in the background that keeps the script's output.
        .flag("-event-handler")
        .flag(format!("user:child=sleep 30 & echo $SERF_USER_LTIME >> {}", child.display()))
        .flag("-event-handler")
        .flag(format!("user:tick=echo $SERF_USER_LTIME >> {}", good.display()))
        .start();
    let other = |name, host| net.agent(name, host).flag("-profile=local").join(net.gossip(1)).start();
    let (n2, n3) = (other("n2", 2), other("n3", 3));
    let mut agents = [n1, n2, n3];
    let all_alive = [("n1", "alive"), ("n2", "alive"), ("n3", "alive")];
    wait_until(soon(), "three agree", || all_list(&agents.each_ref(), &all_alive));

    let n1 = &agents[0];
    let mut deaf = client(n1);
    for _ in 0..DEAF_STREAMS {
        deaf.stream("user:tick").expect("a stream begins");
    }
    let listener = Listener::new(n1, "user:tick");
    let before = n1.rss_kib();
    let total = duration() * EVENTS_PER_SECOND;
    let children = 10;
    let slowest = press(&agents, total, children, &good);

    let n1 = &agents[0];
    listener.wait_for(total, soon());
    wait_until(within(60), "the good script has run for everything", || {
        let so_far = lines(&good).len();
        if so_far >= total { Ok(()) } else { Err(so_far.to_string()) }
    });
    wait_until(soon(), "so has the one with children", || {
        let so_far = lines(&child).len();
        if so_far >= children { Ok(()) } else { Err(so_far.to_string()) }
    });
    let after = n1.rss_kib();

    // Everything in order.
    let heard: Vec<Vec<u8>> = listener.user_events().into_iter().map(|event| event.payload).collect();
    assert!(heard == (0..total).map(payload).collect::<Vec<_>>(), "the client that reads is told of all");
    let times: Vec<String> = listener.user_events().iter().map(|event| event.ltime.to_string()).collect();
    assert_eq!(lines(&good), times, "the script that ends runs for all");
    assert_eq!(lines(&child).len(), children);

    // Every event that is missing is counted.
    let dropped = counter(n1, "handler_events_dropped");
    assert_eq!(dropped as usize, total - LANE - 1, "one runs, the newest wait, the others are dropped");
    assert_eq!(counter(n1, "handlers_run") as usize, total + children + 1);
    let unread = counter(n1, "rpc_records_dropped");
    let (read, ended) = read_at_last(&mut deaf);
    assert_eq!(ended, DEAF_STREAMS, "each stream of a client that does not read ends");
    assert_eq!(unread as usize, DEAF_STREAMS, "with the first record that finds no room");
    assert_eq!(counter(n1, "rpc_records_dropped"), unread);
    assert_eq!(read.len(), DEAF_STREAMS);
    for payloads in read.values() {
        assert!(*payloads == (0..payloads.len()).map(payload).collect::<Vec<_>>(), "no gap before the end");
    }
    let delivered: usize = read.values().map(Vec::len).sum();
    note(&format!(
        "{total} events in {} s: {before} KiB before, {after} KiB after; slowest answer {} ms; \
         {dropped} dropped of the stuck script; {delivered} read late and {unread} dropped of {DEAF_STREAMS} deaf streams",
        duration(),
        slowest.as_millis(),
    ));
    assert!(after <= before + GROWTH, "{before} KiB before, {after} KiB after");

    // Its scripts end with it.
    agents[0].signal(Signal::Terminate);
    agents[0].wait_exit(soon());
}

/// Sends the events at their rate and watches the cluster meanwhile. Returns how long the slowest
/// answer to a command took.
fn press(agents: &[Agent; 3], total: usize, children: usize, good: &Path) -> Duration {
    let n1 = &agents[0];
    let mut sender = client(n1);
    let mut slowest = Duration::ZERO;
    thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let start = Instant::now();
            for n in 0..total {
                let due = Duration::from_secs(1) * u32::try_from(n).expect("few") / EVENTS_PER_SECOND as u32;
                settle(Duration::from_secs(1), || start.elapsed() >= due);
                if n % 50 == 0 {
                    let keeps_up = || n - lines(good).len().min(n) < MOST_BEHIND;
                    assert!(settle(Duration::from_secs(30), keeps_up), "the good script does not keep up");
                }
                if n % (total / children) == 0 {
                    sender.event("child", b"", false).expect("an event is sent");
                }
                sender.event("tick", &payload(n), false).expect("an event is sent");
            }
        });
        while !sending.is_finished() {
            let start = Instant::now();
            let all_alive = [("n1", "alive"), ("n2", "alive"), ("n3", "alive")];
            all_list(&[n1], &all_alive).expect("nobody is accused");
            slowest = slowest.max(start.elapsed());
            for agent in agents {
                assert_eq!(agent.log_count("EventMemberFailed"), 0, "{} reports a failure", agent.name());
            }
            settle(Duration::from_millis(200), || sending.is_finished());
        }
    });
    assert!(slowest < PROMPT, "an answer took {slowest:?}");
    slowest
}
