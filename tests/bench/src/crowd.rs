//! A crowd: members that are played, so that one real agent is among thousands. Each has an address of its own, answers
//! pings and checks of news, and exchanges; one table serves for all of them.

use crate::cluster::{Agent, Outcome, PATIENCE};
use crate::scenarios::Figure;
use fastrand::Rng;
use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token};
use serf::membership::{Config, Effects, Members, Profile, SelfDescription, first_from, position};
use serf::model::{Incarnation, LamportTime, Moment, NodeName, Tags, UserEvent, Versions};
use serf::node::exchanges::{ExchangeEffect, ExchangeTurn, Exchanges, StreamId};
use serf::node::table::Table;
use serf::wire::datagram::Packer;
use serf::wire::message::{
    Ack, Alive, Forward, Have, Message, Ping, ProbeMessage, SerfState, Source, WaveMessage,
};
use serf::wire::stream::{self, StreamMessage};
use serf::wire::{self, Dialect};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const AGENT: &str = "agent";
const HOST: &str = "127.77.0.1";
const AGENT_PORT: u16 = 7947;
/// That of the members that are played.
const PORT: u16 = 7946;
/// How long the agent is left alone, and then kept busy.
const MEASURED: Duration = Duration::from_secs(30);
/// Events a second while it is busy.
const EVENTS: u32 = 20;
/// Pings a second by which it is measured how soon it answers; idle, each member is pinged about once a second.
const PINGS: u32 = 50;

fn addr(number: u32) -> SocketAddr {
    let [_, a, b, c] = number.to_be_bytes();
    (Ipv4Addr::new(127, 78 + a, b, c), PORT).into()
}

fn name(number: u32) -> NodeName {
    NodeName::new(format!("member-{number:05}")).expect("a short name")
}

/// What all the members know.
fn table(members: u32) -> Table {
    let (now, config) = (Moment::ZERO, Config::for_profile(Profile::Lan));
    let meta = Tags::from_pairs(["role=web"]).and_then(|tags| tags.encode()).expect("a small tag");
    let me = SelfDescription { name: name(1), addr: addr(1), tags: Tags::default() };
    let mut table = Members::new(config, me, now, &mut Effects::default()).expect("no tags");
    for number in 2..members {
        let (node, addr, versions) = (name(number), addr(number), Versions::OURS);
        let alive = Alive { incarnation: Incarnation(1), node, addr, meta: meta.clone(), versions };
        table.alive(&alive, now, &mut Effects::default());
    }
    Table::new(table)
}

/// Answers on streams, one after the other.
fn serve_streams(listener: TcpListener, table: Arc<Mutex<Table>>) {
    let mut rng = Rng::with_seed(1);
    let now = Moment::ZERO + Duration::from_secs(10);
    let mut exchanges = Exchanges::new(&table.lock().expect("no panic").members, now, &mut rng);
    for (id, stream) in listener.incoming().flatten().enumerate() {
        // An agent that hangs up gets no more.
        let _ = serve_stream(stream, StreamId(id), &table, &mut exchanges, now, &mut rng);
        exchanges.closed(StreamId(id));
    }
}

fn serve_stream(
    mut stream: TcpStream,
    id: StreamId,
    table: &Mutex<Table>,
    exchanges: &mut Exchanges,
    now: Moment,
    rng: &mut Rng,
) -> Outcome<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.set_nodelay(true)?;
    let peer = stream.peer_addr()?;
    loop {
        let Some((dialect, message)) = read(&mut stream)? else { return Ok(()) };
        let mut table = table.lock().map_err(|_| "a thread has panicked")?;
        let mut effects = Vec::new();
        let turn = &mut ExchangeTurn { table: &mut table, now, rng, fx: &mut effects };
        exchanges.heard(id, peer, message, turn);
        loop {
            let mut more = Vec::new();
            for effect in effects {
                let (message, last) = match effect {
                    ExchangeEffect::Recall(plan) => {
                        exchanges.proceed(plan, SerfState::default(), &table.members, rng, &mut more);
                        continue;
                    }
                    ExchangeEffect::Reply(_, message) => (message, true),
                    ExchangeEffect::Say { message, last, .. } => (StreamMessage::Difference(message), last),
                    ExchangeEffect::End(_) | ExchangeEffect::Close(_) => return Ok(()),
                    _ => continue,
                };
                stream.write_all(&stream::encode(dialect, &message))?;
                if last {
                    return Ok(());
                }
            }
            if exchanges.has_work() {
                exchanges.work(&table.members, rng, &mut more);
            } else if more.is_empty() {
                break;
            }
            effects = more;
        }
    }
}

