//! Hostile input: noise, damaged packets, floods, and connections that say nothing or never listen.
//!
//! After each attack the agent must answer, its memory must not have grown without bound, and
//! nobody may have been reported failed.

use crate::harness::hostile_packets::{Mutator, stream_promising};
use crate::harness::kernel::{dropped_datagrams, unaccepted_connections, unread_bytes};
use crate::harness::notes::note;
use crate::harness::raw_rpc::{RpcBody, rpc_request};
use crate::harness::{Agent, Network, Relay, all_list, all_see, settle, soon, stays, wait_until, within};
use std::io::Write;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

/// Together the flood of 100,000 that the acceptance names.
const DATAGRAMS: usize = 80_000;
const STREAMS: usize = 20_000;

/// Damaged packets whose checksum is right again.
const REPAIRED_DATAGRAMS: usize = 20_000;
const REPAIRED_STREAMS: usize = 5_000;

/// Messages that are begun and never ended: as long as a message may be, and how much of each is
/// sent. Together far more than the agent may keep.
const HOARDERS: usize = 120;
const HOARD_PROMISED: u32 = 8 << 20;
const HOARD_SENT: usize = 2 << 20;

/// What resident memory may grow by when it is filled with unfinished messages, in KiB.
const HOARD_LIMIT_KIB: u64 = 96 * 1024;

/// What is sent before the agent gets to read: few enough to fit the kernel's buffers, or most of
/// a flood would never reach the agent.
const BURST: usize = 100;

/// What resident memory may grow by under attack, in KiB.
const GROWTH_LIMIT_KIB: u64 = 32 * 1024;

/// The seed of all damage. Any other must do as well; `SERF_TEST_SEED` tries one.
fn seed() -> u64 {
    let seed = match std::env::var("SERF_TEST_SEED") {
        Ok(text) => text.parse().expect("SERF_TEST_SEED is a number"),
        Err(_) => 0x5e4f,
    };
    // Shown when the test fails.
    eprintln!("SERF_TEST_SEED={seed}");
    seed
}

/// Two agents that know each other, and valid packets of what they say to each other.
struct Victims {
    n1: Agent,
    n2: Agent,
    datagrams: Vec<Vec<u8>>,
    streams: Vec<Vec<u8>>,
    // Agents first: whoever outlives the relay sees its neighbour fail.
    _relay: Relay,
}

impl Victims {
    /// n2 is known to n1 by the address of a relay, which records what n1 sends to it.
    fn start(net: &Network) -> Victims {
        Victims::with(net, &[])
    }

    /// The same with flags for both.
    fn with(net: &Network, flags: &[&str]) -> Victims {
        let relay = Relay::start(net.gossip(12), net.gossip(2));
        let agent =
            |name: &str, host| flags.iter().fold(net.agent(name, host), |spec, flag| spec.flag(*flag));
        let n1 = agent("n1", 1).start();
        let advertised = format!("-advertise={}", net.gossip(12));
        let n2 = agent("n2", 2).flag(advertised).tag("role", "web").join(net.gossip(1)).start();
        wait_until(soon(), "the two agree", || all_list(&[&n1, &n2], &BOTH_ALIVE));
        n1.ctl(&["join", &net.gossip(12).to_string()]).ok();
        wait_until(soon(), "the relay has seen samples of what agents say", || {
            match (relay.datagrams().len(), relay.streams().len()) {
                (8.., 1..) => Ok(()),
                (datagrams, streams) => Err(format!("{datagrams} datagrams, {streams} streams")),
            }
        });
        Victims { datagrams: relay.datagrams(), streams: relay.streams(), n1, n2, _relay: relay }
    }

    /// Nobody gave anybody up.
    fn nobody_failed(&self) -> Result<(), String> {
        for agent in [&self.n1, &self.n2] {
            if agent.log_count("EventMemberFailed") > 0 {
                return Err(format!("{} reported a failure", agent.name()));
            }
        }
        Ok(())
    }
}

const BOTH_ALIVE: [(&str, &str); 2] = [("n1", "alive"), ("n2", "alive")];

/// Watches an agent's memory.
struct Memory {
    before_kib: u64,
    peak_kib: u64,
    limit_kib: u64,
}

impl Memory {
    fn of(agent: &Agent) -> Memory {
        let now = agent.rss_kib();
        Memory { before_kib: now, peak_kib: now, limit_kib: now + GROWTH_LIMIT_KIB }
    }

    #[track_caller]
    fn check(&mut self, agent: &Agent) {
        self.peak_kib = self.peak_kib.max(agent.rss_kib());
        let (before, peak) = (self.before_kib, self.peak_kib);
        assert!(peak <= self.limit_kib, "memory grew from {before} KiB to {peak} KiB");
    }

