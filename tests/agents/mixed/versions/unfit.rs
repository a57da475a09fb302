//! Version vectors that no agent can live with.

use super::{FOUR, THEIRS, THREE, nobody_complains, shows_protocol, spec, three};
use crate::harness::peers::hashicorp_serf;
use crate::harness::rpc::counter;
use crate::harness::stand_in::StandIn;
use crate::harness::{Agent, Network, all_list, all_see, promised, soon, wait_until};
use crate::mixed::handled_once;
use serf::model::{Incarnation, Versions};
use serf::wire::message::{Message, PeerRow, PeerState};
use serf::wire::stream::StreamMessage;
use serf::wire::{Dialect, encode};
use std::time::Instant;

const BOTH: [Dialect; 2] = [Dialect::Native, Dialect::Hashicorp];
/// None that any agent can live with.
const UNFIT: [[u8; 6]; 5] =
    [[0; 6], [5, 1, 2, 2, 5, 5], [3, 9, 3, 2, 5, 5], [1, 4, 2, 2, 4, 4], [1, 5, 2, 2, 5, 9]];
const REFUSAL: &str = "Ignoring what is said of";

/// Whether an agent has said that it refuses what is said of a member, and not more than once a
/// minute since `start`.
fn says_rarely(agent: &Agent, about: &str, start: Instant) {
    let count = || agent.log_count(&format!("{REFUSAL} '{about}'"));
    wait_until(soon(), "it says so", || if count() > 0 { Ok(()) } else { Err("it does not".into()) });
    let (said, most) = (count(), 1 + start.elapsed().as_secs() / 60);
    assert!(said as u64 <= most, "said of {about}: {said} times, {most} at most");
}

/// The bytes of an alive message in HashiCorp's dialect whose vector has been cut to this length.
fn with_short_vector(stand_in: &StandIn, incarnation: u32, length: u8) -> Vec<u8> {
    let mut bytes = encode(Dialect::Hashicorp, &Message::from(stand_in.alive(incarnation, THEIRS)));
    let at = bytes.windows(4).position(|w| w == b"Vsn\xa6").expect("it has a vector") + 3;
    bytes[at] = 0xa0 | length;
    bytes.drain(at + 1 + usize::from(length)..at + 7);
    bytes
}

#[test]
fn an_unfit_vector_is_refused_and_harms_nobody() {
    let Some(theirs) = hashicorp_serf() else { return };
    let net = Network::claim();
    let agents = three(&theirs, &net);
    let all = agents.each_ref();
    let [o1, o2, h1] = all;

    let start = Instant::now();
    // By gossip, in both dialects, again and again; each time something else, as the same is looked at once.
    let stranger = StandIn::start("unfit", net.gossip(9), UNFIT[0]);
    let mut sent = 0;
    while counter(o1, "refused_malformed") < 200 {
        for versions in UNFIT {
            for dialect in BOTH {
                let alive = Message::from(stranger.alive(1 + sent, versions));
                stranger.send(o1.gossip(), &encode(dialect, &alive));
            }
        }
        for length in 0..6 {
            stranger.send(o1.gossip(), &with_short_vector(&stranger, 1 + sent, length));
        }
        sent += 1;
        assert!(sent < 10_000, "it is not counted");
    }
    // As it joins or is joined: it is told why not.
    let why = stranger.join(o1.gossip(), Dialect::Hashicorp, vec![]);
    let expected = "cannot be a member: its protocol versions make no sense";
    assert!(matches!(&why, StreamMessage::Error(why) if why.contains(expected)), "{why:?}");
    let refused = o1.ctl(&["join", &net.gossip(9).to_string()]);
    assert!(refused.refused().contains(expected), "{refused}");
    // In the company of one that is in order.
    let friend = StandIn::start("s", net.gossip(10), THEIRS);
    let unfit_row = |state, versions| PeerRow {
        state,
        versions: Versions::from_bytes(versions),
        incarnation: Incarnation(3),
        ..stranger.row()
    };
    let known_row = |of: &str, versions| {
        let host = if of == "o2" { o2 } else { h1 };
        PeerRow {
            node: serf::model::NodeName::new(of).unwrap(),
            addr: host.gossip(),
            ..unfit_row(PeerState::Dead, versions)
        }
    };
    let mut company = Vec::new();
    for versions in UNFIT {
        company.extend(
            [PeerState::Alive, PeerState::Suspect, PeerState::Dead, PeerState::Left]
                .map(|s| unfit_row(s, versions)),
        );
        company.extend(["o2", "h1"].map(|of| known_row(of, versions)));
    }
    let answer = friend.join(o1.gossip(), Dialect::Hashicorp, company);
    assert!(matches!(answer, StreamMessage::PushPull(_)), "one bad entry blocks a join: {answer:?}");

    wait_until(promised(10), "who is in order is a member for all", || all_list(&all, &FOUR));
    // Whoever joins or exchanges goes on to do so, with either kind.
    let o3 = spec(&net, "o3", 4).join(o1.gossip()).start();
    let h2 = spec(&net, "h2", 5).program(&theirs).join(o1.gossip()).start();
    h2.ctl(&["join", &h1.gossip().to_string()]).ok();
    o3.ctl(&["join", &h1.gossip().to_string()]).ok();
    let six = [&FOUR[..], &[("h2", "alive"), ("o3", "alive")]].concat();
    let everyone = [o1, o2, h1, &o3, &h2];
    wait_until(promised(10), "newcomers are members for all", || all_list(&everyone, &six));

    // Said once about each name, and not by those to whom nobody passed it on.
    for about in ["unfit", "o2", "h1"] {
        says_rarely(o1, about, start);
    }
    assert_eq!(o2.log_count(REFUSAL) + o3.log_count(REFUSAL), 0, "it is not passed on");
    for agent in everyone {
        assert_eq!(agent.log_count("EventMemberFailed") + agent.log_count("EventMemberLeave"), 0);
    }
    nobody_complains(&everyone, &[REFUSAL, "Refusing a push/pull from"]);
}

