//! Encrypted clusters: life goes on as without encryption, strangers stay outside and are told
//! why, nothing can be read on the wire, and encryption can be turned on while a cluster runs.

use crate::harness::{
    Agent, AgentSpec, Network, Relay, Scratch, Signal, all_list, all_see, promised, settle, soon, wait_until,
};
use std::net::UdpSocket;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

const KEY: &str = "enjTwAFRe4IE71bOFhirzQ==";
const OTHER_KEY: &str = "HvY8ubRZMgafUOWvrOadwckVa1wN3QWAo46FVKbVN8o=";

/// Datagrams of a stranger in one test.
const NOISE: usize = 300;
/// Lines about one stranger and one cause that may be logged in a minute, and one more in case a
/// minute ends within the test.
const LINES: usize = 2 * 3;

fn encrypted(spec: AgentSpec) -> AgentSpec {
    spec.flag(format!("-encrypt={KEY}")).flag("-label=blue")
}

fn counted(agent: &Agent, counter: &str) -> u64 {
    // A counter that has counted nothing is not listed.
    agent.info("counters", &format!("{counter}_total")).map_or(0, |count| count.parse().expect("a number"))
}

#[test]
fn an_encrypted_cluster_lives_as_any_other() {
    let net = Network::claim();
    let [n1, n2, mut n3] = net.cluster_with(["n1", "n2", "n3"], encrypted);
    let alive = ["n1", "n2", "n3"].map(|name| (name, "alive"));
    wait_until(promised(5), "three list three alive", || all_list(&[&n1, &n2, &n3], &alive));
    assert_eq!(n1.info("serf", "encrypted").unwrap(), "true");
    assert_eq!(n1.log_count("Encrypted: true"), 1);

    n1.ctl(&["event", "deploy", "v1"]).ok();
    wait_until(soon(), "all hear of the event", || {
        match [&n1, &n2, &n3].map(|agent| agent.log_count("Received event: user-event: deploy")) {
            [1, 1, 1] => Ok(()),
            counts => Err(format!("{counts:?}")),
        }
    });
    let answer = n2.ctl(&["query", "load"]);
    assert!(answer.ok().contains("Total Acks: 3"), "{answer}");

    n3.kill();
    wait_until(promised(20), "the others see the crash", || all_see(&[&n1, &n2], &[("n3", "failed")]));
    let n3 = n3.spec().start();
    wait_until(soon(), "it is back", || all_list(&[&n1, &n2, &n3], &alive));
    for agent in [&n1, &n2, &n3] {
        let section = agent.ctl(&["info"]);
        assert!(!section.ok().contains("refused_"), "nothing is refused among members: {section}");
        assert_eq!(agent.log().matches(KEY).count(), 0, "a key was logged");
    }
}

#[test]
fn a_key_from_any_place_is_the_same_key() {
    let (net, scratch) = (Network::claim(), Scratch::new("keys"));
    let key_file = scratch.file("key", &format!("{KEY}\n"));
    let ring = scratch.file("ring", &format!("[\"{OTHER_KEY}\", \"{KEY}\"]"));
    let both = scratch.file("both", &format!("[\"{KEY}\", \"{OTHER_KEY}\"]"));
    let by_file = scratch.file("file.json", &format!("{{\"encrypt_key_file\": \"{key_file}\"}}"));
    let n1 = net.agent("n1", 1).flag(format!("-encrypt={KEY}")).start();
    let n2 = net.agent("n2", 2).env("SERF_ENCRYPT_KEY", KEY).join(net.gossip(1)).start();
    let n3 = net.agent("n3", 3).flag(format!("-config-file={by_file}")).join(net.gossip(1)).start();
    let n4 = net.agent("n4", 4).flag(format!("-keyring-file={both}")).join(net.gossip(1)).start();
    let alive = ["n1", "n2", "n3", "n4"].map(|name| (name, "alive"));
    wait_until(soon(), "all four meet", || all_list(&[&n1, &n2, &n3, &n4], &alive));
    for agent in [&n3, &n4] {
        assert!(agent.log().contains("chmod 600"), "others may read the file:\n{}", agent.log());
    }
    assert_eq!(n4.log_count("Restored keyring with 2 keys from "), 1);

    // A primary key that others do not have: it understands them, they do not understand it.
    let n5 = net.agent("n5", 5).flag(format!("-keyring-file={ring}")).join(net.gossip(1)).run();
    assert!(n5.refused().contains("no installed keys could decrypt the message"), "{n5}");

    for (flags, why) in [
        (vec!["-encrypt=hush".to_string()], "Invalid encryption key: "),
        (
            vec![format!("-encrypt={KEY}"), format!("-keyring-file={both}")],
            "Encryption key not allowed while",
        ),
        (vec!["-keyring-file=/no/such/file".to_string()], "No such file"),
        (vec![format!("-keyring-file={}", scratch.file("none", "[]"))], "Keyring file contains no keys"),
        (
            vec![format!("-label={}", "x".repeat(256))],
            "Invalid label: 256 bytes (expected at most 255 bytes)",
        ),
    ] {
        let spec = flags.iter().fold(net.agent("n5", 5), |spec, flag| spec.flag(flag));
        let said = spec.run();
        assert!(said.refused().contains(why) && !said.refused().contains("hush"), "{said}");
    }
}

