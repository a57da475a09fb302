//! User events and queries: who hears what, how soon, how often, and whether the one who asked is
//! told exactly what was answered.

use crate::bench::{lan, spread};
use crate::delivery_laws::Told;
use crate::hearing::{Hearing, complete, completed_by_exchange, delays, hearing, record, talking};
use crate::network::{Cut, Weather};
use crate::process::{Habit, Pid};
use crate::world::{Via, World};
use serf::membership::Config;
use serf::messaging::{QueryParams, QueryProgress};
use serf::model::{Moment, NodeName, QueryKey};
use serf::wire::message::Answer;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

const MS: fn(u64) -> Duration = Duration::from_millis;
const S: fn(u64) -> Duration = Duration::from_secs;

// ---- events --------------------------------------------------------------------------------

/// Fires an event at a random member.
fn fire(world: &mut World, number: usize) {
    let pid = world.rng.usize(0..world.processes.len());
    world.fire(pid, "deploy", &number.to_be_bytes(), false);
}

/// How long it may take until everyone has heard an event: gossip takes its transmissions (limit ÷
/// fan-out ticks). Whoever was missed by it opens an exchange within one push/pull period; the
/// other side lacks the event as well with the share of those who were missed, so that a second
/// one leaves next to nobody, the less as others open exchanges with it, too. One exchange takes
/// at most the TCP timeout.
fn hearing_bound(config: &Config, n: usize) -> Duration {
    let ticks = config.transmit_limit(n) / config.gossip_nodes as u32 + 1;
    config.gossip_interval * ticks + config.push_pull_period(n) * 2 + config.tcp_timeout
}

#[test]
fn in_a_calm_network_everyone_hears_every_event_once() {
    const EVENTS: usize = 20;
    for n in [3, 10, 30, 100] {
        let (mut took, mut by_exchange) = (Vec::new(), 0);
        for seed in 0..4 {
            let mut world = talking(n, seed, lan());
            for number in 0..EVENTS {
                fire(&mut world, number);
                let pause = MS(world.rng.u64(0..400));
                world.run_for(pause);
            }
            world.run_for(S(5));
            if complete(&hearing(&world), EVENTS, n).is_err() {
                world.run_for(hearing_bound(&lan(), n));
            }
            let heard = hearing(&world);
            complete(&heard, EVENTS, n).unwrap_or_else(|why| panic!("n {n}, seed {seed}: {why}"));
            took.extend(delays(&heard));
            by_exchange += completed_by_exchange(&heard);
        }
        println!("{n} members, events told to all after (ms) {}; by push/pull: {by_exchange}", spread(took));
    }
}

/// One that is cut off for longer than others keep news for those that ask is left out by waves and their
/// repair.
#[test]
fn what_gossip_misses_comes_with_push_pull() {
    const N: usize = 20;
    const EVENTS: usize = 20;
    for (what, cut_off) in [("as it is", false), ("with one member cut off", true)] {
        let (mut took, mut by_exchange) = (Vec::new(), 0);
        for seed in 0..5 {
            let mut world = talking(N, seed, lan());
            let bound = hearing_bound(&lan(), N);
            world.weather(Weather { loss: 0.2, ..Weather::default() }, S(3600));
            if cut_off {
                let alone = BTreeSet::from([world.processes[7].addr]);
                let others: BTreeSet<SocketAddr> =
                    world.processes.iter().map(|p| p.addr).filter(|addr| !alone.contains(addr)).collect();
                world.cut(Cut { from: others.clone(), to: alone.clone(), loss: 1.0 }, S(100));
                world.cut(Cut { from: alone, to: others, loss: 1.0 }, S(100));
            }
            for number in 0..EVENTS {
                fire(&mut world, number);
                world.run_for(MS(100));
            }
            world.run_for(if cut_off { S(100) + bound } else { bound });
            let heard = hearing(&world);
            complete(&heard, EVENTS, N).unwrap_or_else(|why| panic!("{what}, seed {seed}: {why}"));
            took.extend(delays(&heard));
            by_exchange += completed_by_exchange(&heard);
        }
        println!(
            "20 % loss, {what}: told to all after (ms) {}; {by_exchange} of {} tellings by push/pull",
            spread(took),
            5 * EVENTS * N
        );
        assert!(by_exchange > 0 || !cut_off, "nobody was left out: nothing is shown");
    }
}

#[test]
fn a_burst_of_two_thousand_events_loses_none() {
    const N: usize = 20;
    const EVENTS: usize = 2_000;
    let mut world = talking(N, 1, lan());
    let before = world.tally.of("bytes sent in datagrams");
    world.fire_all(7, "burst", (0..EVENTS).map(|number| number.to_be_bytes()));
    world.run_for(S(15));
    let (gossip, sent) = (hearing(&world), world.tally.of("bytes sent in datagrams") - before);
    let told: usize = gossip.values().map(Vec::len).sum();
    println!(
        "burst of {EVENTS} to {N}: told to all after (ms) {}; {} lost, {sent} bytes, {} by push/pull",
        spread(delays(&gossip)),
        EVENTS * N - told,
        completed_by_exchange(&gossip)
    );
    world.run_for(hearing_bound(&lan(), N));
    complete(&hearing(&world), EVENTS, N).unwrap();
}