/// The next message, and its dialect; none at the end.
fn read(stream: &mut TcpStream) -> Outcome<Option<(Dialect, StreamMessage)>> {
    let (mut buffer, mut chunk) = (Vec::new(), [0; 16 * 1024]);
    loop {
        let len = stream.read(&mut chunk)?;
        if len == 0 {
            return Ok(None);
        }
        buffer.extend_from_slice(&chunk[..len]);
        if let Some(message) = stream::decode(&buffer)? {
            return Ok(Some((Dialect::of(buffer[0]), message)));
        }
    }
}

/// What the members have to say to the agent, and how soon it has answered.
#[derive(Default)]
struct Talk {
    /// Pings and events a second.
    pings: u32,
    events: u32,
    answered: Vec<Duration>,
    lost: usize,
}

struct Datagrams {
    sockets: Vec<UdpSocket>,
    poll: Poll,
    table: Arc<Mutex<Table>>,
    talk: Arc<Mutex<Talk>>,
    agent: SocketAddr,
    rng: Rng,
    sent: BTreeMap<u32, Instant>,
    ltime: u64,
}

impl Datagrams {
    fn serve(mut self, stop: &AtomicBool) -> Outcome<()> {
        let (mut events, mut buffer) = (Events::with_capacity(1024), vec![0; 65_536]);
        let (mut ping_at, mut event_at) = (Instant::now(), Instant::now());
        while !stop.load(Ordering::Relaxed) {
            self.poll.poll(&mut events, Some(Duration::from_millis(2)))?;
            for Token(at) in events.iter().map(|event| event.token()) {
                while let Ok((len, from)) = self.sockets[at].recv_from(&mut buffer) {
                    self.hear(at, from, &buffer[..len])?;
                }
            }
            let (pings, rate) = self.talk.lock().map(|talk| (talk.pings, talk.events)).expect("no panic");
            if pings > 0 && Instant::now() >= ping_at {
                ping_at = Instant::now() + Duration::from_secs(1) / pings;
                self.ping()?;
            }
            if rate > 0 && Instant::now() >= event_at {
                event_at = Instant::now() + Duration::from_secs(1) / rate;
                self.spread_event()?;
            }
        }
        Ok(())
    }

    fn hear(&mut self, at: usize, from: SocketAddr, bytes: &[u8]) -> Outcome<()> {
        let mut heard = Vec::new();
        // What the agent says is well formed.
        wire::read_datagram(bytes, None, |message, _| heard.push(message))?;
        for message in heard {
            let answer = match message {
                Message::Probe(ProbeMessage::Ping(ping)) => {
                    let digest = Some(self.table.lock().expect("no panic").members.digest());
                    Message::from(Ack { seq_no: ping.seq_no, digest, payload: Vec::new() })
                }
                Message::Probe(ProbeMessage::Ack(ack)) => {
                    if let Some(sent) = self.sent.remove(&ack.seq_no) {
                        self.talk.lock().expect("no panic").answered.push(sent.elapsed());
                    }
                    continue;
                }
                Message::Wave(WaveMessage::Have(have)) if have.answer => {
                    Message::from(WaveMessage::from(Have { ids: have.ids, answer: false }))
                }
                _ => continue,
            };
            self.send(at, from, &[answer])?;
        }
        Ok(())
    }

    fn send(&self, at: usize, to: SocketAddr, messages: &[Message]) -> Outcome<()> {
        let mut packer = Packer::new(1400);
        for message in messages {
            if !packer.push(&wire::encode(Dialect::Native, message)) {
                return Err("what a member says does not fit a datagram".into());
            }
        }
        self.sockets[at].send_to(&packer.finish(), to)?;
        Ok(())
    }

    fn ping(&mut self) -> Outcome<()> {
        let at = self.rng.usize(0..self.sockets.len());
        let seq_no = self.rng.u32(..);
        let node = name(at as u32 + 1);
        let source = Source { node, addr: addr(at as u32 + 1) };
        let ping = Ping { seq_no, node: NodeName::new(AGENT)?, source };
        self.sent.insert(seq_no, Instant::now());
        let before = self.sent.len();
        self.sent.retain(|_, sent| sent.elapsed() < Duration::from_secs(1));
        self.talk.lock().expect("no panic").lost += before - self.sent.len();
        self.send(at, self.agent, &[ping.into()])
    }

    /// An event of some member, as it comes to the agent: on both rings, mostly as the last that hears it there, else with
    /// seven behind it.
    fn spread_event(&mut self) -> Outcome<()> {
        self.ltime += 1;
        let (ltime, name, payload) = (LamportTime(self.ltime), "deploy".into(), vec![7; 32]);
        let event = Message::from(UserEvent { ltime, name, payload, coalesce: false });
        let arcs: Vec<Message> = {
            let table = self.table.lock().expect("no panic");
            let me = NodeName::new(AGENT)?;
            let arc = |ring: usize| {
                let members = table.members.rings().ring(ring);
                let steps = if self.ltime.is_multiple_of(8) { 8 } else { 1 };
                let mut end = position(&me, ring);
                for _ in 0..steps {
                    let start = end.wrapping_add(1);
                    end = first_from(members, start, start).map_or(end, |(at, _)| at);
                }
                Message::from(WaveMessage::from(Forward { ring: ring as u8, end }))
            };
            (0..2).map(arc).collect()
        };
        for arc in arcs {
            let at = self.rng.usize(0..self.sockets.len());
            self.send(at, self.agent, &[arc, event.clone()])?;
        }
        Ok(())
    }
}

