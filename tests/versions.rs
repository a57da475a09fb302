//! Version vectors, with real agents: HashiCorp's that speak an old Serf protocol, a future one
//! that understands more, members that change while they are known, and vectors that nobody can
//! understand. Agents that HashiCorp has not written are played by the test (`common::stand_in`).
//!
//! Each test ends by searching every log for errors and warnings (`nobody_complains`); what a
//! test brings about itself is excused by name.
#![allow(clippy::disallowed_methods, reason = "tests read clocks, files and sockets; rules do not")]

mod common;

use common::complaints::{self, Excuse, watch_the_machine};
use common::peers::hashicorp_serf;
use common::rpc::counter;
use common::stand_in::{Heard, StandIn};
use common::{Agent, AgentSpec, Network, all_list, all_see, promised, soon, wait_until, within};
use serde_json::Value;
use serf::model::{Incarnation, Versions};
use serf::wire::message::{Message, PeerRow, PeerState};
use serf::wire::stream::StreamMessage;
use serf::wire::{Dialect, encode};
use std::path::Path;
use std::time::{Duration, Instant};

const BOTH: [Dialect; 2] = [Dialect::Native, Dialect::Hashicorp];
/// HashiCorp's agent of today.
const THEIRS: [u8; 6] = [1, 5, 2, 2, 5, 5];
const OURS: [u8; 6] = [1, Versions::NATIVE_BASE + 1, 2, 2, 5, 5];
/// One that understands more than anyone does now.
const FUTURE: [u8; 6] = [1, 9, 2, 2, 9, 5];
/// None that any agent can live with.
const UNFIT: [[u8; 6]; 5] =
    [[0; 6], [5, 1, 2, 2, 5, 5], [3, 9, 3, 2, 5, 5], [1, 4, 2, 2, 4, 4], [1, 5, 2, 2, 5, 9]];
const REFUSAL: &str = "Ignoring what is said of";

/// An agent of either kind whose handlers say what they have handled.
fn spec(net: &Network, name: &str, host: u8) -> AgentSpec {
    watch_the_machine();
    let spec = net.agent(name, host).flag("-log-level=debug").tag("role", name);
    let spec = spec.flag("-event-handler=query:load=cat >/dev/null; echo up");
    spec.flag("-event-handler=user:deploy=echo handled: `cat`")
}

/// Fails if an agent has complained about anything but what the test brought about.
#[track_caller]
fn nobody_complains(agents: &[&Agent], excused: &[&str]) {
    // Of HashiCorp's own making: scripts that do not read what they are given.
    let own = ["Error writing payload", "Error invoking script"];
    let excuse = |text: &&str| Excuse::new("*", format!("*{text}*"));
    let excuses: Vec<Excuse> = own.iter().chain(excused).map(excuse).collect();
    // No test here takes longer.
    let now = Instant::now();
    let start = now.checked_sub(Duration::from_secs(120)).unwrap_or(now);
    complaints::nobody_complains(agents.iter().copied(), &excuses, start);
}

/// Which Serf protocol each viewer shows of a member: the least and greatest it understands, and
/// the one it speaks.
fn shows_protocol(viewers: &[&Agent], of: &str, expected: [u64; 3]) -> Result<(), String> {
    for viewer in viewers {
        let json = viewer.ctl(&["members", "-format=json"]);
        let list: Value = serde_json::from_str(&json.stdout).map_err(|e| format!("{e}: {json}"))?;
        let members = list["members"].as_array().ok_or("no list")?;
        let member = members.iter().find(|m| m["name"] == of).ok_or(format!("{json} lacks {of}"))?;
        let protocol = ["min", "max", "version"].map(|key| member["protocol"][key].as_u64().unwrap_or(0));
        if protocol != expected {
            return Err(format!("{} has {of} at {protocol:?}", viewer.name()));
        }
    }
    Ok(())
}

fn handled_once(agents: &[&Agent], payload: &str) -> Result<(), String> {
    let line = format!("handled: {payload}");
    match agents.iter().find(|agent| agent.log_count(&line) != 1) {
        Some(agent) => Err(format!("{} times at {}", agent.log_count(&line), agent.name())),
        None => Ok(()),
    }
}

