//! Exchanges of what differs, between two members: every message as bytes.

use super::*;
use crate::membership::{Config, Profile, SelfDescription};
use crate::model::{Incarnation, LamportTime, NodeName, Tags, UserEvent, Versions};
use crate::wire::Dialect;
use crate::wire::difference::{Hello, Ids, Rows};
use crate::wire::stream;
use std::time::Duration;

const OPENER: &str = "opener";
const ANSWERER: &str = "answerer";

/// One of the two.
struct Side {
    table: Table,
    exchanges: Exchanges,
    serf: SerfState,
    now: Moment,
    rng: Rng,
}

impl Side {
    fn new(who: &str, seed: u64) -> Side {
        Side::configured(who, seed, Config::for_profile(Profile::Lan))
    }

    fn configured(who: &str, seed: u64, config: Config) -> Side {
        let me = SelfDescription { name: name(who), addr: addr(who), tags: Tags::default() };
        let (now, mut rng) = (Moment::ZERO + Duration::from_secs(100), Rng::with_seed(seed));
        let members = Members::new(config, me, now, &mut Effects::default()).unwrap();
        let exchanges = Exchanges::new(&members, now, &mut rng);
        Side { table: Table::new(members), exchanges, serf: SerfState::default(), now, rng }
    }

    fn merge(&mut self, rows: Vec<PeerRow>) {
        let now = self.now;
        let _ = self.table.change(|members, fx| members.merge(&push_pull(rows), now, fx));
        self.table.members.check_invariants();
    }

    fn turn(&mut self, input: impl FnOnce(&mut Exchanges, &mut ExchangeTurn)) -> Vec<ExchangeEffect> {
        let mut fx = Vec::new();
        let Side { table, exchanges, now, rng, .. } = self;
        input(exchanges, &mut ExchangeTurn { table, now: *now, rng, fx: &mut fx });
        self.finish(fx)
    }