/// One agent among so many.
pub fn measure(program: &Path, members: u32) -> Outcome<Vec<Figure>> {
    let table = Arc::new(Mutex::new(table(members)));
    let poll = Poll::new()?;
    let mut sockets = Vec::new();
    for number in 1..members {
        let mut socket = UdpSocket::bind(addr(number))?;
        poll.registry().register(&mut socket, Token(sockets.len()), Interest::READABLE)?;
        sockets.push(socket);
    }
    // For all of them: the agent has another port.
    let listeners = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT))?;
    let (talk, stop) = (Arc::new(Mutex::new(Talk::default())), Arc::new(AtomicBool::new(false)));
    let datagrams = Datagrams {
        sockets,
        poll,
        table: Arc::clone(&table),
        talk: Arc::clone(&talk),
        agent: format!("{HOST}:{AGENT_PORT}").parse()?,
        rng: Rng::with_seed(2),
        sent: BTreeMap::new(),
        ltime: 1,
    };
    thread::spawn({
        let table = Arc::clone(&table);
        move || serve_streams(listeners, table)
    });
    let serving = thread::spawn({
        let stop = Arc::clone(&stop);
        move || datagrams.serve(&stop).map_err(|why| why.to_string())
    });
    let start = Instant::now();
    let mut agent = Agent::start_at(program, AGENT, HOST.into(), AGENT_PORT, Some(&addr(1).to_string()))?;
    let mut client = agent.client()?;
    let mut known = 0;
    while known < members as usize {
        if start.elapsed() > PATIENCE {
            return Err(format!("it knows {known} of {members}").into());
        }
        thread::sleep(Duration::from_millis(5));
        let stats = client.stats()?;
        let count = stats.get("serf").and_then(|serf| serf.get(&b"members"[..]));
        known = count.and_then(|count| count.to_lossy().parse().ok()).unwrap_or(0);
    }
    let joined = start.elapsed();
    talk.lock().expect("no panic").pings = 1;
    thread::sleep(Duration::from_secs(10));

    let before = agent.cpu()?;
    thread::sleep(MEASURED);
    let idle = (agent.cpu()? - before) / MEASURED.as_secs_f64() * 60.0;
    let resident = agent.resident()?;

    let start = Instant::now();
    for _ in 0..10 {
        client.members()?;
    }
    let listing = start.elapsed() / 10;

    *talk.lock().expect("no panic") = Talk { pings: PINGS, events: EVENTS, ..Talk::default() };
    let before = agent.cpu()?;
    thread::sleep(MEASURED);
    let busy = (agent.cpu()? - before) / MEASURED.as_secs_f64() * 60.0;
    let under_events = std::mem::take(&mut talk.lock().expect("no panic").answered);

    let end = Instant::now() + MEASURED;
    let mut lists = 0;
    while Instant::now() < end {
        client.members()?;
        lists += 1;
    }
    let talk = std::mem::take(&mut *talk.lock().expect("no panic"));
    let failed = client
        .stats()?
        .get("serf")
        .and_then(|serf| serf.get(&b"failed"[..]))
        .map(|n| n.to_lossy().into_owned());
    let after = agent.resident()?;
    stop.store(true, Ordering::Relaxed);
    serving.join().map_err(|_| "the crowd has panicked")??;
    agent.kill()?;
    eprintln!("{lists} lists, {} pings without an answer, {failed:?} failed", talk.lost);
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    Ok(vec![
        ("from its start until it has joined and knows all (ms)", ms(joined)),
        ("resident (MB)", resident / 1e6),
        ("resident, after events and lists (MB)", after / 1e6),
        ("idle: CPU a minute (s)", idle),
        ("20 events and 50 pings a second: CPU a minute (s)", busy),
        ("a list of all members (ms)", ms(listing)),
        ("a ping is answered under 20 events a second, 99 % (ms)", ms(share(under_events, 99))),
        ("the same while someone lists members all the time, 99 % (ms)", ms(share(talk.answered, 99))),
        ("pings that were not answered", talk.lost as f64),
    ])
}

/// So many in a hundred took no longer.
fn share(mut times: Vec<Duration>, of: usize) -> Duration {
    times.sort();
    let at = (times.len() * of).div_ceil(100).saturating_sub(1);
    times.get(at).copied().unwrap_or(Duration::MAX)
}