/// Sends a datagram over and over, and waits until each has been counted.
fn pester(net: &Network, sample: &[u8], victim: &Agent, counter: &str) {
    // An address of its own for each, because what is logged about one is bounded.
    static COUNT: AtomicU8 = AtomicU8::new(0);
    let host = 20 + COUNT.fetch_add(1, Ordering::Relaxed);
    let socket = UdpSocket::bind((net.ip(host), 0)).expect("a socket can be bound");
    let before = counted(victim, counter);
    for sent in 1..=NOISE {
        socket.send_to(sample, victim.gossip()).expect("a datagram can be sent");
        // A few at a time: none is to be lost.
        if sent % 50 == 0 {
            settle(Duration::from_secs(5), || counted(victim, counter) >= before + sent as u64);
        }
    }
    wait_until(soon(), &format!("{counter} counts every datagram"), || {
        match counted(victim, counter) - before {
            count if count >= NOISE as u64 => Ok(()),
            count => Err(format!("{count} of {NOISE}")),
        }
    });
}

#[test]
fn strangers_stay_outside_and_both_sides_say_why() {
    let net = Network::claim();
    let sealed = encrypted(net.agent("sealed", 1)).start();
    let plain = net.agent("plain", 2).start();
    let key = |text: &str| format!("-encrypt={text}");
    // The stranger's flags, whom it meets, what the stranger is told, what is logged, what is counted.
    let cases: [(&[String], &Agent, &str, &str, &str); 5] = [
        (
            &[key(OTHER_KEY), "-label=blue".into()],
            &sealed,
            "no installed keys could decrypt the message",
            "no installed keys could decrypt the message",
            "refused_undecryptable",
        ),
        (
            &[key(KEY), "-label=green".into()],
            &sealed,
            "refused by the other side: its label 'green' is not the label of this cluster",
            "its label 'green' is not the label of this cluster",
            "refused_label",
        ),
        (
            &["-label=blue".into()],
            &sealed,
            "it is encrypted and encryption is not configured",
            "encryption is configured but it is not encrypted",
            "refused_plaintext",
        ),
        (
            &[key(KEY)],
            &plain,
            "encryption is configured but it is not encrypted",
            "it is encrypted and encryption is not configured",
            "refused_encrypted",
        ),
        (
            &["-label=green".into()],
            &plain,
            "refused by the other side: its label 'green' is not the label of this cluster",
            "its label 'green' is not the label of this cluster",
            "refused_label",
        ),
    ];
    for (host, (flags, victim, told, logged, counter)) in (11..).zip(cases) {
        let spec = flags.iter().fold(net.agent("stranger", 3), |spec, flag| spec.flag(flag));
        let before = (counted(victim, counter), victim.log_count(logged));
        let answer = spec.clone().join(victim.gossip()).run();
        assert!(answer.refused().contains(told), "{flags:?}: {answer}");
        assert!(counted(victim, counter) > before.0, "{counter} for {flags:?}");
        wait_until(soon(), "the victim logs it", || match victim.log_count(logged) > before.1 {
            true => Ok(()),
            false => Err(format!("{flags:?}:\n{}", victim.log())),
        });

        // And by datagrams: what such an agent sends to a friend, sent to the victim.
        let relay = Relay::start(net.gossip(host), net.gossip(4));
        let friend = flags.iter().fold(net.agent("friend", 4), |spec, flag| spec.flag(flag));
        let friend = friend.flag(format!("-advertise={}", net.gossip(host))).start();
        let stranger = spec.join(net.gossip(host)).start();
        let sample = wait_until(soon(), "the stranger talks to its friend", || {
            let mut datagrams = relay.datagrams();
            // One nonce in sixteen looks like a plain ping of memberlist's to an agent without a key.
            datagrams.retain(|datagram| !matches!(datagram.get(1), Some(0x80..=0x8f)));
            datagrams.pop().ok_or("no datagram yet".to_string())
        });
        let lines = victim.log_count(logged);
        pester(&net, &sample, victim, counter);
        let lines = victim.log_count(logged) - lines;
        assert!((1..=LINES).contains(&lines), "{lines} lines about {NOISE} datagrams with {flags:?}");
        drop((stranger, friend, relay));
    }
    for (agent, name) in [(&sealed, "sealed"), (&plain, "plain")] {
        assert_eq!(all_list(&[agent], &[(name, "alive")]), Ok(()), "nobody got in");
    }
}

