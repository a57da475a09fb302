//! An agent of the future, which understands more than anyone does now, and one that changes what it
//! speaks while it is known.

use super::{FOUR, THEIRS, nobody_complains, shows_protocol, three};
use crate::harness::peers::hashicorp_serf;
use crate::harness::stand_in::{Heard, StandIn};
use crate::harness::{Agent, Network, all_list, promised, soon, wait_until, within};
use serf::model::Versions;
use serf::wire::Dialect;
use serf::wire::stream::StreamMessage;

const OURS: [u8; 6] = [1, Versions::WAVES, 2, 2, 5, 5];
/// One that understands more than anyone does now.
const FUTURE: [u8; 6] = [1, 9, 2, 2, 9, 5];

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
    let learnt: Vec<String> = state.rows.iter().map(|row| row.node.to_string()).collect();
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