#[test]
fn a_member_whose_vector_becomes_unfit_stays_what_it_was() {
    let Some(theirs) = hashicorp_serf() else { return };
    let net = Network::claim();
    let agents = three(&theirs, &net);
    let all = agents.each_ref();
    let [o1, o2, h1] = all;
    let member = StandIn::start("s", net.gossip(9), THEIRS);
    member.join(o1.gossip(), Dialect::Hashicorp, vec![]);
    wait_until(promised(10), "all see it", || all_list(&all, &FOUR));

    let (before, start) = (counter(o1, "refused_malformed"), Instant::now());
    let mut incarnation = 1;
    while counter(o1, "refused_malformed") < before + 50 {
        for versions in UNFIT {
            incarnation += 1;
            for dialect in BOTH {
                let alive = Message::from(member.alive(incarnation, versions));
                member.send(o1.gossip(), &encode(dialect, &alive));
            }
        }
        assert!(incarnation < 10_000, "it is not counted");
    }
    assert_eq!(shows_protocol(&all, "s", [2, 5, 5]), Ok(()), "it stays what it was");
    says_rarely(o1, "s", start);
    assert_eq!(o2.log_count(REFUSAL), 0, "it is not passed on");

    // It still answers, so it is here. What it says in a way that can be understood counts, though
    // not an incarnation that it never stated.
    member.become_another([1, 5, 2, 2, 5, 4], o1.gossip(), Dialect::Hashicorp);
    wait_until(soon(), "its next vector is taken by ours", || shows_protocol(&[o1, o2], "s", [2, 5, 4]));
    for agent in [o1, o2, h1] {
        assert_eq!(agent.failures_reported("s"), 0, "{}", agent.name());
    }
    nobody_complains(&all, &[REFUSAL]);
    // Once it is gone it fails like anyone else.
    drop(member);
    wait_until(promised(30), "its end is noticed", || all_see(&all, &[("s", "failed")]));
}

/// memberlist takes such a vector from gossip, and refuses every push/pull from then on.
#[test]
fn what_ends_the_exchanges_of_hashicorps_agents_does_not_end_ours() {
    let Some(theirs) = hashicorp_serf() else { return };
    let net = Network::claim();
    let agents = three(&theirs, &net);
    let [o1, o2, h1] = agents.each_ref();
    let too_old = [1, 4, 2, 2, 4, 4];
    let member = StandIn::start("unfit", net.gossip(9), too_old);
    member.become_another(too_old, h1.gossip(), Dialect::Hashicorp);
    wait_until(soon(), "HashiCorp's agent takes it in", || all_see(&[h1], &[("unfit", "alive")]));
    for agent in [o1, o2] {
        wait_until(soon(), "it passes it on, and ours refuse it", || match agent.log_count(REFUSAL) {
            0 => Err(format!("{} has not heard of it", agent.name())),
            _ => Ok(()),
        });
    }
    let refused = h1.ctl(&["join", &o1.gossip().to_string()]);
    assert!(refused.refused().contains("incompatible"), "what ours are spared: {refused}");

    let o3 = spec(&net, "o3", 4).join(h1.gossip()).start();
    o1.ctl(&["join", &h1.gossip().to_string()]).ok();
    let ours = [o1, o2, &o3];
    let four = [&THREE[..], &[("o3", "alive")]].concat();
    wait_until(promised(10), "ours go on joining and being joined", || all_list(&ours, &four));
    wait_until(soon(), "the newcomer is told everywhere", || all_see(&[h1], &four));
    o3.ctl(&["event", "deploy", "all the same"]).ok();
    wait_until(soon(), "each handler runs once", || handled_once(&[o1, o2, h1, &o3], "all the same"));
    nobody_complains(&ours, &[REFUSAL]);
    nobody_complains(&[h1], &["is incompatible", "agent: error joining"]);
}
