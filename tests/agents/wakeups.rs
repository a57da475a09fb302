//! No thread is woken without work.

use crate::harness::rpc::{client, counter};
use crate::harness::{Network, Scratch, all_list, soon, wait_until};

#[test]
fn an_event_wakes_no_thread_that_has_nothing_to_do_with_it() {
    const EVENTS: u64 = 100;
    let net = Network::claim();
    let scratch = Scratch::new("wakeups");
    let quiet = |name, host| net.agent(name, host).flag("-log-level=warn");
    let n1 = quiet("n1", 1).start();
    let spec = quiet("n2", 2).flag(format!("-snapshot={}", scratch.path().join("snapshot").display()));
    // Handlers, but none of events.
    let n2 = spec.flag("-event-handler=member-leave,query=true").join(net.gossip(1)).start();
    wait_until(soon(), "the two agree", || all_list(&[&n1, &n2], &[("n1", "alive"), ("n2", "alive")]));

    let idle = ["serf-log", "serf-handlers"];
    let before = idle.map(|thread| n2.sleeps(thread));
    let mut sender = client(&n1);
    for n in 1..=EVENTS {
        sender.event("e", n.to_string().as_bytes(), false).expect("an event is sent");
        // One after the other, so that no burst hides what each of them wakes.
        wait_until(soon(), "it arrives", || match counter(&n2, "user_events") {
            count if count >= n => Ok(()),
            count => Err(format!("{count} of {n}")),
        });
    }
    for (thread, before) in idle.into_iter().zip(before) {
        let woken = n2.sleeps(thread) - before;
        assert!(woken < EVENTS / 4, "{thread} was woken {woken} times for {EVENTS} events");
    }
    // It has work: the times of events. The latest is all that counts.
    wait_until(soon(), "the last is on disk", || {
        let text = std::fs::read_to_string(scratch.path().join("snapshot")).unwrap_or_default();
        if text.contains(&format!("event-clock: {EVENTS}\n")) { Ok(()) } else { Err(text) }
    });
}