#[test]
fn damaged_and_repeated_packets_change_nothing() {
    let net = Network::claim();
    let relay = Relay::start(net.gossip(12), net.gossip(2));
    let n1 = encrypted(net.agent("n1", 1)).start();
    let n2 = encrypted(net.agent("n2", 2)).flag(format!("-advertise={}", net.gossip(12))).join(net.gossip(1));
    let n2 = n2.start();
    let alive = [("n1", "alive"), ("n2", "alive")];
    wait_until(soon(), "the two meet", || all_list(&[&n1, &n2], &alive));
    let sample =
        wait_until(soon(), "n1 talks to n2", || relay.datagrams().pop().ok_or("not yet".to_string()));
    let label = b"\xf4\x04blue";
    assert!(sample.starts_with(label), "{sample:?}");

    let mut flipped = sample.clone();
    flipped[40] ^= 1;
    pester(&net, &flipped, &n2, "refused_undecryptable");
    pester(&net, &sample[..sample.len() - 1], &n2, "refused_undecryptable");
    pester(&net, &sample[..label.len() + 20], &n2, "refused_malformed");
    pester(&net, &sample[..4], &n2, "refused_header");
    pester(&net, &[label, &sample[..]].concat(), &n2, "refused_header");
    pester(&net, &sample[label.len()..], &n2, "refused_label");
    // There is no window against repetition, as there is none in memberlist: what was true then
    // is old news now.
    pester(&net, &sample, &n2, "datagrams_received");

    assert_eq!(all_list(&[&n1, &n2], &alive), Ok(()));
    for agent in [&n1, &n2] {
        assert_eq!(agent.log_count("EventMemberFailed"), 0, "{}", agent.log());
        assert_eq!(agent.info("native", "incarnation").unwrap(), "1", "nobody had to refute anything");
    }
    let foreign = n2.log_count("no installed keys could decrypt the message");
    assert!((1..=2 * LINES).contains(&foreign), "{foreign} lines about {} datagrams", 2 * NOISE);
}

/// Two agents, each behind a relay that writes everything down; what they say in public.
fn overheard(adjust: impl Fn(AgentSpec) -> AgentSpec) -> String {
    let net = Network::claim();
    let relays = [1, 2].map(|host| Relay::start(net.gossip(10 + host), net.gossip(host)));
    let agent = |name, host: u8| {
        let spec = net.agent(name, host).tag("colour", "tag-crimson");
        adjust(spec.flag(format!("-advertise={}", net.gossip(10 + host)))).flag("-profile=local")
    };
    let n1 = agent("name-first", 1).start();
    let n2 =
        agent("name-second", 2).flag("-event-handler=query:question=echo answer-words").join(net.gossip(11));
    let n2 = n2.start();
    let alive = [("name-first", "alive"), ("name-second", "alive")];
    wait_until(soon(), "the two meet", || all_list(&[&n1, &n2], &alive));
    n1.ctl(&["event", "event-deploy", "payload-words"]).ok();
    let answer = n1.ctl(&["query", "question", "asked-words"]);
    assert!(answer.ok().contains("answer-words"), "{answer}");
    wait_until(soon(), "the event arrives", || match n2.log_count("user-event: event-deploy") {
        0 => Err("not yet".to_string()),
        _ => Ok(()),
    });
    wait_until(soon(), "the relays have seen much", || {
        match relays.each_ref().map(|relay| (relay.datagrams().len(), relay.everything().len())) {
            [(3.., 1000..), (3.., 1000..)] => Ok(()),
            seen => Err(format!("{seen:?}")),
        }
    });
    relays.iter().map(|relay| String::from_utf8_lossy(&relay.everything()).into_owned()).collect()
}

