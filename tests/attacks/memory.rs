//! What makes an agent hold bytes on behalf of others: messages of many tiny parts, messages that never
//! end, and answers that are not read. Together it may hold 64 MiB of them, see `serf help limits`.

use super::attack_time;
use super::cluster::Cluster;
use super::health;
use super::insider::{DIALECTS, Insider, fit_an_exchange, invented};
use super::watch::Watch;
use crate::harness::notes::note;
use crate::harness::raw_rpc::{RpcBody, rpc_request};
use crate::harness::{Agent, Network, wait_until, within};
use serf::model::{LamportTime, UserEvent};
use serf::wire::datagram::Packer;
use serf::wire::envelope::Envelope;
use serf::wire::keyring::{Keyring, SharedKeyring};
use serf::wire::message::{Message, PushPull, SerfState};
use serf::wire::seal::Key;
use serf::wire::stream::{self, MAX_FRAME, StreamMessage};
use serf::wire::{Dialect, encode};
use std::io::{self, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

/// As many streams as an agent serves at once.
const STREAMS: usize = 128;
/// Enough for lists and whole states that are not small.
const INVENTED: u32 = 28_000;
const TAG_BYTES: usize = 500;
/// How soon the operator has an answer meanwhile, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// An event with a name of a few bytes and nothing else, all different.
fn tiny_event(number: u32, ltime: u32) -> UserEvent {
    let (name, ltime) = (format!("{number:x}").into(), LamportTime(u64::from(ltime)));
    UserEvent { ltime, name, payload: vec![], coalesce: false }
}

/// A message as large as they may be, full of such events.
fn full_of_events(dialect: Dialect, round: u32) -> Vec<u8> {
    let bytes_each = if dialect == Dialect::Native { 12 } else { 24 };
    let count = fit_an_exchange(bytes_each) as u32;
    // HashiCorp's agents say what they remember of 512 Lamport times.
    let time = |number| 1 + 400 * round + 400 * number / count;
    let events = (0..count).map(|number| tiny_event(round * count + number, time(number))).collect();
    let event_ltime = LamportTime(u64::from(time(count)));
    let serf = SerfState { event_ltime, query_ltime: LamportTime(1), events };
    let state = PushPull { ltime: LamportTime(1), serf, ..PushPull::default() };
    let frame = stream::encode(dialect, &StreamMessage::PushPull(state));
    assert!(frame.len() > MAX_FRAME / 2 && frame.len() <= MAX_FRAME, "{} bytes", frame.len());
    frame
}

#[test]
fn exchanges_full_of_tiny_events_are_held_within_bounds() {
    const EXCHANGES: u32 = 20;
    let mut cluster = Cluster::start(Network::claim_alone(), 3);
    let (insider, victim) = (cluster.insider(), cluster.agents[0].gossip());
    let watch = Watch::start("20 exchanges of tiny events", &cluster, 1);
    let (mut bytes, mut slowest) = (0, Duration::ZERO);
    for round in 0..EXCHANGES {
        let frame = full_of_events(DIALECTS[round as usize % 2], round);
        bytes += frame.len();
        // It may hang up when it has had enough.
        let _ = insider.ask(victim, &frame);
        let start = Instant::now();
        cluster.agents[0].ctl(&["event", "tiny"]).ok();
        slowest = slowest.max(start.elapsed());
    }
    note(&format!("{bytes} bytes; `event` took {:.2} s at most", slowest.as_secs_f64()));
    assert!(slowest < PATIENCE, "{slowest:?}");
    watch.end_bounded();
    health::check(&mut cluster);
}

#[test]
fn datagrams_full_of_tiny_events_are_held_within_bounds() {
    /// Datagrams a second, and how many events are in each.
    const RATE: u32 = 400;
    const EVENTS: u32 = 250;
    let mut cluster = Cluster::start(Network::claim_alone(), 3);
    let (insider, victim) = (cluster.insider(), cluster.agents[0].gossip());
    let watch = Watch::start("datagrams of tiny events", &cluster, 1);
    let mut number = 0;
    insider.say_at_rate(&[victim], RATE, attack_time().max(Duration::from_secs(10)), |_| {
        let mut packer = Packer::new(10_000);
        for _ in 0..EVENTS {
            assert!(
                packer.push(&encode(Dialect::Native, &Message::from(tiny_event(number, 1 + number / 64))))
            );
            number += 1;
        }
        packer.finish()
    });
    note(&format!("{number} events"));
    watch.end_bounded();
    health::check(&mut cluster);
}

/// A cluster of three, of which the first knows many members that do not exist.
fn crowded() -> (Cluster, Insider) {
    let cluster = Cluster::start(Network::claim_apart_alone(), 3);
    let insider = cluster.insider();
    insider.invent(cluster.agents[0].gossip(), &invented(INVENTED, TAG_BYTES));
    wait_until(within(60), "they are known", || {
        let members = cluster.agents[0].info("serf", "members")?;
        if members == (INVENTED + 3).to_string() { Ok(()) } else { Err(members) }
    });
    (cluster, insider)
}

/// Keeps as many connections as an agent serves open for a while, on which something is asked whose
/// answer is not read; those that it closes are opened again.
fn ask_and_do_not_read(
    connect: impl Fn() -> io::Result<TcpStream>,
    request: &[u8],
    mut meanwhile: impl FnMut(),
) -> usize {
    let (start, mut open, mut opened) = (Instant::now(), Vec::new(), 0);
    while start.elapsed() < attack_time().max(Duration::from_secs(10)) {
        open.retain(|stream| !is_broken(stream));
        while open.len() < STREAMS {
            let Ok(mut stream) = connect() else { break };
            if stream.write_all(request).is_err() {
                break;
            }
            opened += 1;
            open.push(stream);
        }
        meanwhile();
    }
    opened
}

/// Whether the other side has reset it. What it has sent stays unread.
fn is_broken(stream: &TcpStream) -> bool {
    !matches!(stream.take_error(), Ok(None))
}

/// The operator's list of members, which has to be whole.
#[track_caller]
fn assert_listed(agent: &Agent, slowest: &mut Duration) {
    let start = Instant::now();
    agent.ctl(&["members", "-name=n1"]).ok();
    *slowest = (*slowest).max(start.elapsed());
}

fn readers_that_do_not_read(dialect: Dialect) {
    let (cluster, insider) = crowded();
    let victim = cluster.agents[0].gossip();
    let request = stream::encode(dialect, &StreamMessage::PushPull(PushPull::default()));
    let attack = format!("{STREAMS} streams of {} bytes that do not read", request.len());
    let watch = Watch::start(&attack, &cluster, 1);
    let mut slowest = Duration::ZERO;
    let opened = ask_and_do_not_read(
        || insider.connect_deaf(victim),
        &request,
        || assert_listed(&cluster.agents[0], &mut slowest),
    );
    note(&format!("{opened} streams in all; `members` took {:.2} s at most", slowest.as_secs_f64()));
    watch.end_bounded();
    wait_until(within(60), "all agents list each other as alive", || cluster.all_alive());
}

#[test]
fn streams_that_do_not_read_are_answered_within_bounds() {
    readers_that_do_not_read(Dialect::Native);
}

#[test]
fn streams_that_do_not_read_hashicorps_dialect_are_answered_within_bounds() {
    readers_that_do_not_read(Dialect::Hashicorp);
}

#[test]
fn control_clients_that_do_not_read_are_answered_within_bounds() {
    let (cluster, insider) = crowded();
    let to = cluster.agents[0].rpc();
    let mut request = rpc_request(0, "handshake", Some(RpcBody::Handshake { version: 1 }));
    request.extend(rpc_request(1, "members", None));
    let watch = Watch::start("100 control clients that do not read", &cluster, 1);
    let mut clients: Vec<TcpStream> = Vec::new();
    for _ in 0..100 {
        let mut client = insider.connect_deaf(to).expect("it listens");
        client.write_all(&request).expect("it reads");
        clients.push(client);
    }
    let (start, mut slowest) = (Instant::now(), Duration::ZERO);
    while start.elapsed() < attack_time() {
        assert_listed(&cluster.agents[0], &mut slowest);
    }
    note(&format!("`members` took {:.2} s at most", slowest.as_secs_f64()));
    drop(clients);
    watch.end_bounded();
    wait_until(within(60), "all agents list each other as alive", || cluster.all_alive());
}

/// What a stranger, who has no key, can put in: the beginnings of sealed messages.
#[test]
fn sealed_streams_that_do_not_end_are_held_within_bounds() {
    const KEY: &str = "enjTwAFRe4IE71bOFhirzQ==";
    let mut cluster =
        Cluster::with(Network::claim_alone(), 3, |spec, _| spec.flag(format!("-encrypt={KEY}")));
    let with_key =
        |key: Key| Envelope { keyring: Some(SharedKeyring::new(Keyring::new(key))), ..Envelope::default() };
    let [insiders, strangers] =
        [Key::from_base64(KEY), Key::new(&[7; 32])].map(|key| with_key(key.expect("a key")));
    let state = StreamMessage::PushPull(PushPull::default());
    let mut frame = stream::encode(Dialect::Native, &state);
    frame.resize(MAX_FRAME / 2, 0);
    let sealed = strangers.wrap_request(frame).expect("the kernel has random bytes");
    let unfinished = &sealed[..sealed.len() - 1];

    let (insider, victim) = (cluster.insider(), cluster.agents[0].gossip());
    let watch = Watch::through(&insiders, "unfinished sealed streams", &cluster, 1);
    let (start, mut written) = (Instant::now(), 0);
    let mut open: Vec<(TcpStream, usize)> = Vec::new();
    while start.elapsed() < attack_time().max(Duration::from_secs(10)) {
        while open.len() < STREAMS {
            let Ok(stream) = insider.connect(victim) else { break };
            stream.set_nonblocking(true).expect("a stream can be non-blocking");
            open.push((stream, 0));
        }
        open.retain_mut(|(stream, sent)| match stream.write(&unfinished[*sent..]) {
            Ok(count) => {
                *sent += count;
                written += count;
                true
            }
            Err(e) => e.kind() == io::ErrorKind::WouldBlock,
        });
        thread::sleep(Duration::from_millis(1));
    }
    note(&format!("{written} bytes were taken"));
    drop(open);
    watch.end_bounded();
    health::check(&mut cluster);
}
