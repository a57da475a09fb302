//! Tables as large as are admitted: everyone can join, and everything can be listed.

use crate::harness::notes::note;
use crate::harness::stand_in::StandIn;
use crate::harness::{Agent, Network, soon, wait_until, within};
use serf::model::{Incarnation, LamportTime, NodeName, Tags, Versions};
use serf::wire::Dialect;
use serf::wire::message::{PeerRow, PeerState};
use serf::wire::stream::StreamMessage;
use std::net::{Ipv4Addr, SocketAddr};

/// How many members are invented, and how many of them are named in one push/pull.
const INVENTED: u32 = 50_000;
const AT_ONCE: usize = 10_000;
/// What such a table may take in all, in KiB: names and tags of 27 MB, and four hundred bytes more for each.
const RESIDENT_KIB: u64 = 112 * 1024;

/// Members of which there is nothing: at addresses where nothing listens, outside all networks of tests.
fn invented() -> Vec<PeerRow> {
    let row = |number: u32| {
        let [_, a, b, c] = number.to_be_bytes();
        let tags = Tags::from_pairs([format!("n={number:0500}")]).expect("a pair");
        PeerRow {
            node: NodeName::new(format!("invented-{number}")).expect("a name"),
            addr: SocketAddr::from((Ipv4Addr::new(127, 224 + a, b, c), 7946)),
            meta: tags.encode().expect("as much as fits"),
            incarnation: Incarnation(1),
            state: PeerState::Alive,
            leaving: false,
            status_ltime: LamportTime(1),
            versions: Versions::OURS,
        }
    };
    (0..INVENTED).map(row).collect()
}

fn knows(agent: &Agent, count: u32) -> Result<(), String> {
    let members = agent.info("serf", "members")?;
    if members.parse() == Ok(count) { Ok(()) } else { Err(format!("{} knows {members}", agent.name())) }
}

#[test]
fn a_newcomer_joins_fifty_thousand_members_with_full_tags_lists_them_and_another_joins_through_it() {
    let net = Network::claim_apart();
    let first = net.agent("first", 1).start();
    let member = StandIn::start("s", net.gossip(9), Versions::OURS.to_bytes());
    for rows in invented().chunks(AT_ONCE) {
        let answer = member.join(first.gossip(), Dialect::Native, rows.to_vec());
        assert!(matches!(answer, StreamMessage::PushPull(_)), "{answer:?}");
    }
    wait_until(soon(), "all are admitted", || knows(&first, INVENTED + 2));

    let second = net.agent("second", 2).join(first.gossip()).start();
    wait_until(within(120), "the second knows all", || knows(&second, INVENTED + 3));
    let listed = second.members().expect("it lists them");
    assert_eq!(listed.len(), INVENTED as usize + 3);
    assert!(listed.iter().all(|m| !m.name.starts_with("invented") || m.tags[0].1.len() == 500));
    let answer = second.ctl(&["members", "-name=invented-4.*7", "-status=alive|failed"]);
    let count = answer.stdout.lines().count();
    assert!(answer.stdout.contains("invented-49997"), "{count} lines");

    let third = net.agent("third", 3).join(second.gossip()).start();
    wait_until(within(120), "the third knows all", || knows(&third, INVENTED + 4));
    for agent in [&first, &second, &third] {
        let resident = agent.rss_kib();
        note(&format!("{}: {resident} KiB resident with {INVENTED} members", agent.name()));
        assert!(resident < RESIDENT_KIB, "{}: {resident} KiB", agent.name());
    }
}
