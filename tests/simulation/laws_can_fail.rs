//! Proof that the laws can be broken: each checker is shown a history that breaks it, and one
//! close by that does not.

use crate::agreement::{Disagreement, Fact, Facts, compare};
use crate::membership_laws::{
    Observer, Phase, Sight, Violation, believes_in_itself, fits_budget, known_or_asking, moves_on,
    queue_is_bounded,
};
use crate::world::World;
use serf::membership::{Config, Effects, Members, Profile, SelfDescription};
use serf::model::{
    Incarnation, LamportTime, Member, MemberEvent, MemberEventKind, Meta, Moment, NodeName, Status, Tags,
    Versions,
};
use serf::wire::message::LeaveIntent;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use MemberEventKind::{Failed, Join, Leave, Reap, Update};

fn name(s: &str) -> NodeName {
    NodeName::new(s).expect("a short name")
}

fn addr(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n], 7946))
}

fn event(kind: MemberEventKind, status: Status) -> MemberEvent {
    let (name, addr, meta) = (name("a"), addr(1), Meta::from(&b"\xff\x80"[..]));
    let member = Member { name, addr, meta, status, versions: Versions::OURS, incarnation: Incarnation(1) };
    MemberEvent { kind, member }
}

/// The event with the status that belongs to it.
fn proper(kind: MemberEventKind) -> MemberEvent {
    event(
        kind,
        match kind {
            Join | Update => Status::Alive,
            Leave => Status::Left,
            Failed | Reap => Status::Failed,
        },
    )
}

fn tell(kinds: &[MemberEventKind]) -> Result<Observer, Violation> {
    let mut observer = Observer::default();
    kinds.iter().try_for_each(|kind| observer.event(&proper(*kind)))?;
    Ok(observer)
}

#[test]
fn events_take_turns() {
    for good in [
        &[Join][..],
        &[Join, Update, Leave, Join],
        &[Join, Failed, Leave, Reap, Join, Failed, Reap],
        &[Join, Failed, Join],
    ] {
        assert!(tell(good).is_ok(), "{good:?}");
    }
    for bad in [
        &[Join, Join][..],
        &[Join, Update, Join],
        &[Leave],
        &[Failed],
        &[Update],
        &[Reap],
        &[Join, Reap],
        &[Join, Leave, Leave],
        &[Join, Leave, Failed],
        &[Join, Failed, Failed],
        &[Join, Failed, Update],
        &[Join, Leave, Reap, Leave],
    ] {
        assert!(matches!(tell(bad), Err(Violation::EventOutOfOrder { .. })), "{bad:?}");
    }
}

#[test]
fn an_event_fits_the_status_it_carries() {
    for (before, kind, status) in [
        (&[][..], Join, Status::Left),
        (&[Join], Leave, Status::Alive),
        (&[Join], Leave, Status::Failed),
        (&[Join], Failed, Status::Left),
        (&[Join], Update, Status::Failed),
        (&[Join, Failed], Reap, Status::Alive),
    ] {
        let mut observer = tell(before).expect("a proper history");
        let verdict = observer.event(&event(kind, status));
        assert!(matches!(verdict, Err(Violation::EventContradictsItself { .. })), "{kind} {status}");
    }
}

fn sight(incarnation: u32, phase: Phase) -> Sight {
    Sight { name: name("a"), incarnation: Incarnation(incarnation), phase }
}

/// Shows an observer that was told `kinds` a table with `sights` of one member, one after the
/// other; before the last of them it is told `then`.
fn show(kinds: &[MemberEventKind], then: &[MemberEventKind], sights: &[Sight]) -> Result<(), Violation> {
    let stated = BTreeMap::from([(name("a"), Incarnation(9))]);
    let mut observer = tell(kinds)?;
    for (i, sight) in sights.iter().enumerate() {
        if i + 1 == sights.len() {
            then.iter().try_for_each(|kind| observer.event(&proper(*kind)))?;
        }
        observer.table([sight.clone()].into_iter(), &stated)?;
    }
    Ok(())
}

#[test]
fn incarnations_never_fall_and_are_never_invented() {
    use Phase::{Alive, Suspect};
    assert_eq!(show(&[Join], &[], &[sight(2, Alive), sight(3, Suspect), sight(3, Alive)]), Ok(()));
    let fell = show(&[Join], &[], &[sight(3, Alive), sight(2, Alive)]);
    assert!(matches!(fell, Err(Violation::IncarnationFell { .. })));
    // A member that was forgotten may start anew.
    assert_eq!(show(&[Join], &[Failed, Reap, Join], &[sight(3, Alive), sight(1, Alive)]), Ok(()));
    let invented = show(&[Join], &[], &[sight(10, Alive)]);
    assert!(matches!(invented, Err(Violation::InventedIncarnation { .. })));
}

#[test]
fn nobody_rises_without_refuting() {
    use Phase::{Alive, Left, Suspect};
    for (kinds, gone) in [(&[Join, Failed][..], Phase::Failed), (&[Join, Leave], Left)] {
        assert_eq!(show(kinds, &[Join], &[sight(3, gone), sight(4, Alive)]), Ok(()));
        for back in [Alive, Suspect] {
            let rose = show(kinds, &[Join], &[sight(3, gone), sight(3, back)]);
            assert!(matches!(rose, Err(Violation::RoseWithoutRefuting { .. })), "{gone:?} {back:?}");
        }
    }
}