const SECRETS: [&str; 8] = [
    "name-first",
    "name-second",
    "tag-crimson",
    "event-deploy",
    "payload-words",
    "question",
    "asked-words",
    "answer-words",
];

#[test]
fn nothing_can_be_read_on_the_wire() {
    let heard = overheard(encrypted);
    for secret in SECRETS {
        assert!(!heard.contains(secret), "{secret} can be read");
    }
    assert!(heard.contains("blue"), "the label is no secret");
    // Without a key all of it can be: the ears work.
    let heard = overheard(|spec| spec);
    for secret in SECRETS {
        assert!(heard.contains(secret), "{secret} was not even said");
    }
}

/// The documented steps: each member in turn is stopped and started with the settings of the step.
#[test]
fn encryption_is_turned_on_in_a_running_cluster() {
    const TEN: u8 = 10;
    let (net, scratch) = (Network::claim(), Scratch::new("migration"));
    let key = format!("\"encrypt_key\": \"{KEY}\"");
    let steps = [
        format!("{{{key}, \"encrypt_verify_incoming\": false, \"encrypt_verify_outgoing\": false}}"),
        format!("{{{key}, \"encrypt_verify_incoming\": false}}"),
        format!("{{{key}}}"),
    ];
    let name = |host: u8| format!("n{host:02}");
    let plain = |host: u8| net.agent(&name(host), host).flag("-profile=local");
    let joining = |host: u8| plain(host).join(net.gossip(if host == 1 { 2 } else { 1 }));
    let mut agents: Vec<Agent> =
        (1..=TEN).map(|host| if host == 1 { plain(1).start() } else { joining(host).start() }).collect();
    let names: Vec<String> = (1..=TEN).map(name).collect();
    let alive: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "alive")).collect();
    let all_there = |agents: &[Agent]| all_list(&agents.iter().collect::<Vec<_>>(), &alive);
    wait_until(soon(), "ten agents meet", || all_there(&agents));

    for (step, settings) in steps.iter().enumerate() {
        let config = scratch.file(&format!("step{step}.json"), settings);
        for host in 1..=TEN {
            let at = usize::from(host) - 1;
            agents[at].signal(Signal::Interrupt);
            assert_eq!(agents[at].wait_exit(soon()).code(), Some(0), "a graceful leave");
            no_failures(&agents[at]);
            agents[at] = joining(host).flag(format!("-config-file={config}")).start();
            let what = format!("{} is back with step {}", name(host), step + 1);
            wait_until(soon(), &what, || all_see(&[&agents[(at + 5) % 10]], &[(&name(host), "alive")]));
        }
        wait_until(soon(), "all ten see all ten", || all_there(&agents));
        agents[3].ctl(&["event", &format!("step{step}")]).ok();
        wait_until(soon(), "an event reaches all", || {
            let event = format!("user-event: step{step}");
            match agents.iter().filter(|agent| agent.log_count(&event) == 1).count() {
                10 => Ok(()),
                count => Err(format!("{count} agents heard of it")),
            }
        });
    }
    agents.iter().for_each(no_failures);
    for agent in &agents {
        let info = agent.ctl(&["info"]);
        assert!(!info.ok().contains("refused_"), "nothing was lost on the way: {info}");
    }
    let stranger = net.agent("stranger", 11).join(net.gossip(1)).run();
    assert!(stranger.refused().contains("it is encrypted and encryption is not configured"), "{stranger}");
}

fn no_failures(agent: &Agent) {
    let failures = agent.log_count("EventMemberFailed");
    assert_eq!(failures, 0, "{} reports failures:\n{}", agent.name(), agent.log());
}
