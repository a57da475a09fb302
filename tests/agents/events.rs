//! User events in clusters of real agents: who is told of them, how often and in what order.

use crate::harness::notes::note;
use crate::harness::peers::hashicorp_serf;
use crate::harness::rpc::{Listener, client, counter};
use crate::harness::{Agent, AgentSpec, Network, Scratch, all_list, settle, soon, stays, wait_until, within};
use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

/// A directory in which the handler of each agent keeps a file of its name, with a line for each
/// user event: Lamport time, name and payload.
struct Diary(Scratch);

impl Diary {
    fn new() -> Diary {
        Diary(Scratch::new("diary"))
    }

    fn kept_by(&self, spec: AgentSpec) -> AgentSpec {
        let line = "\"$SERF_USER_LTIME $SERF_USER_EVENT $p\"";
        let script = format!("p=$(cat); echo {line} >> {}/$SERF_SELF_NAME", self.0.path().display());
        spec.flag("-event-handler").flag(format!("user={script}"))
    }

    /// Lamport time, and name with payload, in the order in which this agent's handler ran.
    fn of(&self, name: &str) -> Vec<(u64, String)> {
        let text = fs::read_to_string(self.0.path().join(name)).unwrap_or_default();
        let lines = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        let parted = lines.map(|line| line.split_once(' ').expect("a line begins with a time"));
        parted.map(|(time, event)| (time.parse().expect("a time is a number"), event.to_string())).collect()
    }

    fn events(&self, name: &str) -> Vec<String> {
        self.of(name).into_iter().map(|(_, event)| event).collect()
    }

    /// Whether everyone's file ends with this event.
    fn all_end_with(&self, agents: &[Agent], event: &str) -> Result<(), String> {
        let missing = |agent: &&Agent| self.events(agent.name()).last().is_none_or(|last| last != event);
        let missing: Vec<&str> = agents.iter().filter(missing).map(Agent::name).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("not {missing:?}")) }
    }
}

const TEN: [&str; 10] = ["n01", "n02", "n03", "n04", "n05", "n06", "n07", "n08", "n09", "n10"];

#[test]
fn ten_handlers_are_told_of_each_event_once() {
    let net = Network::claim();
    let diary = Diary::new();
    let agents = net.cluster_with(TEN, |spec| diary.kept_by(spec));
    let all_alive = TEN.map(|name| (name, "alive"));
    wait_until(soon(), "ten agree", || all_list(&agents.each_ref(), &all_alive));

    let said = agents[3].ctl(&["event", "-coalesce=false", "deploy", "abc"]);
    assert_eq!(said.ok().trim(), "Event 'deploy' dispatched! Coalescing enabled: false");
    wait_until(soon(), "ten handlers ran", || diary.all_end_with(&agents, "deploy abc"));

    // Two of a name at once: the last of them is what everyone has to know.
    let mut quick = client(&agents[5]);
    quick.event("roll", b"1", true).expect("an event is sent");
    quick.event("roll", b"2", true).expect("an event is sent");
    wait_until(soon(), "ten handlers ran for the last", || diary.all_end_with(&agents, "roll 2"));

    // The default of the command, with the very same name and payload as the first.
    let said = agents[9].ctl(&["event", "deploy", "abc"]);
    assert_eq!(said.ok().trim(), "Event 'deploy' dispatched! Coalescing enabled: true");
    wait_until(soon(), "ten handlers ran again", || diary.all_end_with(&agents, "deploy abc"));

    let once = || {
        for name in TEN {
            let events = diary.events(name);
            if events != ["deploy abc", "roll 2", "deploy abc"] {
                return Err(format!("{name} ran for {events:?}"));
            }
        }
        Ok(())
    };
    stays(Duration::from_secs(1), "each handler ran once for each", once);
    for agent in &agents {
        assert_eq!(counter(agent, "handlers_run"), 3, "{}", agent.name());
        assert_eq!(counter(agent, "handler_events_dropped"), 0, "{}", agent.name());
    }
}

/// As fast as one control connection takes them.
const BURST: usize = 2000;

