//! Version vectors: which members are admitted, and what becomes of members whose vector changes.

use super::super::versions::judge;
use super::*;
use crate::wire::Dialect;
use proptest::collection::vec;
use proptest::prelude::*;

/// HashiCorp's agent of today.
const THEIRS: [u8; 6] = [1, 5, 2, 2, 5, 5];
/// None that this agent understands.
const UNFIT: [[u8; 6]; 4] = [[0; 6], [5, 1, 2, 2, 5, 5], [3, 9, 3, 2, 5, 5], [1, 4, 2, 2, 4, 4]];

fn v(bytes: [u8; 6]) -> Versions {
    Versions::from_bytes(bytes)
}

fn alive_with(node: &str, incarnation: u32, versions: Versions) -> Message {
    Message::from(Alive { versions, ..alive(node, incarnation) })
}

fn row_with(node: &str, incarnation: u32, state: PeerState, versions: Versions) -> PeerRow {
    PeerRow { versions, ..peer_row(node, incarnation, state) }
}

fn dialect(b: &Bench, node: &str) -> Dialect {
    b.members.row(node).unwrap().target().dialect
}

// ---- admission ---------------------------------------------------------------------------

/// Agents that exist, may come, and cannot be; each by gossip and by push/pull, one by one and
/// all at once.
#[test]
fn only_members_that_understand_us_and_that_we_understand_are_admitted() {
    let table = [
        (THEIRS, true, "HashiCorp's Serf"),
        ([1, 5, 2, 2, 5, 4], true, "speaks an older Serf protocol and understands ours"),
        ([1, 2, 2, 2, 5, 2], true, "the oldest that speaks Serf 2"),
        ([1, 3, 2, 2, 5, 3], true, "the oldest that speaks Serf 3"),
        ([1, 9, 2, 2, 9, 5], true, "a future one of HashiCorp's"),
        ([2, 5, 5, 2, 9, 5], true, "one that speaks the newest that is known"),
        ([1, 255, 2, 2, 255, 5], true, "a successor of ours"),
        ([0, 5, 2, 2, 5, 5], false, "no least version"),
        ([0; 6], false, "no versions at all: a short vector"),
        ([3, 2, 2, 2, 5, 5], false, "turned round"),
        ([1, 5, 2, 5, 2, 5], false, "turned round for Serf"),
        ([1, 5, 9, 2, 5, 5], false, "speaks what it does not understand"),
        ([1, 5, 2, 3, 5, 2], false, "speaks a Serf protocol that it does not understand"),
        ([1, 9, 6, 2, 5, 5], false, "speaks a memberlist protocol that nobody knows"),
        ([3, 5, 4, 2, 5, 5], false, "does not understand our protocol"),
        ([1, 1, 1, 2, 5, 5], false, "is too old for our protocol"),
        ([1, 5, 0, 2, 5, 5], false, "speaks nothing"),
        ([1, 4, 2, 2, 4, 4], false, "does not understand our Serf protocol"),
        ([1, 5, 2, 6, 9, 6], false, "understands newer Serf protocols only"),
        ([1, 5, 2, 0, 5, 1], false, "speaks a Serf protocol that is too old"),
    ];
    let mut together = Bench::alone();
    together.merge(table.map(|(bytes, _, who)| row_with(who, 1, PeerState::Alive, v(bytes))).to_vec());
    for (bytes, admitted, who) in table {
        let (mut heard, mut merged) = (Bench::alone(), Bench::alone());
        heard.news(alive_with(who, 1, v(bytes)));
        merged.merge(vec![row_with(who, 1, PeerState::Alive, v(bytes))]);
        for b in [heard, merged] {
            assert_eq!(b.status(who), if admitted { "alive" } else { "none" });
            assert_eq!(b.fx.is_empty(), !admitted, "{who}: {:?}", b.fx);
        }
        assert_eq!(together.members.row(who).is_some(), admitted, "one does not matter to another: {who}");
    }
    // A member that knows no checksums gets none.
    let checksum = |who| together.members.row(who).unwrap().target().checksum;
    assert!(checksum("HashiCorp's Serf") && !checksum("the oldest that speaks Serf 3"));
}

