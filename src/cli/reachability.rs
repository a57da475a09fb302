//! `serf reachability`: whether the members that count as alive can be reached.

use super::connection::connect;
use super::console::{Console, Failure};
use super::interrupt;
use crate::config::Flags;
use crate::model::Text;
use crate::rpc::QueryAnswer;
use crate::rpc::record::{MemberInfo, QueryCall};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Every member acknowledges this query and answers nothing.
const PING: &str = "_serf_ping";
/// How long the agent may stay silent. A ping takes as long as any query: seconds.
const PATIENCE: Duration = Duration::from_secs(300);

const DUPLICATES: &str =
    "A member that answers twice shares its name with another one. Names must be unique.";
const TOO_MANY: &str = "Members that are here count as gone: either failures are detected where there are none, \
                        or news of a return was lost.";
const TOO_FEW: &str = "Members that count as alive did not answer: gossip packets are lost on the way to them or \
                       back.";
const ADVICE: &str = "
What to look at:
* the address and port that each member binds to: can every other member reach them?
* advertised addresses: do they lead to the address that is bound to?
* network address translation between members, which gossip does not survive
* firewalls: both UDP and TCP have to pass, in both directions
* the network's own equipment";

/// Runs the command.
pub(super) fn run(flags: &Flags, console: &mut Console<'_>) -> Result<(), Failure> {
    let mut client = connect(flags)?;
    let members = client.members().map_err(|e| Failure::message("Error getting members", e))?;
    let alive = alive(&members);
    console.line(format!("Total members: {}, live members: {}", members.len(), alive.len()))?;
    interrupt::ends_with(1, Some("Test interrupted")).map_err(|e| Failure::message("Error", e))?;
    let ping = QueryCall { name: PING.into(), request_ack: true, ..QueryCall::default() };
    let answers =
        client.ask(&ping, Some(PATIENCE)).map_err(|e| Failure::message("Error sending query", e))?;
    console.line("Starting reachability test...")?;
    let start = Instant::now();
    let mut last = start;
    let mut test = Test::default();
    for answer in answers {
        let answer = answer.map_err(|e| Failure::message("Error reading from the agent", e))?;
        if let QueryAnswer::Ack { from } = answer {
            last = Instant::now();
            test.ack(from, flags.switch("verbose"), console)?;
        }
    }
    if flags.switch("verbose") {
        let (total, answered) = (start.elapsed().as_secs_f64(), (last - start).as_secs_f64());
        console.line(format!("Query time: {total:.2} sec, time to last response: {answered:.2} sec"))?;
    }
    test.conclude(&alive, console)
}

fn alive(members: &[MemberInfo]) -> BTreeSet<Text> {
    members.iter().filter(|m| m.status == "alive").map(|m| m.name.clone()).collect()
}

#[derive(Default)]
struct Test {
    acked: BTreeSet<Text>,
    duplicates: bool,
}

impl Test {
    fn ack(&mut self, from: Text, verbose: bool, console: &mut Console<'_>) -> Result<(), Failure> {
        let shown = console.reader().show(&from);
        if verbose {
            console.line([b"\tAck from '", &*shown, b"'"].concat())?;
        }
        if self.acked.contains(&from) {
            self.duplicates = true;
            console.line([b"Duplicate response from '", &*shown, b"'"].concat())?;
        }
        self.acked.insert(from);
        Ok(())
    }

    /// Prints what the test came to.
    ///
    /// Serf compares how many answered with how many are alive, so that a member that is missing
    /// and one that is too many cancel out. Here the names are compared.
    fn conclude(&self, alive: &BTreeSet<Text>, console: &mut Console<'_>) -> Result<(), Failure> {
        let missing: Vec<&Text> = alive.difference(&self.acked).collect();
        let surplus: Vec<&Text> = self.acked.difference(alive).collect();
        if self.duplicates {
            console.line(DUPLICATES)?;
        }
        if missing.is_empty() && surplus.is_empty() {
            console.line("Successfully contacted all live nodes")?;
            return if self.duplicates { Err(Failure::Printed) } else { Ok(()) };
        }
        for (names, title, meaning) in [
            (surplus, "Received more acks than live nodes! Acks from non-live nodes:", TOO_MANY),
            (missing, "Received less acks than live nodes! Missing acks from:", TOO_FEW),
        ] {
            if !names.is_empty() {
                console.line(title)?;
                for name in names {
                    console.line([b"\t", &*console.reader().show(name)].concat())?;
                }
                console.line(meaning)?;
            }
        }
        console.line(ADVICE)?;
        Err(Failure::Printed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn concluded(alive: &[&str], acks: &[&str], verbose: bool) -> (bool, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut console = Console::new(&mut out, &mut err);
        let mut test = Test::default();
        for ack in acks {
            test.ack((*ack).into(), verbose, &mut console).unwrap();
        }
        let alive = alive.iter().map(|name| Text::from(*name)).collect();
        let ended = test.conclude(&alive, &mut console);
        assert!(matches!(ended, Ok(()) | Err(Failure::Printed)) && err.is_empty());
        (ended.is_ok(), String::from_utf8(out).unwrap())
    }

    // The lines above the advice are those of Serf 0.8.2.

    #[test]
    fn all_is_well() {
        let well = (true, "Successfully contacted all live nodes\n".to_string());
        assert_eq!(concluded(&["a", "b"], &["b", "a"], false), well);
        let verbose = "\tAck from 'a'\nSuccessfully contacted all live nodes\n";
        assert_eq!(concluded(&["a"], &["a"], true), (true, verbose.to_string()));
    }

    #[test]
    fn what_is_wrong_is_named_and_is_a_failure() {
        for (alive, acks, beginning) in [
            (
                &["a", "b", "c"][..],
                &["b"][..],
                "Received less acks than live nodes! Missing acks from:\n\ta\n\tc\nMembers that count as alive",
            ),
            (
                &["a"],
                &["b", "a"],
                "Received more acks than live nodes! Acks from non-live nodes:\n\tb\nMembers that are here",
            ),
            (&["a"], &["a", "a"], "Duplicate response from 'a'\nA member that answers twice"),
            // As many as there should be, and not those.
            (
                &["a", "b"],
                &["a", "x"],
                "Received more acks than live nodes! Acks from non-live nodes:\n\tx\n",
            ),
            (&["a", "b"], &["a", "a"], "Duplicate response from 'a'\n"),
        ] {
            let (well, out) = concluded(alive, acks, false);
            assert!(!well && out.starts_with(beginning), "{alive:?} {acks:?}: {out}");
            let advised = out.contains("\nWhat to look at:\n* ");
            assert_eq!(advised, out.contains("Received"), "{out}");
        }
        let both = concluded(&["a", "b"], &["a", "x"], false).1;
        assert!(both.contains("Missing acks from:\n\tb\n"), "{both}");
    }
}