#[test]
fn a_burst_of_two_thousand_reaches_twenty_members_once_each() {
    let net = Network::claim();
    let names: [String; 20] = std::array::from_fn(|n| format!("n{n:02}"));
    let agents = net.cluster(names.each_ref().map(String::as_str));
    let all_alive = names.each_ref().map(|name| (name.as_str(), "alive"));
    wait_until(within(30), "twenty agree", || all_list(&agents.each_ref(), &all_alive));
    let listeners = agents.each_ref().map(|agent| Listener::new(agent, "user"));

    let start = Instant::now();
    let mut sender = client(&agents[0]);
    for n in 0..BURST {
        sender.event("burst", n.to_string().as_bytes(), false).expect("an event is sent");
    }
    let sent = start.elapsed();
    // What is lost is counted below; until then the wait goes on while anything comes.
    let (mut most, mut since) = (0, Instant::now());
    settle(Duration::from_secs(60), || {
        let now: usize = listeners.iter().map(Listener::count).sum();
        if now > most {
            (most, since) = (now, Instant::now());
        }
        now == BURST * agents.len() || since.elapsed() > Duration::from_secs(10)
    });
    let arrived = since.duration_since(start);

    let mut lost = 0;
    for (agent, listener) in agents.iter().zip(&listeners) {
        let mut times = BTreeMap::<Vec<u8>, usize>::new();
        for event in listener.user_events() {
            *times.entry(event.payload).or_default() += 1;
        }
        let twice: Vec<_> = times.iter().filter(|(_, times)| **times > 1).collect();
        assert!(twice.is_empty(), "{} was told more than once of {twice:?}", agent.name());
        lost += BURST - times.len();
    }
    let total = BURST * agents.len();
    let counted: Vec<String> =
        ["broadcasts_dropped", "news_dropped", "events_too_old", "rpc_records_dropped"]
            .map(|name| format!("{name} {}", agents.iter().map(|a| counter(a, name)).sum::<u64>()))
            .into();
    note(&format!(
        "{BURST} events: sent in {:.2} s, at all twenty after {:.2} s, {lost} of {total} lost ({})",
        sent.as_secs_f64(),
        arrived.as_secs_f64(),
        counted.join(", "),
    ));
    assert!(lost * 50 <= total, "{lost} of {total} are more than two in a hundred");
    for agent in &agents {
        assert_eq!(agent.log_count("EventMemberFailed"), 0, "{} reports a failure", agent.name());
    }
}

#[test]
fn who_joins_with_replay_hears_the_past_in_order() {
    let net = Network::claim();
    let diary = Diary::new();
    let first = net.agent("first", 1).start();
    let second = net.agent("second", 2).join(net.gossip(1)).start();
    let both = [("first", "alive"), ("second", "alive")];
    wait_until(soon(), "the two agree", || all_list(&[&first, &second], &both));
    let heard = Listener::new(&second, "user");
    let past = ["one", "two", "three", "four", "five", "six"];
    for (n, name) in past.iter().enumerate() {
        // From both, and each after the one before, so that there is an order.
        let from = if n < 4 { &first } else { &second };
        client(from).event(name, b"p", false).expect("an event is sent");
        heard.wait_for(n + 1, soon());
    }
    // What is still being passed on reaches a newcomer as news, in any order.
    wait_until(soon(), "it is the past", || {
        for agent in [&first, &second] {
            let queued = agent.info("serf", "event_queue")?;
            if queued != "0" {
                return Err(format!("{} still passes on {queued}", agent.name()));
            }
        }
        Ok(())
    });

    let joins = |name, host: u8| diary.kept_by(net.agent(name, host)).join(net.gossip(2));
    let curious = joins("curious", 3).flag("-replay").start();
    let aloof = joins("aloof", 4).start();
    let [later, indifferent] =
        [("later", 5), ("indifferent", 6)].map(|(name, host)| diary.kept_by(net.agent(name, host)).start());
    later.ctl(&["join", "-replay", &net.gossip(1).to_string()]).ok();
    indifferent.ctl(&["join", &net.gossip(1).to_string()]).ok();
    let joined = [curious, aloof, later, indifferent];
    let names = ["first", "second", "curious", "aloof", "later", "indifferent"];
    wait_until(soon(), "six agree", || all_list(&joined.each_ref(), &names.map(|name| (name, "alive"))));
    client(&first).event("now", b"p", false).expect("an event is sent");
    wait_until(soon(), "all four hear what is said now", || diary.all_end_with(&joined, "now p"));

    for name in ["curious", "later"] {
        let (times, events): (Vec<u64>, Vec<String>) = diary.of(name).into_iter().unzip();
        let expected: Vec<String> = past.iter().chain(&["now"]).map(|name| format!("{name} p")).collect();
        assert_eq!(events, expected, "{name}");
        assert!(times.is_sorted(), "{name}: {times:?}");
    }
    for name in ["aloof", "indifferent"] {
        assert_eq!(diary.events(name), ["now p"], "{name} did not ask for the past");
    }
}

#[test]
fn what_is_too_large_is_refused_in_the_same_words() {
    let net = Network::claim();
    let refused = |spec: AgentSpec| {
        let agent = spec.start();
        // HashiCorp's agent wants 512 bytes to be enough for the encoded event too.
        agent.ctl(&["event", "large", &"x".repeat(440)]).ok();
        let said = agent.ctl(&["event", "large", &"x".repeat(508)]).refused();
        let largest = "y".repeat(1024);
        (said, agent.ctl(&["query", "-timeout=100ms", "q", &largest]).refused())
    };
    let ours = refused(net.agent("n", 1));
    assert_eq!(
        ours.0.trim(),
        "Error sending event: user event exceeds configured limit of 512 bytes before encoding"
    );
    assert!(ours.1.contains("query exceeds limit of 1024 bytes"), "{}", ours.1);
    let Some(program) = hashicorp_serf() else { return };
    assert_eq!(refused(net.agent("n", 1).program(&program)), ours);
}
