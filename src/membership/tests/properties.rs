//! What holds whatever is heard, in whatever order: invariants, merging, convergence.

use super::*;
use crate::model::Ceilings;
use crate::wire::message::{Ack, IndirectPing, Knock, Nack, Ping, Refused, Source};
use proptest::collection::vec;
use proptest::prelude::*;

const NAMES: [&str; 6] = ["me", "you", "a", "b", "c", "d"];

fn who() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(NAMES.to_vec())
}

/// Mostly small, now and then absurd.
fn incarnation() -> impl Strategy<Value = u32> {
    prop_oneof![
        20 => 0u32..6,
        1 => Just(u32::MAX),
        1 => Just(u32::MAX - 1),
        1 => around(Ceilings::default().accusation(Moment::ZERO).0),
        1 => around(Ceilings::default().incarnation(Moment::ZERO).0),
    ]
}

fn around(value: u32) -> std::ops::Range<u32> {
    value - 3..value + 6
}

fn ltime() -> impl Strategy<Value = u64> {
    let ceiling = Ceilings::default().lamport_time(Moment::ZERO).0;
    prop_oneof![20 => 0u64..8, 1 => Just(u64::MAX), 1 => ceiling - 2..ceiling + 4]
}

/// Mostly the address that a name has, now and then another one or none at all.
fn at() -> impl Strategy<Value = (&'static str, SocketAddr)> {
    (who(), who(), 0u8..12).prop_map(|(node, other, odd)| match odd {
        0 => (node, addr(other)),
        1 => (node, SocketAddr::from(([0, 0, 0, 0], 7946))),
        2 => (node, SocketAddr::from(([10, 0, 0, 1], 0))),
        _ => (node, addr(node)),
    })
}

fn meta() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![8 => Just(no_tags()), 1 => Just(b"role".to_vec()), 1 => vec(any::<u8>(), 0..600)]
}

fn versions() -> impl Strategy<Value = Versions> {
    prop_oneof![
        9 => Just(Versions::OURS),
        1 => any::<u8>().prop_map(|v| Versions { protocol_max: v, delegate_cur: v, ..Versions::OURS }),
    ]
}

fn alive_of() -> impl Strategy<Value = Alive> {
    (at(), incarnation(), meta(), versions()).prop_map(|((node, addr), inc, meta, versions)| Alive {
        addr,
        meta,
        versions,
        ..alive(node, inc)
    })
}

fn message() -> impl Strategy<Value = Message> {
    let source = || at().prop_map(|(node, addr)| Source { node: name(node), addr });
    prop_oneof![
        4 => alive_of().prop_map(Message::from),
        3 => (who(), incarnation(), who()).prop_map(|(n, i, f)| Message::from(suspect(n, i, f))),
        3 => (who(), incarnation(), who()).prop_map(|(n, i, f)| Message::from(dead(n, i, f))),
        2 => (who(), ltime()).prop_map(|(n, t)| Message::from(join(n, t))),
        3 => (who(), ltime(), any::<bool>())
            .prop_map(|(n, t, prune)| Message::from(LeaveIntent { prune, ..leave(n, t) })),
        1 => (any::<u32>(), who(), source())
            .prop_map(|(seq_no, n, source)| Message::from(Ping { seq_no, node: name(n), source })),
        1 => (any::<u32>(), at(), any::<bool>(), source()).prop_map(|(seq_no, (n, target), nack, source)| {
            Message::from(IndirectPing { seq_no, target, node: name(n), nack, source })
        }),
        1 => (any::<u32>(), any::<Option<u64>>())
            .prop_map(|(seq_no, digest)| Message::from(Ack { seq_no, digest, payload: vec![] })),
        1 => any::<u32>().prop_map(|seq_no| Message::from(Nack { seq_no })),
        1 => (any::<u32>(), at(), source()).prop_map(|(seq_no, (n, target), source)| {
            Message::from(Knock { seq_no, target, node: name(n), source })
        }),
        1 => any::<u32>().prop_map(|seq_no| Message::from(Refused { seq_no })),
    ]
}

fn peer_state() -> impl Strategy<Value = PeerState> {
    proptest::sample::select(vec![PeerState::Alive, PeerState::Suspect, PeerState::Dead, PeerState::Left])
}

