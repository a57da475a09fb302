//! Waves in virtual time, one member at a time: what it sends whom, how often, and what it refuses.

use super::*;
use crate::membership::tests::{Bench, MS, addr, alive, leave, name, suspect};
use crate::membership::{Config, Profile};
use crate::model::{LamportTime, UserEvent, Versions};
use crate::wire::message::{Alive, Ask, Digests, Have, NewsDigest, Want};
use crate::wire::{Dialect, datagram, decode, encode};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// A member with its waves.
struct Waving {
    bench: Bench,
    waves: Waves,
}

/// What a datagram holds, and for whom it is.
type Sent = (SocketAddr, Vec<Message>);

impl Waving {
    /// With `n` others, and long enough for it to be no newcomer.
    fn with_many(n: usize) -> Waving {
        let mut waving = Waving { bench: Bench::with_many(n), waves: Waves::default() };
        waving.tick();
        waving.run(Duration::from_secs(3));
        waving
    }

    fn turn<T>(&mut self, what: impl FnOnce(&mut Waves, &mut WaveTurn) -> T) -> (T, Vec<Sent>) {
        let mut out = Vec::new();
        let Bench { members, now, rng, .. } = &mut self.bench;
        let clocks = [LamportTime(1), LamportTime(1)];
        let mut turn = WaveTurn { members, clocks, now: *now, rng, out: &mut out };
        let result = what(&mut self.waves, &mut turn);
        let budget = self.bench.members.config().datagram_budget;
        assert!(out.iter().all(|sent| sent.bytes.len() <= budget), "a datagram is larger than it may be");
        let sent = out.iter().map(|sent| (sent.to.addr, messages(&sent.bytes))).collect();
        (result, sent)
    }

    /// Says something; answers what is sent at once.
    fn say(&mut self, message: Message, ticket: Option<Ticket>) -> Vec<Sent> {
        let (_, mut sent) = self.turn(|waves, turn| waves.spread([(message, ticket)], turn));
        sent.extend(self.tick());
        sent
    }

    fn tick(&mut self) -> Vec<Sent> {
        self.turn(|waves, turn| waves.tick(turn)).1
    }

    /// A datagram from a member; answers what the rules get, and what is sent at once.
    fn hear(&mut self, from: &str, messages: Vec<Message>) -> (Vec<Message>, Vec<Sent>) {
        let mut arrived = Arrived::default();
        for message in messages {
            let bytes = encode(Dialect::Native, &message);
            arrived.push(message, &bytes);
        }
        self.turn(|waves, turn| waves.arrived(addr(from), arrived, turn))
    }

    /// Everything that is sent until nothing is to be done any more, each with its time.
    fn run(&mut self, until: Duration) -> Vec<(Duration, Sent)> {
        let (start, mut all) = (self.bench.now, Vec::new());
        for _ in 0..10_000 {
            let at = self.waves.next_deadline();
            if at > start + until {
                return all;
            }
            self.bench.now = self.bench.now.max(at);
            let now = self.bench.now.since(start);
            all.extend(self.tick().into_iter().map(|sent| (now, sent)));
        }
        panic!("it never comes to rest");
    }
}

fn messages(bytes: &[u8]) -> Vec<Message> {
    datagram::open(bytes).unwrap().into_iter().map(|part| decode(part).unwrap()).collect()
}

fn event(ltime: u64, payload: &str) -> Message {
    let (name, payload) = ("deploy".into(), payload.into());
    UserEvent { ltime: LamportTime(ltime), name, payload, coalesce: false }.into()
}

fn id(message: &Message) -> NewsId {
    id_of(&Shared::new(message.clone()))
}

fn forward(ring: u8, end: u64) -> Message {
    Forward { ring, end }.into()
}

fn have(message: &Message, answer: bool) -> Message {
    Have { ids: vec![id(message)], answer }.into()
}

/// To whom news is sent in waves, with the ends of the parts.
fn delegated(sent: &[Sent]) -> Vec<(SocketAddr, u8, u64)> {
    let head = |(to, messages): &Sent| match messages.first() {
        Some(Message::Wave(WaveMessage::Forward(Forward { ring, end }))) => Some((*to, *ring, *end)),
        _ => None,
    };
    sent.iter().filter_map(head).collect()
}

/// The member of a bench that is next to `me` on one side of the last ring.
fn neighbour(bench: &Bench, direction: Direction) -> String {
    let at = position(&name("me"), CHECK_RING);
    let ring = bench.members.rings().ring(CHECK_RING);
    neighbours(ring, at, direction).next().map(|(_, name)| name.to_string()).unwrap()
}