#[test]
fn an_exchange_is_refused_only_if_it_brings_no_member_that_can_be_admitted() {
    use PeerState::*;
    let unfit = |node: &str, state| row_with(node, 1, state, v(UNFIT[1]));
    let b = Bench::alone();
    let refused = |rows: Vec<PeerRow>| b.members.refuses(&push_pull(rows));
    let why = refused(vec![unfit("a", Alive), unfit("b", Alive), peer_row("me", 1, Alive)]);
    assert!(why.is_some_and(|why| why.starts_with("'a' (10.") && why.contains("make no sense")));
    assert!(refused(vec![unfit("a", Suspect), peer_row("gone", 1, Left)]).is_some());
    assert_eq!(refused(vec![unfit("a", Alive), row_with("b", 1, Alive, v(THEIRS))]), None);
    assert_eq!(refused(vec![peer_row("b", 1, Alive), unfit("a", Alive)]), None);
    assert_eq!(refused(vec![unfit("a", Left), unfit("b", Dead)]), None, "nobody is there to be refused");
    assert_eq!(refused(vec![unfit("me", Alive)]), None, "about this process it knows better");
    assert_eq!(refused(vec![]), None);
}

/// memberlist's rule: what each speaks, all understand.
fn compatible(cluster: &[[u8; 6]]) -> bool {
    [0, 3].into_iter().all(|at| {
        let (least, most) =
            (cluster.iter().map(|v| v[at]).max().unwrap(), cluster.iter().map(|v| v[at + 1]).min().unwrap());
        cluster.iter().all(|v| (least..=most).contains(&v[at + 2]))
    })
}

/// Bytes near those that mean something.
fn vector() -> impl Strategy<Value = [u8; 6]> {
    let near = || prop_oneof![6 => 0u8..8, 1 => 62u8..68, 1 => any::<u8>()];
    let any = [near(), near(), near(), near(), near(), near()];
    let close = (any.clone(), 0usize..6).prop_map(|(other, at)| {
        let mut vector = THEIRS;
        vector[at] = other[at];
        vector
    });
    prop_oneof![any, close]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

    /// A member that is admitted is passed on to everyone. In a cluster of both kinds,
    /// HashiCorp's agents then refuse nobody's push/pull for it; and nobody is refused without need.
    #[test]
    fn those_are_admitted_with_whom_all_can_merge(vector in vector()) {
        let all_can = vector[0] > 0 && compatible(&[THEIRS, Versions::OURS.to_bytes(), vector]);
        prop_assert_eq!(judge(&v(vector), false).is_ok(), all_can);
        prop_assert_eq!(judge(&v(vector), true).is_ok(), all_can && v(vector).speaks_native());
    }

    #[test]
    fn an_unfit_vector_changes_nothing_about_a_member(
        vector in vector().prop_filter("unfit", |vector| judge(&v(*vector), false).is_err()),
        incarnation in 0u32..4,
        state in proptest::sample::select(vec![
            PeerState::Alive, PeerState::Suspect, PeerState::Dead, PeerState::Left,
        ]),
        suspected in any::<bool>(),
    ) {
        let mut b = Bench::with(&["a", "b"]);
        if suspected {
            b.suspect("a", 1, "b");
        }
        b.forget();
        let table = |b: &Bench| format!("{:?}", b.members.rows().collect::<Vec<_>>());
        let before = table(&b);
        b.news(alive_with("a", incarnation, v(vector)));
        b.merge(vec![row_with("a", incarnation, state, v(vector)), row_with("c", 1, state, v(vector))]);
        b.silent();
        prop_assert_eq!(table(&b), before);
    }

    /// Different kinds of agent in different incarnations, and in the same.
    #[test]
    fn runs_of_different_kinds_end_the_same_in_any_order(
        (news, shuffled) in vec((1u32..4, 0usize..3, any::<bool>(), any::<bool>()), 1..8)
            .prop_flat_map(|news| (Just(news.clone()), Just(news).prop_shuffle())),
    ) {
        let hear = |news: &[(u32, usize, bool, bool)]| {
            let mut b = Bench::with_many(3);
            for (incarnation, kind, tagged, by_gossip) in news {
                let versions = [Versions::OURS, v(THEIRS), v([1, 4, 2, 2, 5, 3])][*kind];
                let meta = if *tagged { b"role".to_vec() } else { no_tags() };
                let alive = Alive { versions, meta: meta.clone(), ..alive("a", *incarnation) };
                if *by_gossip {
                    b.news(Message::from(alive));
                } else {
                    let row = row_with("a", *incarnation, PeerState::Alive, versions);
                    b.merge(vec![PeerRow { meta, ..row }]);
                }
            }
            let row = b.members.row("a").unwrap();
            (row.incarnation, row.versions, row.meta.clone(), b.members.digest())
        };
        prop_assert_eq!(hear(&news), hear(&shuffled));
    }
}