fn row() -> impl Strategy<Value = PeerRow> {
    (alive_of(), peer_state(), any::<bool>(), ltime()).prop_map(|(a, state, leaving, ltime)| PeerRow {
        node: a.node,
        addr: a.addr,
        meta: a.meta,
        incarnation: a.incarnation,
        state,
        leaving,
        status_ltime: LamportTime(ltime),
        versions: a.versions,
    })
}

/// What can happen to a member.
#[derive(Clone, Debug)]
enum Step {
    Hear(Vec<Message>),
    Merge(u64, Vec<PeerRow>),
    /// An answer to the last ping that it sent.
    Answer(Option<u64>),
    StreamPing(StreamPing),
    SendFailed,
    ForceLeave(&'static str, bool),
    BeginLeave,
    FinishLeave,
    ComeBack,
    SetTags(u8),
    Run(u64),
    /// It is held up for this long.
    Pause(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let milliseconds = || prop_oneof![0u64..50, 0u64..3000, 0u64..100_000];
    prop_oneof![
        12 => vec(message(), 0..6).prop_map(Step::Hear),
        4 => (ltime(), vec(row(), 0..6)).prop_map(|(t, rows)| Step::Merge(t, rows)),
        2 => any::<Option<u64>>().prop_map(Step::Answer),
        1 => proptest::sample::select(vec![StreamPing::Answered, StreamPing::Refused, StreamPing::Failed])
            .prop_map(Step::StreamPing),
        1 => Just(Step::SendFailed),
        1 => (who(), any::<bool>()).prop_map(|(n, prune)| Step::ForceLeave(n, prune)),
        1 => Just(Step::BeginLeave),
        1 => Just(Step::FinishLeave),
        2 => Just(Step::ComeBack),
        1 => any::<u8>().prop_map(Step::SetTags),
        4 => milliseconds().prop_map(Step::Run),
        1 => milliseconds().prop_map(Step::Pause),
    ]
}

fn take(b: &mut Bench, step: Step, last_ping: u32) {
    match step {
        Step::Hear(messages) => drop(b.hear("x", messages)),
        Step::Merge(ltime, rows) => b.merge_all(&PushPull {
            join: false,
            ltime: LamportTime(ltime),
            rows,
            intents: vec![],
            serf: Default::default(),
            ..PushPull::default()
        }),
        Step::Answer(digest) => drop(b.hear("x", vec![super::probing::ack(last_ping, digest)])),
        Step::StreamPing(outcome) => b.stream_ping(last_ping, outcome),
        Step::SendFailed => b.prober.send_failed(last_ping, b.now),
        Step::ForceLeave(node, prune) => b.act(|m, now, fx| m.force_leave(&name(node), prune, now, fx)),
        Step::BeginLeave => b.act(|m, now, fx| m.begin_leave(now, fx)),
        Step::FinishLeave => b.act(|m, now, fx| m.finish_leave(now, fx)),
        Step::ComeBack => b.act(|m, now, fx| m.come_back(now, fx)),
        Step::SetTags(n) => {
            let tags = Tags::from_pairs([format!("n={n}")]).unwrap();
            b.act(|m, now, fx| m.set_tags(tags, now, fx)).unwrap();
        }
        Step::Run(ms) => drop(b.run(MS(ms))),
        Step::Pause(ms) => {
            let planned = b.prober.plan(&b.members, b.now);
            b.wake_at(planned.max(b.now + MS(ms)));
        }
    }
}

fn last_ping(b: &Bench) -> Option<u32> {
    b.fx.transmits.iter().rev().find_map(|t| t.probe)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..Default::default() })]

    #[test]
    fn nothing_that_is_heard_breaks_the_table_or_lowers_an_incarnation(steps in vec(step(), 1..60)) {
        let mut b = Bench::with(&["a", "b", "c"]);
        let mut ping = 0;
        for step in steps {
            let before: Vec<_> = b.members.rows().map(|r| (r.name.clone(), r.incarnation, r.is_present())).collect();
            b.forget();
            let shown = format!("{step:?}");
            take(&mut b, step, ping);
            ping = last_ping(&b).unwrap_or(ping);
            let reaped = |n: &NodeName| {
                b.fx.events.iter().any(|e| e.kind == crate::model::MemberEventKind::Reap && e.member.name == *n)
            };
            for (node, incarnation, _) in before {
                match b.members.row(&node) {
                    Some(row) => prop_assert!(row.incarnation >= incarnation || reaped(&node), "{node}: {shown}"),
                    None => prop_assert!(reaped(&node), "{node} vanished without a word: {shown}"),
                }
            }
            prop_assert!(b.prober.plan(&b.members, b.now) >= b.now);
            b.act(|m, now, fx| m.tick(now, fx));
            prop_assert!(b.members.next_deadline() > b.now, "a deadline that does not pass: {shown}");
        }
    }

    #[test]
    fn events_show_the_whole_story(steps in vec(step(), 1..60)) {
        use crate::model::MemberEventKind::*;
        let mut b = Bench::alone();
        let mut known: std::collections::BTreeMap<NodeName, &str> = [(name("me"), "here")].into();
        for step in steps {
            b.forget();
            take(&mut b, step, 0);
            for event in b.fx.events.drain(..) {
                let node = event.member.name;
                let was = known.get(&node).copied().unwrap_or("none");
                let (allowed, is): (&[&str], &str) = match event.kind {
                    Join => (&["none", "failed", "left"], "here"),
                    Update => (&["here"], "here"),
                    Failed => (&["here"], "failed"),
                    Leave => (&["here", "failed"], "left"),
                    Reap => (&["failed", "left"], "none"),
                };
                prop_assert!(allowed.contains(&was), "{} of {node}, which was {was}", event.kind);
                known.insert(node, is);
            }
            for row in b.members.rows() {
                let is = match row.status().as_str() { "failed" => "failed", "left" => "left", _ => "here" };
                prop_assert_eq!(known.get(&row.name).copied(), Some(is), "{}", row.name);
            }
        }
    }

    #[test]
    fn merging_the_same_again_changes_nothing(history in vec(step(), 0..20), rows in vec(row(), 1..8)) {
        let mut b = Bench::with(&["a", "b", "c"]);
        for step in history {
            take(&mut b, step, 0);
        }
        // One row for each name, as in every honest table. Each at the address where it is known, if
        // it is: a name that leaves by an intent in the same row is free for another address the
        // next time. And no Lamport times that only the ones before them bring within reach.
        let rows: std::collections::BTreeMap<_, _> = rows.into_iter().map(|r| (r.node.clone(), r)).collect();
        let near = |r: &PeerRow| LamportTime(r.status_ltime.0 % 8);
        let at = |node: &str| b.members.row(node).map_or(addr(node), |row| row.addr);
        let rows: Vec<_> = rows.into_values()
            .map(|r| PeerRow { addr: at(&r.node.to_lossy()), status_ltime: near(&r), ..r }).collect();
        b.merge(rows.clone());
        let (digest, table) = (b.members.digest(), format!("{:?}", b.members.members()));
        b.forget();
        b.merge(rows);
        b.silent();
        prop_assert_eq!((b.members.digest(), format!("{:?}", b.members.members())), (digest, table));
    }
}

