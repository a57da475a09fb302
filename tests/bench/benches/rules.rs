//! What the rules cost for one message, with few and with many members. What grows with the members although it
//! concerns one of them is a walk over all rows, and a defect.

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fastrand::Rng;
use serf::membership::{CHECK_RING, Config, Direction, Effects, Members, Profile, SelfDescription};
use serf::membership::{neighbours, position};
use serf::messaging::Gossip;
use serf::model::{Incarnation, LamportTime, Moment, NodeName, Tags, UserEvent, Versions};
use serf::wire::message::{Alive, Message, PeerRow, PeerState, PushPull, Suspect};
use serf::wire::seal::{self, Key};
use serf::wire::{Dialect, Shared, decode, encode};
use std::hint::black_box;
use std::net::SocketAddr;
use std::time::Duration;

/// With how many members.
const ROWS: [u32; 4] = [100, 1_000, 10_000, 100_000];
const NOW: Moment = Moment::ZERO;

fn name(number: u32) -> NodeName {
    NodeName::new(format!("host-{number:06}.example.net")).expect("a short name")
}

fn meta() -> Vec<u8> {
    Tags::from_pairs(["role=web", "zone=a"]).and_then(|tags| tags.encode()).expect("small tags")
}

fn addr(number: u32) -> SocketAddr {
    let [_, a, b, c] = number.to_be_bytes();
    SocketAddr::from(([10, a, b, c], 7946))
}

fn alive(number: u32, incarnation: u32) -> Alive {
    let versions = Versions::OURS;
    Alive {
        incarnation: Incarnation(incarnation),
        node: name(number),
        addr: addr(number),
        meta: meta(),
        versions,
    }
}

fn state(rows: u32) -> PushPull {
    let row = |number| PeerRow {
        node: name(number),
        addr: addr(number),
        meta: meta(),
        incarnation: Incarnation(1),
        state: PeerState::Alive,
        leaving: false,
        status_ltime: LamportTime(1),
        versions: Versions::OURS,
    };
    PushPull {
        join: false,
        ltime: LamportTime(1),
        rows: (1..rows).map(row).collect(),
        intents: Vec::new(),
        serf: Default::default(),
        left_out: Default::default(),
    }
}

/// A table with so many rows, its own included.
fn table(rows: u32) -> Members {
    let me = SelfDescription { name: name(0), addr: addr(0), tags: Tags::default() };
    let mut fx = Effects::default();
    let config = Config::for_profile(Profile::Lan);
    let mut members = Members::new(config, me, NOW, &mut fx).expect("no tags");
    members.merge(&state(rows), NOW, &mut fx);
    members
}

fn event(number: u64) -> Message {
    let (name, payload) = ("deploy".into(), vec![7; 64]);
    UserEvent { ltime: LamportTime(number), name, payload, coalesce: false }.into()
}

fn codecs(c: &mut Criterion) {
    let mut group = c.benchmark_group("codec");
    for (what, message) in [("alive", alive(7, 3).into()), ("event", event(9))] {
        for dialect in [Dialect::Native, Dialect::Hashicorp] {
            let bytes = encode(dialect, &message);
            group.throughput(Throughput::Bytes(bytes.len() as u64));
            group.bench_function(format!("encode/{what}/{dialect:?}"), |b| {
                b.iter(|| encode(dialect, black_box(&message)));
            });
            group.bench_function(format!("decode/{what}/{dialect:?}"), |b| {
                b.iter(|| decode(black_box(&bytes)))
            });
        }
    }
}

fn sealing(c: &mut Criterion) {
    let key = Key::new(&[7; 32]).expect("32 bytes");
    let plain = vec![3; 1_400];
    let mut sealed = Vec::new();
    key.seal(b"", &plain, &mut sealed).expect("the kernel has entropy");
    let mut group = c.benchmark_group("datagram of 1,400 bytes");
    group.throughput(Throughput::Bytes(plain.len() as u64));
    group.bench_function("seal", |b| {
        b.iter_batched_ref(Vec::new, |out| key.seal(b"", black_box(&plain), out), BatchSize::SmallInput);
    });
    group.bench_function("open", |b| {
        b.iter_batched_ref(
            || sealed.clone(),
            |sealed| seal::open([&key], b"", sealed).expect("it was sealed with this key"),
            BatchSize::SmallInput,
        );
    });
}