// ---- vectors that change -----------------------------------------------------------------

#[test]
fn a_member_that_changes_its_kind_is_spoken_to_in_its_new_tongue() {
    let mut b = Bench::with(&["a"]);
    let steps = [
        (THEIRS, Dialect::Hashicorp, true, "ours is replaced by HashiCorp's"),
        ([1, 4, 2, 2, 5, 3], Dialect::Hashicorp, false, "which is downgraded"),
        ([1, 9, 2, 2, 9, 5], Dialect::Hashicorp, true, "and upgraded"),
        (Versions::OURS.to_bytes(), Dialect::Native, true, "and replaced by ours"),
        ([1, 70, 2, 2, 5, 5], Dialect::Native, true, "which is upgraded"),
    ];
    for ((bytes, tongue, checksum, step), incarnation) in steps.into_iter().zip(2..) {
        b.news(alive_with("a", incarnation, v(bytes)));
        assert!(b.delivered().is_empty(), "{step}: no event, as in memberlist");
        assert_eq!(b.said(), [format!("alive a {incarnation}")], "{step}");
        let row = b.members.row("a").unwrap();
        assert_eq!((row.versions, dialect(&b, "a")), (v(bytes), tongue), "{step}");
        assert_eq!(row.target().checksum, checksum, "{step}");
        assert_eq!(row.peer_row().versions, v(bytes), "{step}");
    }
    let expected = b.members.digest();
    b.news(alive_with("a", 3, v(THEIRS)));
    b.silent();
    assert_eq!(b.members.digest(), expected, "what is over does not count");
}

/// Killed and replaced within a moment: nobody has noticed, and the new agent begins with the
/// incarnation that the old one still was in.
#[test]
fn a_change_of_kind_within_one_incarnation_is_resolved_by_the_member_itself() {
    for (was, is, tongue) in [
        (Versions::OURS, v(THEIRS), Dialect::Hashicorp),
        // Until it restates, it is spoken to as it was. Ours understand that.
        (v(THEIRS), Versions::OURS, Dialect::Hashicorp),
    ] {
        let mut b = Bench::alone();
        b.news(alive_with("a", 1, was));
        b.forget();
        b.news(alive_with("a", 1, is));
        assert_eq!(dialect(&b, "a"), tongue);
        // Both have been heard of: one that hears them the other way round keeps the same one.
        let mut c = Bench::alone();
        c.news(alive_with("a", 1, is));
        c.news(alive_with("a", 1, was));
        assert_eq!(c.members.digest(), b.members.digest());

        if is != Versions::OURS {
            continue;
        }
        let mut a = Bench::named("a", Config::for_profile(Profile::Lan));
        a.merge(b.members.push_pull(true, Default::default()).rows);
        assert!(a.said().contains(&"alive a 2".to_string()), "it hears that it is taken for another kind");
        b.news(alive_with("a", 2, is));
        assert_eq!(dialect(&b, "a"), Dialect::Native);
    }
}