// ---- queries -------------------------------------------------------------------------------

/// One query, as the one who asked was told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Account {
    asked: Moment,
    deadline: Moment,
    done: Option<Moment>,
    acks: Vec<NodeName>,
    answers: Vec<NodeName>,
}

/// Everything that an asker was told, by query.
fn accounts(world: &World, asker: Pid) -> BTreeMap<QueryKey, Account> {
    let mut accounts = BTreeMap::new();
    for (at, _, told) in record(world).told.iter().filter(|(_, pid, _)| *pid == asker) {
        match told {
            Told::Asked { key, deadline, .. } => {
                let (acks, answers) = Default::default();
                let account = Account { asked: *at, deadline: *deadline, done: None, acks, answers };
                accounts.insert(*key, account);
            }
            Told::Progress(key, progress) => {
                let Some(account) = accounts.get_mut(key) else { continue };
                match progress {
                    QueryProgress::Ack { from } => account.acks.push(from.clone()),
                    QueryProgress::Response { from, .. } => account.answers.push(from.clone()),
                    QueryProgress::Done => account.done = Some(*at),
                }
            }
            Told::Event(..) => {}
        }
    }
    accounts
}

/// Whether an account ends in time and reports exactly what arrived until then, each once.
/// `arrived` is what the network brought: when, from whom, and what.
fn exact(account: &Account, arrived: &[(Moment, NodeName, Answer)], me: &NodeName) -> Result<(), String> {
    let Some(done) = account.done.filter(|done| *done <= account.deadline) else {
        return Err(format!("it ends at {:?}, due by {}", account.done, account.deadline));
    };
    let in_time = arrived.iter().filter(|(at, ..)| *at <= done);
    let from = |(_, from, _): &(Moment, NodeName, Answer)| from.clone();
    let acks: BTreeSet<NodeName> = in_time.clone().map(from).collect();
    let answers: BTreeSet<NodeName> =
        in_time.filter(|(_, _, answer)| *answer == Answer::Payload).map(from).collect();
    for (what, told, arrived) in [("acks", &account.acks, acks), ("answers", &account.answers, answers)] {
        // What the asker says to itself does not cross the network.
        let others: BTreeSet<NodeName> = told.iter().filter(|from| *from != me).cloned().collect();
        let once: BTreeSet<&NodeName> = told.iter().collect();
        if once.len() != told.len() {
            return Err(format!("{what} told more than once: {told:?}"));
        }
        if others != arrived {
            return Err(format!("{what} told: {others:?}, arrived: {arrived:?}"));
        }
    }
    Ok(())
}

/// Checks every query of an asker, and returns them.
fn audited(world: &World, asker: Pid) -> BTreeMap<QueryKey, Account> {
    let accounts = accounts(world, asker);
    for (key, account) in &accounts {
        let arrived: Vec<(Moment, NodeName, Answer)> = record(world)
            .arrived
            .iter()
            .filter(|(_, pid, r)| *pid == asker && (r.ltime, r.id) == (key.ltime, key.id))
            .map(|(at, _, r)| (*at, r.from.clone(), r.answer))
            .collect();
        exact(account, &arrived, &world.processes[asker].name).unwrap_or_else(|why| panic!("{key:?}: {why}"));
    }
    accounts
}

/// Every third member answers after a while, every third declines, the others have no handlers.
/// Returns how many answer.
fn habits(world: &mut World) -> usize {
    let n = world.processes.len();
    for pid in 0..n {
        let habit = [Habit::Answers(MS(20)), Habit::Declines(MS(30)), Habit::Silent][pid % 3];
        world.set_habit(pid, habit);
    }
    n.div_ceil(3)
}

fn question(relay_factor: u8, timeout: Option<Duration>) -> QueryParams {
    QueryParams { name: "load".into(), request_ack: true, relay_factor, timeout, ..QueryParams::default() }
}

fn ask(world: &mut World, asker: Pid, params: QueryParams) {
    world.ask(asker, params);
}