use crate::membership::{CHECK_RING, Direction, neighbours, position};

#[test]
fn a_few_are_sent_news_directly_and_many_by_parts_on_two_rings() {
    let mut few = Waving::with_many(arcs::SMALL - 1);
    let sent = few.say(event(1, "x"), None);
    let reached: BTreeSet<SocketAddr> = delegated(&sent).iter().map(|(to, ..)| *to).collect();
    assert_eq!((sent.len(), reached.len()), (arcs::SMALL - 1, arcs::SMALL - 1));
    let mut many = Waving::with_many(99);
    assert!(delegated(&many.say(event(1, "x"), None)).iter().all(|(_, ring, _)| *ring == 0));
    let later = many.run(MS(9));
    let second: Vec<_> = later
        .iter()
        .filter(|(at, sent)| *at == MS(5) && !delegated(std::slice::from_ref(sent)).is_empty())
        .collect();
    assert!((1..=arcs::CUTS).contains(&second.len()), "{}", second.len());
}

#[test]
fn what_one_origin_says_in_a_short_time_shares_datagrams_on_both_rings() {
    let mut many = Waving::with_many(99);
    let at_once = delegated(&many.say(event(1, "0"), None)).len();
    let (start, mut later) = (many.bench.now, Vec::new());
    for i in 1..10 {
        later.extend(many.run(MS(9)));
        many.bench.now = start + MS(10 * i);
        later.extend(many.say(event(1 + i, &i.to_string()), None).into_iter().map(|sent| (MS(0), sent)));
    }
    later.extend(many.run(MS(300)));
    let of = |ring: u8| {
        let sent = |sent: &Sent| delegated(std::slice::from_ref(sent)).iter().any(|(_, on, _)| *on == ring);
        later.iter().filter(|(_, s)| sent(s)).count()
    };
    assert!((1..=arcs::CUTS).contains(&at_once));
    // Nine more in 90 ms: every 20 ms on the first ring, and every 60 ms on the second.
    assert!((4 * at_once..=5 * at_once).contains(&of(0)), "{} after {at_once}", of(0));
    assert!((2 * arcs::CUTS - 4..=3 * arcs::CUTS).contains(&of(1)), "{}", of(1));
}

#[test]
fn what_came_together_goes_on_together() {
    let mut many = Waving::with_many(99);
    let end = position(&name("me"), 0);
    let (to_all, events) = (forward(0, end), (0..5).map(|i| event(1, &i.to_string())));
    let (_, sent) = many.hear("m5", std::iter::once(to_all.clone()).chain(events).collect());
    assert!(delegated(&sent).len() > 4 && sent.iter().all(|(_, messages)| messages.len() == 6), "{sent:?}");
    // What is said of members is passed on once the table has taken it for news.
    let (rules, sent) = many.hear("m6", vec![to_all, alive("x1", 1).into(), alive("x2", 1).into()]);
    assert_eq!((rules.len(), sent.len()), (2, 0));
    let ((), sent) =
        many.turn(|waves, turn| waves.spread(rules.into_iter().map(|message| (message, None)), turn));
    assert!(delegated(&sent).len() > 4 && sent.iter().all(|(_, messages)| messages.len() == 3), "{sent:?}");
}

#[test]
fn where_much_is_said_of_members_it_is_left_to_gossip_and_one_check() {
    let mut many = Waving::with_many(99);
    let count = |sent: &[(Duration, Sent)]| {
        sent.iter().map(|(_, sent)| delegated(std::slice::from_ref(sent)).len()).sum::<usize>()
    };
    // A hundred share 5,000 a second.
    let hundreds = (0..200).map(|i| (alive(&format!("x{i}"), 1).into(), None));
    let ((), sent) = many.turn(|waves, turn| waves.spread(hundreds, turn));
    let later = many.run(MS(4000));
    assert!(sent.is_empty() && count(&later) == 0, "{later:?}");
    assert_eq!(many.waves.take_gossip().len(), 200);
    // Both neighbours are informed, once.
    assert!(later.len() <= 4 && later.iter().all(|(_, (_, messages))| messages.len() == 1), "{later:?}");
    many.bench.now += MS(4000);
    // An event is none of that, and a while later neither is what is said of a member.
    assert!(!delegated(&many.say(event(1, "x"), None)).is_empty());
    many.bench.now += MS(100);
    assert!(!delegated(&many.say(alive("late", 1).into(), None)).is_empty());
    // What an intent says goes with gossip, too, while there is so much.
    many.waves.take_gossip();
    let hundreds = (0..200).map(|i| (leave(&format!("x{i}"), 2).into(), None));
    many.turn(|waves, turn| waves.spread(hundreds, turn));
    let gossiped = many.waves.take_gossip().len();
    assert!((140..160).contains(&gossiped), "{gossiped}");
}