fn tables(c: &mut Criterion) {
    let mut group = c.benchmark_group("table");
    for rows in ROWS {
        let mut members = table(rows);
        let (mut rng, mut fx, mut incarnation) = (Rng::with_seed(2), Effects::default(), 1);
        let id = |what: &str| BenchmarkId::new(what, rows);
        group.bench_function(id("alive message with news"), |b| {
            b.iter(|| {
                incarnation += 1;
                fx = Effects::default();
                members.alive(&alive(rows / 2, incarnation), NOW, &mut fx);
            });
        });
        group.bench_function(id("alive message without"), |b| {
            let known = alive(rows / 3, 1);
            b.iter(|| members.alive(black_box(&known), NOW, &mut fx));
        });
        group.bench_function(id("three random members"), |b| {
            b.iter(|| members.random_rows(3, &mut rng, |row| row.is_alive()).len());
        });
        group.bench_function(id("four neighbours"), |b| {
            let at = position(members.me(), CHECK_RING);
            let ring = members.rings().ring(CHECK_RING);
            b.iter(|| neighbours(ring, black_box(at), Direction::Forward).take(4).count());
        });
        group.bench_function(id("counts and digest"), |b| {
            b.iter(|| (members.present(), members.failed(), members.left(), members.digest()));
        });
        group.bench_function(id("copy of all, for a list"), |b| b.iter(|| members.members().len()));
        group.bench_function(id("queue an event"), |b| {
            let mut gossip = Gossip::default();
            let message = Shared::new(event(1));
            b.iter(|| gossip.push(black_box(&message).clone(), None, &members, NOW));
        });
        group.sample_size(10);
        let theirs = state(rows);
        group.bench_function(id("merge what is known"), |b| {
            b.iter(|| members.merge(black_box(&theirs), NOW, &mut fx));
        });
    }
}

/// A table of which a tenth is suspected.
fn with_suspects(rows: u32) -> Members {
    let (mut members, mut fx) = (table(rows), Effects::default());
    for number in (1..rows).step_by(10) {
        let suspect = Suspect { incarnation: Incarnation(1), node: name(number), from: name(0) };
        members.suspect(&suspect, NOW, &mut fx);
    }
    members
}

/// A tenth of the members at once: while they are suspected, when they die, and when they are forgotten.
fn tenths(c: &mut Criterion) {
    const DAY: Duration = Duration::from_secs(86_400);
    let mut group = c.benchmark_group("a tenth of the members");
    group.sample_size(10);
    let mut fx = Effects::default();
    let dead_at = NOW + Duration::from_secs(600);
    for rows in ROWS {
        let id = |what: &str| BenchmarkId::new(what, rows);
        let mut suspects = with_suspects(rows);
        suspects.excuse_lateness(DAY);
        group.bench_function(id("is suspected: plan and tick"), |b| {
            b.iter(|| {
                suspects.tick(NOW, &mut fx);
                suspects.next_deadline()
            });
        });
        let mut until_done = |members: &mut Members, now: Moment| {
            while members.next_deadline() <= now {
                fx = Effects::default();
                members.tick(now, &mut fx);
            }
        };
        group.bench_function(id("dies: all of it"), |b| {
            b.iter_batched_ref(|| with_suspects(rows), |m| until_done(m, dead_at), BatchSize::PerIteration);
        });
        group.bench_function(id("is forgotten: all of it"), |b| {
            let dead = || {
                let (mut members, mut fx) = (with_suspects(rows), Effects::default());
                while members.next_deadline() <= dead_at {
                    members.tick(dead_at, &mut fx);
                }
                members
            };
            b.iter_batched_ref(dead, |m| until_done(m, dead_at + DAY), BatchSize::PerIteration);
        });
        let mut one_tick = |members: &mut Members, now: Moment| {
            let mut fx = Effects::default();
            members.tick(now, &mut fx);
        };
        group.bench_function(id("dies: the first piece"), |b| {
            b.iter_batched_ref(|| with_suspects(rows), |m| one_tick(m, dead_at), BatchSize::PerIteration);
        });
    }
}

fn queues(c: &mut Criterion) {
    let mut group = c.benchmark_group("queue");
    let members = table(100);
    for queued in [10_u64, 100, 1_000, 10_000] {
        group.bench_function(BenchmarkId::new("one more, and a tick", queued), |b| {
            let mut gossip = Gossip::default();
            let (mut rng, mut now, mut number) = (Rng::with_seed(3), NOW, queued);
            for number in 0..queued {
                gossip.push(Shared::new(event(number)), None, &members, now);
            }
            b.iter(|| {
                number += 1;
                now += Duration::from_millis(200);
                gossip.push(Shared::new(event(number)), None, &members, now);
                gossip.tick(&members, now, &mut rng)
            });
        });
    }
}

criterion_group!(rules, codecs, sealing, tables, tenths, queues);
criterion_main!(rules);