#[test]
fn in_a_calm_network_everyone_acknowledges_and_the_query_ends_early() {
    for n in [3, 10, 30, 100] {
        let mut took = Vec::new();
        for seed in 0..3 {
            let mut world = talking(n, seed, lan());
            let answering = habits(&mut world);
            let asker = world.rng.usize(0..n);
            for _ in 0..4 {
                ask(&mut world, asker, question(0, None));
                world.run_for(S(10));
            }
            let accounts = audited(&world, asker);
            assert_eq!(accounts.len(), 4);
            for account in accounts.values() {
                assert_eq!((account.acks.len(), account.answers.len()), (n, answering), "n {n}, seed {seed}");
                let done = account.done.filter(|done| *done < account.deadline).expect("it ends early");
                took.push(done.since(account.asked).as_millis());
            }
        }
        println!("{n} members, a query is over after (ms) {}", spread(took));
    }
}

#[test]
fn with_loss_the_account_is_exact_and_relays_raise_the_share_of_answers() {
    const N: usize = 20;
    const QUERIES: usize = 60;
    let mut shares = Vec::new();
    for relay_factor in 0..4 {
        let mut world = talking(N, 3, lan());
        habits(&mut world);
        world.weather(Weather { loss: 0.2, ..Weather::default() }, S(3600));
        for _ in 0..QUERIES {
            ask(&mut world, 1, question(relay_factor, None));
            world.run_for(S(7));
        }
        let accounts = audited(&world, 1);
        assert_eq!(accounts.len(), QUERIES);
        let sum = |f: fn(&Account) -> usize| accounts.values().map(f).sum::<usize>();
        let early = accounts.values().filter(|a| a.done < Some(a.deadline)).count();
        let share = |n: usize, of: usize| 100.0 * n as f64 / (QUERIES * of) as f64;
        let (acks, answers) =
            (share(sum(|a| a.acks.len()), N), share(sum(|a| a.answers.len()), N.div_ceil(3)));
        println!(
            "20 % loss, relay factor {relay_factor}: {acks:.1} % acks, {answers:.1} % answers, {early} of \
             {QUERIES} end early"
        );
        shares.push(answers);
    }
    assert!(shares[2] > shares[0] && shares[3] > shares[0], "relays do not help: {shares:?}");
    assert!(shares[0] < 100.0, "nothing was lost");
}

#[test]
fn a_member_that_fails_meanwhile_is_not_waited_for() {
    const N: usize = 20;
    let mut took = Vec::new();
    for seed in 0..5 {
        let mut world = talking(N, seed, lan());
        let answering = habits(&mut world);
        world.crash(19);
        ask(&mut world, 1, question(0, Some(S(600))));
        world.run_for(S(120));
        let accounts = audited(&world, 1);
        let account = accounts.values().next().expect("a query was asked");
        // Number 19 would have declined.
        assert_eq!((account.acks.len(), account.answers.len()), (N - 1, answering), "seed {seed}");
        took.push(account.done.expect("checked").since(account.asked).as_millis());
    }
    println!("a member of {N} fails: a query is over after (ms) {}", spread(took));
}

// ---- proof that the checks above can fail ----------------------------------------------------

#[test]
fn a_missing_and_a_second_telling_are_noticed() {
    let at = Moment::ZERO;
    let tell =
        |pids: &[Pid]| Hearing::from([(vec![1], pids.iter().map(|p| (at, *p, Via::Gossip)).collect())]);
    assert_eq!(complete(&tell(&[0, 1, 2]), 1, 3), Ok(()));
    for (bad, events) in [(&[0, 1][..], 1), (&[0, 1, 1], 1), (&[0, 1, 2, 2], 1), (&[0, 1, 2], 2)] {
        assert!(complete(&tell(bad), events, 3).is_err(), "{bad:?} of {events}");
    }
}

#[test]
fn a_false_account_is_noticed() {
    let name = |s: &str| NodeName::new(s).expect("a short name");
    let at = |ms| Moment::ZERO + MS(ms);
    let arrived = [
        (at(2), name("a"), Answer::Ack),
        (at(3), name("a"), Answer::Payload),
        (at(3), name("a"), Answer::Payload),
        (at(4), name("b"), Answer::AckOnly),
        (at(8), name("c"), Answer::Payload),
    ];
    let good = Account {
        asked: at(1),
        deadline: at(6),
        done: Some(at(5)),
        acks: vec![name("me"), name("a"), name("b")],
        answers: vec![name("a")],
    };
    assert_eq!(exact(&good, &arrived, &name("me")), Ok(()));
    for bad in [
        Account { done: None, ..good.clone() },
        Account { done: Some(at(7)), ..good.clone() },
        Account { acks: vec![name("a")], ..good.clone() },
        Account { acks: vec![name("a"), name("b"), name("b")], ..good.clone() },
        Account { acks: vec![name("a"), name("b"), name("c")], ..good.clone() },
        Account { answers: vec![], ..good.clone() },
        Account { answers: vec![name("a"), name("a")], ..good.clone() },
        Account { answers: vec![name("a"), name("b")], ..good.clone() },
    ] {
        assert!(exact(&bad, &arrived, &name("me")).is_err(), "{bad:?}");
    }
}