/// Follows a wave through everyone; answers how often each is reached.
fn reached(n: usize, ring: usize, suspected: &[usize]) -> BTreeMap<String, usize> {
    let mut benches = BTreeMap::new();
    let names: Vec<String> = (0..n).map(|i| format!("m{i}")).collect();
    let bench = |who: &str| {
        let mut b = Bench::named(who, Config::for_profile(Profile::Lan));
        names.iter().filter(|other| **other != who).for_each(|other| b.alive(other, 1));
        for i in suspected {
            b.hear(&names[0], vec![suspect(&names[*i], 1, &names[0]).into()]);
        }
        b.forget();
        b
    };
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    let mut waiting = vec![(names[0].clone(), position(&name(&names[0]), ring))];
    while let Some((who, end)) = waiting.pop() {
        let b = benches.entry(who.clone()).or_insert_with(|| bench(&who));
        for delegate in arcs::cut(&b.members, ring, end) {
            *times.entry(delegate.row.name.to_string()).or_default() += 1;
            waiting.push((delegate.row.name.to_string(), delegate.end));
        }
        assert!(times.len() <= n, "it goes on for ever");
    }
    times
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_wave_reaches_everyone_once(n in 2usize..60, ring in 0usize..WAVES, suspected in proptest::collection::vec(1usize..60, 0..4)) {
        let suspected: Vec<usize> = suspected.into_iter().filter(|i| *i < n).collect();
        let times = reached(n, ring, &suspected);
        prop_assert_eq!(times.len(), n - 1, "{:?}", times);
        prop_assert!(times.values().all(|times| *times == 1), "{:?}", times);
    }

    #[test]
    fn whatever_is_sent_costs_no_more_than_it_may(
        parts in proptest::collection::vec((any::<u8>(), any::<u64>()), 1..20),
        ids in proptest::collection::vec(any::<u64>(), 0..40),
        from in 0usize..60,
    ) {
        let mut w = Waving::with_many(50);
        let mut sent = 0;
        for (ring, end) in &parts {
            let (_, now) = w.hear(&format!("m{from}"), vec![forward(*ring, *end), event(2, "x")]);
            sent += delegated(&now).len();
        }
        prop_assert!(sent <= WAVES * arcs::CUTS, "{} datagrams", sent);
        let asked = vec![
            Have { ids: ids.clone(), answer: true }.into(),
            Want { ids }.into(),
            Ask { most: u32::MAX }.into(),
        ];
        let answers = w.hear(&format!("m{from}"), asked).1.len();
        prop_assert!(answers <= 6, "{} answers", answers);
    }
}

#[test]
fn news_is_forwarded_once_on_each_ring_and_then_is_no_news() {
    let mut w = Waving::with_many(50);
    let me = |ring| position(&name("me"), ring);
    let (rules, sent) = w.hear("m1", vec![forward(0, me(0)), event(3, "x")]);
    assert_eq!(rules, [event(3, "x")]);
    assert!((2..=arcs::CUTS).contains(&delegated(&sent).len()));
    let (rules, sent) = w.hear("m2", vec![forward(0, me(0)), event(3, "x")]);
    assert!(rules.is_empty() && sent.is_empty(), "the same ring: {sent:?}");
    let (rules, sent) = w.hear("m3", vec![forward(1, me(1)), event(3, "x")]);
    assert!(rules.is_empty() && delegated(&sent).len() >= 2, "the other ring: {sent:?}");
    // What was first heard a while ago is forwarded no more.
    let mut w = Waving::with_many(50);
    w.hear("m1", vec![event(3, "x")]);
    w.bench.now += FRESH;
    let (_, sent) = w.hear("m2", vec![forward(0, me(0)), event(3, "x")]);
    assert!(delegated(&sent).is_empty(), "{sent:?}");
}