    /// Carries out what concerns this side alone, and does the work that there is.
    fn finish(&mut self, mut effects: Vec<ExchangeEffect>) -> Vec<ExchangeEffect> {
        let mut left = Vec::new();
        loop {
            for effect in std::mem::take(&mut effects) {
                match effect {
                    ExchangeEffect::Recall(plan) => {
                        let (members, serf) = (&self.table.members, self.serf.clone());
                        self.exchanges.proceed(plan, serf, members, &mut self.rng, &mut effects);
                    }
                    ExchangeEffect::MergeSerf { theirs, .. } => self.serf.events.extend(theirs.events),
                    ExchangeEffect::Table(_) => {}
                    other => left.push(other),
                }
            }
            self.table.members.check_invariants();
            if self.exchanges.has_work() {
                self.exchanges.work(&self.table.members, &mut self.rng, &mut effects);
            } else if effects.is_empty() {
                return left;
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.exchanges.dialogues.is_empty()
    }
}

/// What an exchange has cost.
#[derive(Debug, Default)]
struct Cost {
    messages: usize,
    bytes: usize,
}

/// Lets one side exchange with the other; the stream breaks after so many messages.
fn exchange(opener: &mut Side, answerer: &mut Side, breaks_after: usize) -> Cost {
    let to = Target::member(addr(ANSWERER), &Versions::OURS);
    let plan = Plan::Differ { node: name(ANSWERER), to, is_newcomer: false };
    let mut effects = opener.finish(vec![ExchangeEffect::Recall(plan)]);
    let (mut cost, mut by_opener) = (Cost::default(), true);
    let mut ours = None;
    loop {
        assert_eq!(effects.len(), 1, "{effects:?}");
        let (message, last) = match effects.remove(0) {
            ExchangeEffect::Connect { message, purpose: Purpose::Dialogue(id), .. } => {
                ours = Some(id);
                (message, false)
            }
            ExchangeEffect::Say { message, last, .. } => (StreamMessage::Difference(message), last),
            ExchangeEffect::End(_) => break,
            other => panic!("{other:?}"),
        };
        let bytes = stream::encode(Dialect::Native, &message);
        cost.messages += 1;
        cost.bytes += bytes.len();
        if cost.messages > breaks_after {
            break;
        }
        assert!(cost.messages < 10_000, "it does not end");
        let message = stream::decode(&bytes).unwrap().unwrap();
        effects = if by_opener {
            answerer.turn(|e, turn| e.heard(StreamId(7), addr(OPENER), message, turn))
        } else {
            let purpose = Purpose::Dialogue(ours.unwrap());
            opener.turn(|e, turn| e.answered(purpose, addr(ANSWERER), message, turn))
        };
        by_opener = !by_opener;
        if last {
            assert!(matches!(effects[..], [ExchangeEffect::End(_)]), "{effects:?}");
            break;
        }
    }
    answerer.exchanges.closed(StreamId(7));
    if cost.messages > breaks_after {
        let why = StreamFailure::Broken("cut".into());
        let purpose = Purpose::Dialogue(ours.unwrap());
        opener.turn(|e, turn| e.failed(purpose, addr(ANSWERER), &why, turn));
    }
    assert!(opener.is_idle() && answerer.is_idle(), "nothing of it is left");
    cost
}

const NEVER: usize = usize::MAX;

/// Rows as they are in a cluster, each with its own address and some tags.
fn rows(numbers: std::ops::Range<u32>) -> Vec<PeerRow> {
    let meta = Tags::from_pairs(["role=web", "zone=a"]).and_then(|tags| tags.encode()).unwrap();
    let row = |number: u32| {
        let [_, a, b, c] = number.to_be_bytes();
        PeerRow {
            node: NodeName::new(format!("host-{number:06}.example.net")).unwrap(),
            addr: SocketAddr::from(([10, a, b, c], 7946)),
            meta: meta.clone(),
            incarnation: Incarnation(1),
            state: PeerState::Alive,
            leaving: false,
            status_ltime: LamportTime(u64::from(number)),
            versions: Versions::OURS,
        }
    };
    numbers.map(row).collect()
}

/// Two that know each other, and so many others.
fn pair(others: u32) -> (Side, Side) {
    let (mut a, mut b) = (Side::new(OPENER, 1), Side::new(ANSWERER, 2));
    a.merge(rows(0..others));
    b.merge(rows(0..others));
    exchange(&mut a, &mut b, NEVER);
    (a, b)
}

fn agree(a: &Side, b: &Side) -> bool {
    a.table.members.total() == b.table.members.total()
}

#[test]
fn equal_tables_cost_next_to_nothing() {
    for others in [0, 10, 1_000, 10_000] {
        let (mut a, mut b) = pair(others);
        assert!(agree(&a, &b));
        let mut costs: Vec<Cost> = (0..40).map(|_| exchange(&mut a, &mut b, NEVER)).collect();
        costs.sort_by_key(|cost| cost.bytes);
        assert_eq!(costs[20].messages, 3);
        assert!(costs[20].bytes <= 400, "{others}: {:?}", costs[20]);
        // Now and then rows are compared all the same.
        let most = &costs[39];
        assert!(most.bytes > costs[20].bytes, "{most:?}");
        assert!(most.bytes < 400 + 4 * 256 + 100, "{most:?}");
    }
}

#[test]
fn what_differs_costs_what_differs() {
    for (differing, most) in [(1, 3_000), (10, 8_000), (100, 60_000), (1_000, 300_000)] {
        let (mut a, mut b) = pair(10_000);
        let mut changed = rows(0..10_000);
        for (side, half) in [(&mut a, 0), (&mut b, 1)] {
            let news = changed.iter_mut().enumerate().filter(|(i, _)| i % (10_000 / differing) == 5);
            let news = news.filter(|(i, _)| i / (10_000 / differing) % 2 == half || differing == 1);
            let news = news.map(|(_, row)| PeerRow { incarnation: Incarnation(2), ..row.clone() });
            let news = news.collect();
            side.merge(news);
            if differing == 1 {
                break;
            }
        }
        assert!(!agree(&a, &b));
        let cost = exchange(&mut a, &mut b, NEVER);
        assert!(agree(&a, &b), "{differing}");
        assert!(cost.bytes <= most, "{differing} differ: {cost:?}");
    }
}

#[test]
fn a_newcomer_learns_all_piece_by_piece_and_repeats_nothing_of_it() {
    let (_, mut b) = pair(5_000);
    let mut a = Side::new("newcomer", 3);
    a.table.broadcasts.take();
    let cost = exchange(&mut a, &mut b, NEVER);
    assert!(agree(&a, &b));
    assert_eq!(a.table.members.present(), 5_003);
    assert!(cost.messages > 40, "{cost:?}");
    assert!(a.table.broadcasts.is_empty());
    assert_eq!(b.table.members.present(), 5_003);
}

#[test]
fn two_clusters_that_meet_do_not_repeat_all_of_each_other_as_news() {
    let (mut a, mut b) = (Side::new(OPENER, 1), Side::new(ANSWERER, 2));
    a.merge(rows(0..2_000));
    b.merge(rows(2_000..4_000));
    a.table.broadcasts.take();
    b.table.broadcasts.take();
    exchange(&mut a, &mut b, NEVER);
    assert!(agree(&a, &b));
    assert_eq!(a.table.members.present(), 4_002);
    for side in [&a, &b] {
        assert!((200..=256).contains(&side.table.broadcasts.len()), "{}", side.table.broadcasts.len());
    }
}

#[test]
fn a_stream_that_breaks_loses_nothing_that_has_come() {
    let mut last = 0;
    for breaks_after in 0..30 {
        let (mut a, mut b) = (Side::new(OPENER, 1), Side::new(ANSWERER, 2));
        a.merge(rows(0..1_000));
        b.merge(rows(700..3_000));
        exchange(&mut a, &mut b, breaks_after);
        let known = a.table.members.present() + b.table.members.present();
        assert!(known >= last, "after {breaks_after} messages");
        last = known;
        exchange(&mut a, &mut b, NEVER);
        assert!(agree(&a, &b));
        assert_eq!(a.table.members.present(), 3_002);
    }
    assert_eq!(last, 6_004);
}

/// Any two tables: afterwards a whole push/pull both ways has nothing to add.
#[test]
fn after_it_a_push_pull_would_change_nothing() {
    for seed in 0..1_500 {
        let mut rng = Rng::with_seed(seed);
        let (mut a, mut b) = (Side::new(OPENER, seed), Side::new(ANSWERER, !seed));
        for side in [&mut a, &mut b] {
            for _ in 0..rng.usize(0..4) {
                let rows: Vec<PeerRow> = (0..rng.usize(0..30)).map(|_| any_row(&mut rng)).collect();
                side.merge(rows);
            }
        }
        if rng.bool() {
            b.now += Duration::from_secs(rng.u64(0..100));
            let now = b.now;
            let _ = b.table.change(|members, fx| members.tick(now, fx));
        }
        let breaks_after = if rng.u8(0..4) == 0 { rng.usize(0..5) } else { NEVER };
        exchange(&mut a, &mut b, breaks_after);
        if breaks_after != NEVER {
            exchange(&mut a, &mut b, NEVER);
        }
        let before = (a.table.members.total(), b.table.members.total());
        b.merge(a.table.members.push_pull(false, SerfState::default()).rows);
        a.merge(b.table.members.push_pull(false, SerfState::default()).rows);
        let after = (a.table.members.total(), b.table.members.total());
        assert_eq!(before, after, "seed {seed}");
    }
}

fn any_row(rng: &mut Rng) -> PeerRow {
    let names = [OPENER, ANSWERER];
    let who = match rng.usize(0..14) {
        at @ 0..=1 => names[at].to_string(),
        at => format!("m{at}"),
    };
    let states = [PeerState::Alive, PeerState::Alive, PeerState::Suspect, PeerState::Dead, PeerState::Left];
    let tags = Tags::from_pairs([format!("v={}", rng.u8(0..2))]).and_then(|tags| tags.encode()).unwrap();
    PeerRow {
        meta: tags,
        leaving: rng.u8(0..5) == 0,
        status_ltime: LamportTime(rng.u64(0..5)),
        ..peer_row(&who, rng.u32(1..5), states[rng.usize(0..states.len())])
    }
}

#[test]
fn a_member_that_is_believed_alive_is_answered_with_its_tombstone() {
    let (mut a, mut b) = pair(50);
    let gone = rows(7..8).remove(0);
    b.merge(vec![PeerRow { state: PeerState::Left, ..gone.clone() }]);
    exchange(&mut a, &mut b, NEVER);
    assert!(!a.table.members.row(&gone.node).unwrap().is_present());
    assert!(agree(&a, &b));
}

#[test]
fn who_has_failed_here_and_left_there_has_left() {
    let (mut a, mut b) = pair(50);
    let gone = rows(7..8).remove(0);
    for (side, state) in [(&mut a, "failed"), (&mut b, "left")] {
        let now = side.now;
        let from = if state == "left" { gone.node.clone() } else { name("x") };
        let dead = crate::wire::message::Dead { incarnation: Incarnation(1), node: gone.node.clone(), from };
        let _ = side.table.change(|members, fx| members.dead(&dead, now, fx));
    }
    assert!(agree(&a, &b), "nothing of it shows in the sums");
    exchange(&mut a, &mut b, NEVER);
    assert_eq!(a.table.members.row(&gone.node).unwrap().status().as_str(), "left");
}

#[test]
fn events_go_to_the_side_that_does_not_remember_them() {
    let (mut a, mut b) = pair(5);
    let event = |ltime| UserEvent {
        ltime: LamportTime(ltime),
        name: "deploy".into(),
        payload: vec![1],
        coalesce: false,
    };
    (a.serf.events, b.serf.events) = (vec![event(1)], vec![event(2)]);
    exchange(&mut a, &mut b, NEVER);
    let times = |side: &Side| side.serf.events.iter().map(|event| event.ltime.0).collect::<Vec<_>>();
    assert_eq!((times(&a), times(&b)), (vec![1, 2], vec![2, 1]));
}

/// One refuses what the other believes: that is found out once, and not tried again for as long as nothing changes.
#[test]
fn a_difference_that_stays_is_remembered() {
    let (_, mut b) = pair(20);
    let config = Config { validate_names: true, ..Config::for_profile(Profile::Lan) };
    let mut a = Side::configured(OPENER, 3, config);
    exchange(&mut a, &mut b, NEVER);
    let odd = PeerRow { node: NodeName::new("not plain").unwrap(), ..rows(99..100).remove(0) };
    b.merge(vec![odd]);
    let digests = |a: &Side, b: &Side| (a.table.members.digest(), b.table.members.digest());
    let before = digests(&a, &b);
    assert_ne!(before.0, before.1);
    exchange(&mut a, &mut b, NEVER);
    assert_eq!(digests(&a, &b), before);
    for (side, theirs) in [(&a, before.1), (&b, before.0)] {
        let now = side.now;
        assert!(side.table.members.is_fruitless(theirs, now + Duration::from_secs(599)));
        assert!(!side.table.members.is_fruitless(theirs, now + Duration::from_secs(600)));
        assert!(!side.table.members.is_fruitless(theirs ^ 1, now));
    }
}

/// Whatever a hostile member says on such a stream, it ends or goes on, and leaves nothing.
#[test]
fn messages_out_of_turn_end_the_stream() {
    for seed in 0..500 {
        let mut rng = Rng::with_seed(seed);
        let (mut a, _) = pair(30);
        let mut ended = false;
        for _ in 0..20 {
            let message = match rng.u8(0..5) {
                0 => {
                    let mut fx = Vec::new();
                    let mut other = Side::new(ANSWERER, seed);
                    let to = Target::member(addr(OPENER), &Versions::OURS);
                    let (members, rng) = (&other.table.members, &mut other.rng);
                    let node = (name(OPENER), to);
                    other.exchanges.open_dialogue(node, false, SerfState::default(), members, rng, &mut fx);
                    let [ExchangeEffect::Connect { message, .. }] = &fx[..] else { panic!("{fx:?}") };
                    message.clone()
                }
                1 => StreamMessage::Difference(DifferenceMessage::Ids(Ids {
                    buckets: vec![(rng.u8(..), vec![[rng.u8(..); 5]])],
                    rows: vec![any_row(&mut rng)],
                    serf: None,
                })),
                2 | 3 => StreamMessage::Difference(DifferenceMessage::Rows(Rows {
                    rows: vec![any_row(&mut rng)],
                    want: vec![[rng.u8(..); 5]],
                    serf: None,
                    last: rng.bool(),
                })),
                _ => StreamMessage::Difference(DifferenceMessage::Done),
            };
            let effects = a.turn(|e, turn| e.heard(StreamId(3), addr(ANSWERER), message, turn));
            assert!(effects.len() <= 2, "{effects:?}");
            ended |= effects.iter().any(|effect| matches!(effect, ExchangeEffect::End(_)));
        }
        a.exchanges.closed(StreamId(3));
        assert!(a.is_idle());
        assert!(ended, "seed {seed}");
    }
}

#[test]
fn what_dialogues_of_others_hold_is_bounded() {
    let mut side = Side::new(ANSWERER, 2);
    side.merge(rows(0..20_000));
    let mut ended = 0;
    for i in 0..60 {
        let hello = Hello {
            node: name("stranger"),
            total: 1,
            digest: 1,
            suspicious: true,
            ltime: LamportTime(1),
            event_ltime: LamportTime(1),
            query_ltime: LamportTime(1),
            events: 1,
            failed: Vec::new(),
        };
        // It lacks everything.
        let ids = Ids { buckets: (0..=255).map(|b| (b, Vec::new())).collect(), rows: Vec::new(), serf: None };
        for message in [DifferenceMessage::Hello(hello), DifferenceMessage::Ids(ids)] {
            let message = StreamMessage::Difference(message);
            let mut fx = Vec::new();
            let Side { table, exchanges, now, rng, .. } = &mut side;
            let mut turn = ExchangeTurn { table, now: *now, rng, fx: &mut fx };
            exchanges.heard(StreamId(i), addr("stranger"), message, &mut turn);
            for effect in std::mem::take(&mut fx) {
                match effect {
                    ExchangeEffect::Recall(plan) => {
                        exchanges.proceed(plan, SerfState::default(), &table.members, rng, &mut fx);
                    }
                    other => fx.push(other),
                }
            }
            while exchanges.has_work() {
                exchanges.work(&table.members, rng, &mut fx);
            }
            ended += fx.iter().filter(|effect| matches!(effect, ExchangeEffect::End(_))).count();
        }
        let held: usize = side.exchanges.dialogues.values().map(Dialogue::held).sum();
        assert!(held <= MAX_HELD, "{held}");
    }
    assert!(side.exchanges.are_busy(), "the agent lets others wait");
    assert_eq!(side.exchanges.dialogues.len() + ended, 60);
    assert!((1..60).contains(&ended), "{ended}");
}