// ---- order -------------------------------------------------------------------------------

/// A message or a row about `a`, which is known and present in incarnation 2.
fn about_a(hear: impl Fn(&mut Bench)) -> (u32, bool, &'static str) {
    let mut b = Bench::with_many(5);
    b.alive("a", 2);
    hear(&mut b);
    let suspected = b.is_suspect("a");
    (b.incarnation("a"), suspected, b.status("a"))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    /// Merging commutes for every member that is present here, with one exception that the
    /// protocol does not promise: when one says that the member left and another that it died
    /// in a later incarnation. A member that hears of the leave first keeps it as left, and one
    /// that hears of the death first suspects it. Neither brings a dead member back; the
    /// suspicion ends.
    #[test]
    fn the_order_of_merging_does_not_matter(
        (rows, shuffled) in (any::<bool>(), vec((1u32..6, 0u8..3), 1..7)).prop_map(|(left, rows)| {
            let last = if left { PeerState::Left } else { PeerState::Dead };
            rows.into_iter()
                .map(|(i, s)| peer_row("a", i, [PeerState::Alive, PeerState::Suspect, last][usize::from(s)]))
                .collect::<Vec<_>>()
        }).prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle())),
    ) {
        let expected = rows.iter().map(|r| r.incarnation.0).max().unwrap().max(2);
        let one = about_a(|b| rows.iter().for_each(|r| b.merge(vec![r.clone()])));
        let other = about_a(|b| b.merge(shuffled.clone()));
        prop_assert_eq!(one, other);
        prop_assert_eq!(one.0, expected, "the highest incarnation that anyone knew");
    }

    /// Gossip promises less than a merge: a death at an incarnation is final there, while a
    /// suspicion of a later one does not raise the dead. So alive news commutes with either.
    #[test]
    fn the_order_of_news_does_not_matter(
        (news, shuffled) in (any::<bool>(), vec((1u32..6, any::<bool>()), 1..7)).prop_map(|(dies, news)| {
            news.into_iter().map(|(i, accuses)| match (accuses, dies) {
                (false, _) => Message::from(alive("a", i)),
                (true, true) => Message::from(dead("a", i, "m1")),
                (true, false) => Message::from(suspect("a", i, "m1")),
            }).collect::<Vec<_>>()
        }).prop_flat_map(|news| (Just(news.clone()), Just(news).prop_shuffle())),
    ) {
        let hear = |news: Vec<Message>| about_a(|b| news.iter().for_each(|m| b.news(m.clone())));
        prop_assert_eq!(hear(news), hear(shuffled));
    }

    #[test]
    fn duplicates_of_news_do_not_matter(
        news in vec((1u32..6, 0u8..4), 1..8),
        again in vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..12),
    ) {
        let news: Vec<(usize, Message)> = news.into_iter().map(|(i, what)| match what {
            0 => Message::from(alive("a", i)),
            1 => Message::from(suspect("a", i, "m1")),
            2 => Message::from(dead("a", i, "m1")),
            _ => Message::from(dead("a", i, "a")),
        }).enumerate().collect();
        let mut doubled = news.clone();
        for (which, place) in again {
            let copy = news[which.index(news.len())].clone();
            // Anywhere behind the first of its kind.
            let first = doubled.iter().position(|m| m.0 == copy.0).unwrap();
            let place = first + 1 + place.index(doubled.len() - first);
            doubled.insert(place, copy);
        }
        let hear = |news: &[(usize, Message)]| about_a(|b| news.iter().for_each(|m| b.news(m.1.clone())));
        prop_assert_eq!(hear(&news), hear(&doubled));
    }

    #[test]
    fn intents_end_the_same_in_any_order(
        (news, shuffled) in vec((1u64..5, any::<bool>()), 1..7)
            .prop_flat_map(|news| (Just(news.clone()), Just(news).prop_shuffle())),
        early in any::<bool>(),
    ) {
        let hear = |news: &[(u64, bool)]| {
            let mut b = Bench::with_many(3);
            let who = if early { "later" } else { "m0" };
            for (ltime, joins) in news {
                if *joins { b.join(who, *ltime) } else { b.leave(who, *ltime) }
            }
            b.alive(who, 1);
            (b.status(who), b.members.row(who).unwrap().status_ltime, b.members.time())
        };
        prop_assert_eq!(hear(&news), hear(&shuffled));
    }

    /// Two members with any pasts, of honest messages, that exchange all they know and let
    /// suspicions end.
    #[test]
    fn two_members_that_exchange_come_to_agree(
        mine in vec(honest(), 0..15),
        yours in vec(honest(), 0..15),
    ) {
        let config = Config::for_profile(Profile::Lan);
        let (mut me, mut you) = (Bench::named("me", config.clone()), Bench::named("you", config));
        me.hear("you", mine);
        you.hear("me", yours);
        for _ in 0..4 {
            let (a, b) = (me.members.push_pull(false, Default::default()), you.members.push_pull(false, Default::default()));
            me.merge_all(&b);
            you.merge_all(&a);
            me.pass(S(40));
            you.pass(S(40));
        }
        let table = |b: &Bench| b.members.rows().filter(|r| r.is_present())
            .map(|r| format!("{} {} {}", r.name, r.incarnation, r.status())).collect::<Vec<_>>();
        prop_assert_eq!(table(&me), table(&you));
        prop_assert_eq!(me.members.digest(), you.members.digest());
    }
}

/// News that is not absurd.
fn honest() -> impl Strategy<Value = Message> {
    let who = || proptest::sample::select(NAMES.to_vec());
    prop_oneof![
        3 => (who(), 1u32..5).prop_map(|(n, i)| Message::from(alive(n, i))),
        1 => (who(), 1u32..5, who()).prop_map(|(n, i, f)| Message::from(suspect(n, i, f))),
        1 => (who(), 1u32..5, who()).prop_map(|(n, i, f)| Message::from(dead(n, i, f))),
        1 => (who(), 1u64..6).prop_map(|(n, t)| Message::from(join(n, t))),
        1 => (who(), 1u64..6).prop_map(|(n, t)| Message::from(leave(n, t))),
    ]
}