#[test]
fn what_a_stranger_sends_or_what_is_absurd_is_not_forwarded() {
    let mut w = Waving::with_many(50);
    let everyone = forward(0, position(&name("me"), 0));
    let (rules, sent) = w.hear("nobody", vec![everyone.clone(), event(3, "x")]);
    assert_eq!((rules.len(), delegated(&sent).len()), (1, 0));
    let (rules, sent) = w.hear("m1", vec![everyone.clone(), event(u64::MAX, "x")]);
    assert_eq!((rules.len(), sent.len()), (1, 0), "the rules say what is wrong with it");
    // What is said of members is forwarded when the table takes it for news, and not before.
    let news: Message = leave("m9", 7).into();
    let (rules, sent) = w.hear("m1", vec![everyone, news.clone()]);
    assert_eq!((rules.len(), sent.len()), (1, 0));
    let (_, sent) = w.turn(|waves, turn| waves.spread([(news, None)], turn));
    assert!(delegated(&sent).len() >= 2, "{sent:?}");
}

#[test]
fn neighbours_are_informed_and_those_that_stay_silent_are_sent_the_news_ever_farther() {
    let mut w = Waving::with_many(50);
    let next = neighbour(&w.bench, Direction::Forward);
    let before = neighbour(&w.bench, Direction::Backward);
    w.say(event(1, "x"), None);
    let sent = w.run(MS(25));
    let offers: Vec<SocketAddr> = sent
        .iter()
        .filter(|(_, (_, m))| *m == [have(&event(1, "x"), false)])
        .map(|(_, (to, _))| *to)
        .collect();
    assert_eq!(BTreeSet::from_iter(offers), BTreeSet::from([addr(&next), addr(&before)]));
    w.hear(&before, vec![have(&event(1, "x"), false)]);
    let mut far = BTreeSet::new();
    for (at, (to, messages)) in w.run(Duration::from_secs(20)) {
        assert_eq!(messages, [have(&event(1, "x"), true), event(1, "x")], "after {at:?}");
        assert!(to != addr(&before) || at > MS(200), "it has confirmed");
        far.insert(to);
    }
    assert!(far.contains(&addr(&next)) && far.len() >= 4, "{far:?}");
    assert_eq!(w.waves.next_deadline(), Moment::NEVER, "it is given up in the end");
}

#[test]
fn who_lacks_something_asks_for_it_and_gets_it() {
    let (x, mut w) = (event(1, "x"), Waving::with_many(50));
    let (_, sent) = w.hear("m1", vec![have(&x, false)]);
    assert_eq!(sent, [(addr("m1"), vec![Want { ids: vec![id(&x)] }.into()])]);
    assert!(w.hear("m2", vec![have(&x, false)]).1.is_empty(), "it was asked for a moment ago");
    let (rules, sent) = w.hear("m1", vec![x.clone()]);
    assert_eq!((rules, sent), (vec![x.clone()], vec![]), "what comes so starts no wave");
    assert_eq!(w.tick().len(), 2, "and is offered to neighbours at once");
    let (_, sent) = w.hear("m3", vec![Want { ids: vec![id(&x)] }.into()]);
    assert_eq!(sent, [(addr("m3"), vec![x.clone()])]);
    let (_, sent) = w.hear("m3", vec![have(&x, true)]);
    assert_eq!(sent, [(addr("m3"), vec![have(&x, false)])], "an answer to who wants to know");
    let (_, sent) = w.hear("m3", vec![Ask { most: 9 }.into()]);
    assert_eq!(sent, [(addr("m3"), vec![have(&x, false)])]);
    assert!(w.hear("nobody", vec![Ask { most: 9 }.into()]).1.is_empty(), "not to strangers");
}

#[test]
fn what_is_waited_for_ends_when_both_neighbours_have_it() {
    let mut w = Waving::with_many(50);
    let sides = [Direction::Forward, Direction::Backward].map(|side| neighbour(&w.bench, side));
    let x: Message = leave("me", 9).into();
    let sent = w.say(x.clone(), Some(7));
    for side in &sides {
        assert!(sent.contains(&(addr(side), vec![have(&x, true), x.clone()])), "{side} is asked at once");
        assert!(w.waves.take_finished().is_empty());
        w.hear(side, vec![have(&x, false)]);
    }
    assert_eq!(w.waves.take_finished(), [7]);
    let mut alone = Waving { bench: Bench::alone(), waves: Waves::default() };
    alone.say(x, Some(8));
    assert_eq!(alone.waves.take_finished(), [8]);
}