    /// Shows the figures of a passing test too.
    fn tell(&self, attack: &str) {
        let (before, peak) = (self.before_kib, self.peak_kib);
        note(&format!("{attack}: memory {before} KiB before, {peak} KiB at most"));
    }
}

/// Whether an agent does all that an operator asks of it.
#[track_caller]
fn answers(agent: &Agent) {
    assert_eq!(agent.info("agent", "name").as_deref(), Ok(agent.name()));
}

/// Sends hostile datagrams as fast as the agent reads them, and looks after it on the way.
fn flood_datagrams(
    target: &Agent,
    from: SocketAddr,
    count: usize,
    packets: &mut Mutator,
    memory: &mut Memory,
) {
    let socket = UdpSocket::bind(from).expect("the attacker's address is free");
    for sent in 0..count {
        // The kernel may refuse one, as it may lose one.
        let _ = socket.send_to(&packets.packet(), target.gossip());
        if sent % BURST == 0 {
            settle(Duration::from_millis(50), || unread_bytes(target.gossip()) == 0);
        }
        if sent % 10_000 == 0 {
            memory.check(target);
            answers(target);
        }
    }
    memory.check(target);
    let dropped = dropped_datagrams(target.gossip());
    assert!(dropped <= count as u64 / 10, "{dropped} of {count} datagrams never reached the agent");
}

/// Opens connections, says something hostile on each, and hangs up.
fn flood_streams(target: &Agent, to: SocketAddr, count: usize, packets: &mut Mutator, memory: &mut Memory) {
    let mut refused = 0;
    for sent in 0..count {
        match TcpStream::connect_timeout(&to, Duration::from_secs(5)) {
            // The agent may hang up first.
            Ok(mut stream) => drop(stream.write_all(&packets.packet())),
            Err(_) => refused += 1,
        }
        if sent % BURST == 0 {
            settle(Duration::from_millis(200), || unaccepted_connections(to) == 0);
        }
        if sent % 2_000 == 0 {
            memory.check(target);
            answers(target);
        }
    }
    memory.check(target);
    assert!(refused <= count / 10, "{refused} of {count} connections were refused");
}

#[test]
fn a_flood_of_noise_and_damaged_packets_is_survived() {
    let net = Network::claim();
    // HashiCorp's dialect has no checksums, so that damage would mean something; see below.
    let victims = Victims::with(&net, &["-native-only"]);
    let n1 = &victims.n1;
    let mut memory = Memory::of(n1);

    let mut datagrams = Mutator::new(seed(), victims.datagrams.clone());
    flood_datagrams(n1, net.gossip(15), DATAGRAMS, &mut datagrams, &mut memory);
    assert_eq!(victims.nobody_failed(), Ok(()), "after the flood of datagrams");

    let mut streams = Mutator::new(seed(), victims.streams.clone());
    flood_streams(n1, n1.gossip(), STREAMS, &mut streams, &mut memory);
    assert_eq!(victims.nobody_failed(), Ok(()), "after the flood of streams");

    let requests = vec![rpc_request(1, "handshake", Some(RpcBody::Handshake { version: 1 }))];
    flood_streams(n1, n1.rpc(), STREAMS / 10, &mut Mutator::new(seed(), requests), &mut memory);

    wait_until(soon(), "the two still agree", || all_list(&[n1, &victims.n2], &BOTH_ALIVE));
    // A probe that was lost in the flood would lead to a report by now.
    stays(Duration::from_secs(6), "nobody is reported failed", || victims.nobody_failed());
    memory.check(n1);
    memory.tell("flood");
}

/// With a right checksum the damage reaches every decoder. It may even mean something: an
/// unencrypted cluster believes whoever speaks its language. So members may be accused and invented
/// here; what is asked is that the agent lives, stays small, and that the living win in the end.
#[test]
fn damage_behind_a_right_checksum_is_survived() {
    let net = Network::claim_apart();
    // Only the native dialect has checksums, so nothing else is said here.
    let victims = Victims::with(&net, &["-native-only"]);
    let n1 = &victims.n1;
    let mut memory = Memory::of(n1);
    let mut packets = Mutator::new(seed(), victims.datagrams.clone()).repairing_checksums();
    flood_datagrams(n1, net.gossip(15), REPAIRED_DATAGRAMS, &mut packets, &mut memory);
    let mut packets = Mutator::new(seed(), victims.streams.clone()).repairing_checksums();
    flood_streams(n1, n1.gossip(), REPAIRED_STREAMS, &mut packets, &mut memory);
    answers(n1);
    wait_until(soon(), "those who live are seen alive", || all_see(&[n1, &victims.n2], &BOTH_ALIVE));
    memory.check(n1);
    memory.tell("repaired checksums");
}