#[test]
fn events_and_table_tell_the_same_story() {
    use Phase::{Alive, Left, Suspect};
    let good =
        [(&[Join][..], Alive), (&[Join], Suspect), (&[Join, Failed], Phase::Failed), (&[Join, Leave], Left)];
    for (kinds, phase) in good {
        assert_eq!(show(kinds, &[], &[sight(1, phase)]), Ok(()), "{kinds:?} {phase:?}");
    }
    let bad = [
        (&[][..], Alive),
        (&[Join], Left),
        (&[Join], Phase::Failed),
        (&[Join, Failed], Left),
        (&[Join, Leave], Alive),
        (&[Join, Failed, Reap], Phase::Failed),
    ];
    for (kinds, phase) in bad {
        let verdict = show(kinds, &[], &[sight(1, phase)]);
        assert!(matches!(verdict, Err(Violation::EventsContradictTable { .. })), "{kinds:?} {phase:?}");
    }
    // Someone vanishes from the table without a word.
    let vanished = tell(&[Join]).and_then(|mut o| o.table([].into_iter(), &BTreeMap::new()));
    assert!(matches!(vanished, Err(Violation::EventsContradictTable { .. })));
}

fn lonely() -> Members {
    let me = SelfDescription { name: name("me"), addr: addr(1), tags: Tags::default() };
    let config = Config::for_profile(Profile::Lan);
    Members::new(config, me, Moment::ZERO, &mut Effects::default()).expect("small tags")
}

#[test]
fn a_member_believes_in_itself() {
    let (mut members, mut fx) = (lonely(), Effects::default());
    let accusation = LeaveIntent { ltime: LamportTime(5), node: name("me"), prune: false };
    members.leave_intent(&accusation, Moment::ZERO, &mut fx);
    assert_eq!(believes_in_itself(members.my_row()), Ok(()));
    members.begin_leave(Moment::ZERO, &mut fx);
    assert_eq!(believes_in_itself(members.my_row()), Err(Violation::DeniesItself));
    members.finish_leave(Moment::ZERO, &mut fx);
    assert_eq!(believes_in_itself(members.my_row()), Err(Violation::DeniesItself));
}

#[test]
fn what_is_sent_and_queued_is_bounded() {
    assert_eq!(fits_budget(1400, &lonely()), Ok(()));
    assert!(matches!(fits_budget(1401, &lonely()), Err(Violation::Oversized { .. })));
    assert_eq!(queue_is_bounded(3, 3), Ok(()));
    assert!(matches!(queue_is_bounded(4, 3), Err(Violation::QueueTooLong { .. })));
    assert_eq!(moves_on(2), Ok(()));
    assert_eq!(moves_on(64), Err(Violation::BusyLoop));
    let members = BTreeSet::from([addr(1)]);
    assert_eq!(known_or_asking(addr(1), &members, &[]), Ok(()));
    assert_eq!(known_or_asking(addr(2), &members, &[addr(2)]), Ok(()));
    assert!(matches!(known_or_asking(addr(2), &members, &[]), Err(Violation::SentToOutsider { .. })));
}

#[test]
fn a_view_is_compared_with_the_truth() {
    let fact = Fact { addr: addr(1), meta: vec![1], incarnation: Incarnation(1) };
    let truth = Facts::from([(name("a"), fact.clone()), (name("b"), fact.clone())]);
    assert_eq!(compare(&truth, &truth.clone()), Ok(()));
    let mut view = truth.clone();
    view.remove(&b"a"[..]);
    assert_eq!(compare(&truth, &view), Err(Disagreement::Misses(name("a"))));
    assert_eq!(compare(&view, &truth), Err(Disagreement::Imagines(name("a"))));
    for wrong in [
        Fact { addr: addr(2), ..fact.clone() },
        Fact { meta: vec![2], ..fact.clone() },
        Fact { incarnation: Incarnation(2), ..fact.clone() },
    ] {
        let view = Facts::from([(name("a"), wrong), (name("b"), fact.clone())]);
        assert_eq!(compare(&truth, &view), Err(Disagreement::Outdated(name("a"))));
    }
}

/// Two members that have met.
fn pair() -> World {
    let mut world = World::new(1, Config::for_profile(Profile::Lan));
    for n in ["a", "b"] {
        let pid = world.start(&name(n), world.fresh_address(), Tags::default());
        world.join_somewhere(pid);
    }
    world.settle_within(Duration::from_secs(5));
    world
}

/// The world applies the laws: a table that was changed behind its back stops the run.
#[test]
#[should_panic = "EventsContradictTable"]
fn the_world_notices_a_change_of_which_nobody_was_told() {
    let mut world = pair();
    let mut swallowed = Effects::default();
    let now = world.now;
    world.act(0, |node, _, _| {
        let dead =
            serf::wire::message::Dead { incarnation: Incarnation(1), node: name("b"), from: name("x") };
        node.table.members.dead(&dead, now, &mut swallowed);
    });
    world.inspect_all();
}

#[test]
#[should_panic = "no agreement"]
fn the_world_notices_that_nobody_agrees() {
    let mut world = pair();
    let tags = Tags::from_pairs(["swallowed=yes"]).expect("a small tag");
    let now = world.now;
    world.act(0, |node, _, _| drop(node.table.members.set_tags(tags, now, &mut Effects::default())));
    world.settle_within(Duration::ZERO);
}

#[test]
#[should_panic = "SentToOutsider"]
fn the_world_notices_what_is_sent_to_outsiders() {
    let outsider = SocketAddr::from(([203, 0, 113, 1], 7946));
    let stray = serf::node::outbox::OutgoingDatagram { to: outsider, bytes: vec![0], probe: None };
    pair().act(0, |_, _, out| out.datagrams.push(stray));
}

#[test]
fn a_seed_decides_everything() {
    let run = |seed| {
        let mut storm = crate::storm::Storm::from_seed(seed, 5..=8);
        let mut world = World::new(seed, storm.config.clone());
        world.log = Some(Vec::new());
        storm.gather(&mut world);
        storm.rage(&mut world);
        world.log.take()
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}