#[test]
fn differing_views_of_a_members_versions_show_in_the_digest() {
    let (mut b, mut c) = (Bench::alone(), Bench::alone());
    b.news(alive_with("a", 1, Versions::OURS));
    c.news(alive_with("a", 1, v(THEIRS)));
    assert_ne!(b.members.digest(), c.members.digest());
    b.merge(c.members.push_pull(false, Default::default()).rows);
    assert_eq!(b.members.digest(), c.members.digest());
}

#[test]
fn a_member_whose_vector_becomes_unfit_stays_what_it_was_and_can_fail_and_return() {
    for unfit in UNFIT {
        let mut b = Bench::with(&["a", "b"]);
        b.news(alive_with("a", 2, v(unfit)));
        b.merge(vec![row_with("a", 3, PeerState::Alive, v(unfit))]);
        assert_eq!((b.status("a"), b.incarnation("a")), ("alive", 1), "{unfit:?}");
        // A suspicion is not refuted by what cannot be believed.
        b.suspect("a", 1, "b");
        b.news(alive_with("a", 2, v(unfit)));
        assert!(b.is_suspect("a"), "{unfit:?}");
        b.pass(S(60));
        assert_eq!(b.status("a"), "failed", "{unfit:?}");
        b.news(alive_with("a", 3, v(unfit)));
        b.merge(vec![row_with("a", 3, PeerState::Alive, v(unfit))]);
        assert_eq!(b.status("a"), "failed", "{unfit:?}");
        // Repaired, it is a member again; nothing of the time between is held against it.
        b.news(alive_with("a", 2, v(THEIRS)));
        assert_eq!((b.status("a"), dialect(&b, "a")), ("alive", Dialect::Hashicorp), "{unfit:?}");
    }
}

#[test]
fn a_rival_with_an_unfit_vector_is_no_rival() {
    let elsewhere = addr("elsewhere");
    for (who, unfit) in ["a", "me"].into_iter().flat_map(|who| UNFIT.map(|unfit| (who, unfit))) {
        let mut b = Bench::with(&["a"]);
        b.news(Message::from(Alive { addr: elsewhere, versions: v(unfit), ..alive(who, 9) }));
        b.silent();
        let source = crate::wire::message::Source { node: name(who), addr: elsewhere };
        assert_eq!(b.members.rival_at(&source), None);
    }
}

// ---- this very process -------------------------------------------------------------------

#[test]
fn a_wrong_vector_of_this_process_is_put_right_whatever_it_is() {
    for wrong in UNFIT.into_iter().chain([THEIRS]) {
        for state in [PeerState::Alive, PeerState::Suspect, PeerState::Dead] {
            let mut b = Bench::with(&["a"]);
            b.merge(vec![row_with("me", 1, state, v(wrong))]);
            assert_eq!(b.said(), ["alive me 2"], "{wrong:?} {state:?}");
        }
        let mut b = Bench::with(&["a"]);
        b.news(alive_with("me", 4, v(wrong)));
        assert_eq!(b.said(), ["alive me 5"], "{wrong:?}");
        b.news(alive_with("me", 4, v(wrong)));
        b.silent();
    }
}

/// It takes the place of one of HashiCorp's, under the same name and address, and those that speak
/// both dialects have not noticed.
#[test]
fn a_member_that_speaks_native_only_informs_those_that_remember_another_kind() {
    let mut b = Bench::configured(Config { native_only: true, ..Config::for_profile(Profile::Lan) });
    b.merge(vec![row_with("me", 7, PeerState::Alive, v(THEIRS)), peer_row("a", 1, PeerState::Alive)]);
    let Some(Message::Membership(MembershipMessage::Alive(mine))) = b.fx.broadcasts.pop() else {
        panic!("it says nothing")
    };
    assert_eq!((mine.incarnation, mine.versions), (Incarnation(8), Versions::OURS));
}