/// Connections that stay open and do nothing, on both ports; control connections that ask a lot
/// and never read an answer.
#[test]
fn silent_and_deaf_connections_are_survived() {
    let net = Network::claim();
    let victims = Victims::start(&net);
    let n1 = &victims.n1;
    let mut memory = Memory::of(n1);

    let mut held = Vec::new();
    let half = &victims.streams[0][..victims.streams[0].len() / 2];
    for index in 0..200 {
        let mut stream =
            TcpStream::connect_timeout(&n1.gossip(), Duration::from_secs(5)).expect("it listens");
        match index % 3 {
            0 => {}
            1 => drop(stream.write_all(&victims.streams[0][..1])),
            _ => drop(stream.write_all(half)),
        }
        held.push(stream);
    }
    memory.check(n1);

    for index in 0..15 {
        let stream = TcpStream::connect_timeout(&n1.rpc(), Duration::from_secs(5)).expect("it listens");
        match index % 3 {
            0 => {}
            1 => drop((&stream).write_all(&[0x82])),
            _ => ask_and_never_listen(&stream),
        }
        held.push(stream);
    }
    memory.check(n1);

    answers(n1);
    wait_until(soon(), "the two still agree", || all_list(&[n1, &victims.n2], &BOTH_ALIVE));
    let n3 = net.agent("n3", 3).join(net.gossip(1)).start();
    let three_alive = [("n1", "alive"), ("n2", "alive"), ("n3", "alive")];
    wait_until(soon(), "a newcomer can still join", || all_list(&[n1, &n3], &three_alive));

    stays(Duration::from_secs(6), "nobody is reported failed", || victims.nobody_failed());
    answers(n1);
    memory.check(n1);
    memory.tell("silent and deaf connections");
    drop(held);
}

/// Long messages that are begun on many connections and never ended: what the agent keeps of them
/// has a limit, whatever the number of connections.
#[test]
fn unfinished_messages_are_not_hoarded() {
    let net = Network::claim();
    let victims = Victims::start(&net);
    let n1 = &victims.n1;
    let mut memory = Memory::of(n1);
    memory.limit_kib = memory.before_kib + HOARD_LIMIT_KIB;

    let mut message = stream_promising(victims.streams[0][0], HOARD_PROMISED);
    message.resize(HOARD_SENT, 0x55);
    let mut held = Vec::new();
    for _ in 0..HOARDERS {
        let mut stream =
            TcpStream::connect_timeout(&n1.gossip(), Duration::from_secs(5)).expect("it listens");
        stream.set_write_timeout(Some(Duration::from_millis(100))).expect("a timeout can be set");
        // The agent may stop reading, or hang up.
        let _ = stream.write_all(&message);
        held.push(stream);
        memory.check(n1);
    }

    answers(n1);
    // At the limit a newcomer may be turned away, until those who never end have timed out.
    let n3 = net.agent("n3", 3).start();
    wait_until(within(30), "a newcomer joins among the hoarders", || {
        let answer = n3.ctl(&["join", &net.gossip(1).to_string()]);
        if answer.code() == Some(0) { Ok(()) } else { Err(answer.to_string()) }
    });
    let three_alive = [("n1", "alive"), ("n2", "alive"), ("n3", "alive")];
    wait_until(soon(), "the three agree", || all_list(&[n1, &n3], &three_alive));
    assert_eq!(victims.nobody_failed(), Ok(()));
    memory.check(n1);
    memory.tell("unfinished messages");
    drop(held);
}

/// Subscribes to everything, then asks until nobody takes more of its questions.
fn ask_and_never_listen(stream: &TcpStream) {
    let mut requests = rpc_request(1, "handshake", Some(RpcBody::Handshake { version: 1 }));
    requests.extend(rpc_request(2, "monitor", Some(RpcBody::Monitor { log_level: "trace".into() })));
    requests.extend(rpc_request(3, "stream", Some(RpcBody::Stream { kind: "*".into() })));
    for sequence in 4..1000 {
        requests.extend(rpc_request(sequence, "members", None));
    }
    stream.set_write_timeout(Some(Duration::from_millis(100))).expect("a timeout can be set");
    for _ in 0..100 {
        // A full pipe or a closed one: either way it has understood.
        if (&*stream).write_all(&requests).is_err() {
            break;
        }
    }
}