#[test]
fn older_news_about_a_member_is_forgotten_and_stale_news_is_sent_to_nobody() {
    let (old, new): (Message, Message) = (alive("m9", 4).into(), alive("m9", 5).into());
    let mut w = Waving::with_many(50);
    w.say(old.clone(), None);
    w.say(new.clone(), None);
    let wants = |message: &Message| vec![Want { ids: vec![id(message)] }.into()];
    assert!(w.hear("m1", wants(&old)).1.is_empty());
    assert_eq!(w.hear("m1", wants(&new)).1, [(addr("m1"), vec![new.clone()])]);
    w.bench.now += Duration::from_secs(5);
    assert!(w.hear("m1", wants(&new)).1.is_empty());
}

#[test]
fn a_member_that_has_heard_something_else_is_asked_and_offered_what_there_is() {
    let mut w = Waving::with_many(50);
    assert_eq!(w.waves.digests(), None);
    w.say(event(4, "x"), None);
    w.bench.now += Duration::from_secs(1);
    w.tick();
    let digest = w.waves.digests().and_then(|digests| digests.events).unwrap();
    assert_eq!((digest.to, digest.ids), (LamportTime(4), id(&event(4, "x"))));
    let other = NewsDigest { ids: 7, ..digest };
    let says = |digest| vec![Digests { events: Some(digest), queries: None }.into()];
    assert!(w.hear("m1", says(digest)).1.is_empty());
    let looks_into_it = |w: &mut Waving| {
        let sent = w.hear("m1", says(other)).1;
        let asks = |m: &[Message]| matches!(m, [Message::Wave(WaveMessage::Ask(_))]);
        let offers = |m: &[Message]| *m == [Have { ids: vec![id(&event(4, "x"))], answer: false }.into()];
        matches!(&sent[..], [(_, ask), (_, offer)] if asks(ask) && offers(offer))
    };
    assert!(looks_into_it(&mut w));
    assert!(w.hear("m2", says(other)).1.is_empty(), "once a second");
    w.bench.now += Duration::from_secs(1);
    assert!(looks_into_it(&mut w));
    // A member that has been here for longer sees what this one cannot.
    let earlier = NewsDigest { from: LamportTime::ZERO, ..other };
    w.waves.store.begin([LamportTime(3); 2]);
    w.bench.now += Duration::from_secs(1);
    assert!(w.hear("m1", says(earlier)).1.is_empty());
}

#[test]
fn members_without_waves_are_sent_everything_twice_by_three_others() {
    let mut carers: BTreeMap<SocketAddr, BTreeMap<String, usize>> = BTreeMap::new();
    let names: Vec<String> = (0..20).map(|i| format!("m{i}")).collect();
    for me in &names {
        let mut bench = Bench::named(me, Config::for_profile(Profile::Lan));
        names.iter().filter(|other| *other != me).for_each(|other| bench.alive(other, 1));
        for i in 0..6 {
            let theirs = format!("theirs{i}");
            bench
                .hear(&theirs, vec![Alive { versions: Versions::ANY_SUCCESSOR, ..alive(&theirs, 1) }.into()]);
        }
        bench.forget();
        let mut w = Waving { bench, waves: Waves::default() };
        let from = if me == "m0" { "m1" } else { "m0" };
        w.hear(from, vec![forward(0, position(&name(me), 0).wrapping_add(1)), event(2, "x")]);
        for (_, (to, messages)) in w.run(MS(450)) {
            if (0..6).any(|i| to == addr(&format!("theirs{i}"))) {
                assert_eq!(messages, [event(2, "x")], "nothing that they would not understand");
                *carers.entry(to).or_default().entry(me.clone()).or_default() += 1;
            }
        }
    }
    assert_eq!(carers.len(), 6);
    for (who, carers) in carers {
        assert_eq!(carers.values().copied().collect::<Vec<_>>(), [2, 2, 2], "{who}: {carers:?}");
    }
}

#[test]
fn where_few_take_part_news_is_gossiped() {
    let mut w = Waving { bench: Bench::without_waves(5), waves: Waves::default() };
    assert!(w.say(event(1, "x"), Some(3)).is_empty());
    let queued: Vec<_> =
        w.waves.take_gossip().into_iter().map(|(news, ticket)| (news.message().clone(), ticket)).collect();
    assert_eq!(queued, [(event(1, "x"), Some(3))]);
    let (rules, sent) = w.hear("m1", vec![event(2, "y")]);
    assert_eq!((rules.len(), sent.len(), w.waves.take_gossip().len()), (1, 0, 1));
}