/// Asks, and compares who answered with the expectation. HashiCorp's gossip passes a member by now
/// and then, so there is another try.
fn answered_by(agent: &Agent, expected: &[&str]) {
    wait_until(within(60), "everyone answers", || {
        let json = agent.ctl(&["query", "-timeout=2s", "-format=json", "load"]);
        let json: Value = serde_json::from_str(json.ok()).map_err(|e| e.to_string())?;
        let mut acks: Vec<&str> =
            json["Acks"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let mut responses: Vec<&str> =
            json["Responses"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        acks.sort_unstable();
        responses.sort_unstable();
        if acks == expected && responses == expected { Ok(()) } else { Err(json.to_string()) }
    });
}

// ---- old ones ----------------------------------------------------------------------------

#[test]
fn agents_that_speak_serf_protocol_2_live_among_ours() {
    let Some(theirs) = hashicorp_serf() else { return };
    live_with_an_old_protocol(&theirs, 2);
}

#[test]
fn agents_that_speak_serf_protocol_3_live_among_ours() {
    let Some(theirs) = hashicorp_serf() else { return };
    live_with_an_old_protocol(&theirs, 3);
}

#[test]
fn agents_that_speak_serf_protocol_4_live_among_ours() {
    let Some(theirs) = hashicorp_serf() else { return };
    live_with_an_old_protocol(&theirs, 4);
}

/// Joins through either side, events, queries, tags, a leave of each.
fn live_with_an_old_protocol(theirs: &Path, protocol: u64) {
    let net = Network::claim();
    let old = |name, host| spec(&net, name, host).program(theirs).flag(format!("-protocol={protocol}"));
    let o1 = spec(&net, "o1", 1).start();
    let h1 = old("h1", 2).join(o1.gossip()).start();
    let mut o2 = spec(&net, "o2", 3).join(h1.gossip()).start();
    let mut h2 = old("h2", 4).join(o2.gossip()).start();
    let new = spec(&net, "h3", 5).program(theirs).join(h2.gossip()).start();
    {
        let all = [&o1, &h1, &o2, &h2, &new];
        let names = ["h1", "h2", "h3", "o1", "o2"];
        wait_until(promised(10), "all agree on who is here", || {
            all_list(&all, &names.map(|name| (name, "alive")))
        });
        for name in names {
            let speaks = if ["h1", "h2"].contains(&name) { protocol } else { 5 };
            wait_until(soon(), "each shows what the other speaks", || {
                shows_protocol(&all, name, [2, 5, speaks])
            });
        }
        for (from, payload, coalesce) in [
            (&h1, "theirs", "-coalesce=true"),
            (&o1, "ours", "-coalesce=true"),
            (&h2, "theirs at once", "-coalesce=false"),
            (&o2, "ours at once", "-coalesce=false"),
        ] {
            from.ctl(&["event", coalesce, "deploy", payload]).ok();
            wait_until(soon(), "each handler runs once", || handled_once(&all, payload));
        }
        answered_by(&o1, &names);
        answered_by(&new, &names);
        if protocol >= 4 {
            answered_by(&h1, &names);
        } else {
            // They ask nothing of their own.
            h1.ctl(&["query", "load"]).refused();
        }
        for from in [&o1, &h1] {
            from.ctl(&["tags", "-set", "role=changed"]).ok();
            wait_until(soon(), "everyone sees the tag", || {
                let changed = ("role".to_string(), "changed".to_string());
                for agent in all {
                    let members = agent.members()?;
                    if !members.iter().any(|m| m.name == from.name() && m.tags.contains(&changed)) {
                        return Err(format!("{} does not", agent.name()));
                    }
                }
                Ok(())
            });
        }
        nobody_complains(&all, &["Feature not supported"]);
    }
    for leaver in [&mut h2, &mut o2] {
        leaver.ctl(&["leave"]).ok();
        leaver.wait_exit(soon());
    }
    let rest = [&o1, &h1, &new];
    let expected = [("h1", "alive"), ("h2", "left"), ("h3", "alive"), ("o1", "alive"), ("o2", "left")];
    wait_until(soon(), "everyone sees who left", || all_list(&rest, &expected));
    nobody_complains(&rest, &["Feature not supported"]);
}

// ---- future ones -------------------------------------------------------------------------

/// Three that agree: two of ours and one of HashiCorp's.
fn three(theirs: &Path, net: &Network) -> [Agent; 3] {
    let o1 = spec(net, "o1", 1).start();
    let o2 = spec(net, "o2", 2).join(o1.gossip()).start();
    let h1 = spec(net, "h1", 3).program(theirs).join(o1.gossip()).start();
    let all = [o1, o2, h1];
    wait_until(promised(10), "three agree", || all_list(&all.each_ref(), &THREE));
    all
}

const THREE: [(&str, &str); 3] = [("h1", "alive"), ("o1", "alive"), ("o2", "alive")];
const FOUR: [(&str, &str); 4] = [("h1", "alive"), ("o1", "alive"), ("o2", "alive"), ("s", "alive")];

/// Waits until both of ours have sent the stand-in something in this dialect after `seen`.
fn hears(stand_in: &StandIn, ours: [&Agent; 2], dialect: Dialect, seen: usize) {
    for agent in ours {
        wait_until(within(90), &format!("{} speaks {dialect:?} to it", agent.name()), || {
            let heard = stand_in.heard().split_off(seen);
            let here = |h: &&Heard| h.from.ip() == agent.gossip().ip() && h.dialect == dialect;
            if heard.iter().any(|h| here(&h)) { Ok(()) } else { Err(format!("{heard:?}")) }
        });
    }
}

#[test]
fn a_future_agent_is_an_ordinary_member_and_may_become_another_kind_and_back() {
    let Some(theirs) = hashicorp_serf() else { return };
    let net = Network::claim();
    let agents = three(&theirs, &net);
    let all = agents.each_ref();
    let [o1, o2, _] = all;
    let member = StandIn::start("s", net.gossip(9), FUTURE);
    let answer = member.join(o1.gossip(), Dialect::Hashicorp, vec![]);
    let StreamMessage::PushPull(state) = answer else { panic!("refused: {answer:?}") };
    let learnt: Vec<&str> = state.rows.iter().map(|row| row.node.as_str()).collect();
    assert_eq!(learnt, ["h1", "o1", "o2", "s"], "it learns of everyone");
    wait_until(promised(10), "all see it", || all_list(&all, &FOUR));
    wait_until(soon(), "all know what it speaks", || shows_protocol(&all, "s", [2, 9, 5]));
    hears(&member, [o1, o2], Dialect::Hashicorp, 0);
    let native = member.heard().iter().filter(|heard| heard.dialect == Dialect::Native).count();
    assert_eq!(native, 0, "nobody speaks native to it");

    // In place, without ever being missed: to ours, back to HashiCorp's of today, to one that
    // speaks an older Serf protocol. Said in either dialect, to one of ours.
    for (versions, said_in, dialect) in [
        (OURS, Dialect::Hashicorp, Dialect::Native),
        (THEIRS, Dialect::Native, Dialect::Hashicorp),
        (OURS, Dialect::Native, Dialect::Native),
        ([1, 4, 2, 2, 5, 3], Dialect::Hashicorp, Dialect::Hashicorp),
    ] {
        member.become_another(versions, o1.gossip(), said_in);
        let expected = [3, 4, 5].map(|at: usize| u64::from(versions[at]));
        wait_until(soon(), "ours know its new versions", || {
            shows_protocol(&[o1, o2], "s", expected)?;
            speaks(&[o1, o2], "s", dialect)
        });
        // What was sent before they knew may still be on its way; what comes from now on is right.
        hears(&member, [o1, o2], dialect, member.heard().len());
        let seen = member.heard().len();
        hears(&member, [o1, o2], dialect, seen);
        if dialect == Dialect::Hashicorp {
            let native = member.heard().split_off(seen).iter().filter(|h| h.dialect != dialect).count();
            assert_eq!(native, 0, "nobody speaks native to {versions:?}");
        }
    }
    assert_eq!(all_list(&all, &FOUR), Ok(()));
    for agent in [o1, o2] {
        assert_eq!(agent.failures_reported("s"), 0);
        assert_eq!(agent.log_count("EventMemberUpdate: s"), 0, "what it speaks is nobody's event");
    }
    nobody_complains(&all, &[]);
}

/// Whether each viewer says that a member is spoken to in this dialect.
fn speaks(viewers: &[&Agent], member: &str, dialect: Dialect) -> Result<(), String> {
    let word = if dialect == Dialect::Native { "native" } else { "hashicorp" };
    for viewer in viewers {
        let detailed = viewer.ctl(&["members", "-detailed"]);
        let mut lines = detailed.stdout.lines();
        if !lines.any(|line| line.starts_with(&format!("{member} ")) && line.ends_with(word)) {
            return Err(format!("{detailed}"));
        }
    }
    Ok(())
}

// ---- unfit ones --------------------------------------------------------------------------

/// Whether an agent has said that it refuses what is said of a member, and not more than once a
/// minute since `start`.
fn says_rarely(agent: &Agent, about: &str, start: Instant) {
    let count = || agent.log_count(&format!("{REFUSAL} '{about}'"));
    wait_until(soon(), "it says so", || if count() > 0 { Ok(()) } else { Err("it does not".into()) });
    let (said, most) = (count(), 1 + start.elapsed().as_secs() / 60);
    assert!(said as u64 <= most, "said of {about}: {said} times, {most} at most");
}

/// The bytes of an alive message in HashiCorp's dialect whose vector has been cut to this length.
fn with_short_vector(stand_in: &StandIn, length: u8) -> Vec<u8> {
    let mut bytes = encode(Dialect::Hashicorp, &Message::from(stand_in.alive(9, THEIRS)));
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
    // By gossip, in both dialects, again and again.
    let stranger = StandIn::start("unfit", net.gossip(9), UNFIT[0]);
    let mut sent = 0;
    while counter(o1, "refused_malformed") < 200 {
        for versions in UNFIT {
            for dialect in BOTH {
                let alive = Message::from(stranger.alive(1, versions));
                stranger.send(o1.gossip(), &encode(dialect, &alive));
            }
        }
        for length in 0..6 {
            stranger.send(o1.gossip(), &with_short_vector(&stranger, length));
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
