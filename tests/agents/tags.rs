//! Tags that change while the agent runs, and the file that keeps them.

use crate::harness::{Agent, Network, Scratch, Signal, run, run_with_env, serf_ctl, soon, wait_until};
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// The tags of a member as another agent lists them: `a=b,c=d`.
fn tags_of(member: &str, viewer: &Agent) -> Result<String, String> {
    let members = viewer.members()?;
    let member = members.iter().find(|m| m.name == member).ok_or_else(|| format!("no {member}"))?;
    Ok(member.tags.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(","))
}

#[track_caller]
fn wait_for_tags(member: &str, viewer: &Agent, expected: &str) {
    wait_until(soon(), &format!("{} sees {member} with {expected}", viewer.name()), || {
        match tags_of(member, viewer) {
            Ok(tags) if tags == expected => Ok(()),
            Ok(tags) => Err(format!("it sees {tags}")),
            Err(why) => Err(why),
        }
    });
}

#[test]
fn tags_change_at_run_time_and_everyone_hears() {
    let net = Network::claim();
    let one = net.agent("one", 1).tag("role", "web").tag("rack", "7").start();
    let events = Scratch::new("updates");
    let record = events.path().join("record");
    let two = net.agent("two", 2).flag(format!("-event-handler=member-update=cat >> {}", record.display()));
    let two = two.join(net.gossip(1)).start();
    wait_for_tags("one", &two, "rack=7,role=web");

    let said = one.ctl(&["tags", "-set", "role=db", "-set=odd= a=b ", "-delete", "rack", "-delete=none"]);
    assert_eq!(said.ok(), "Successfully updated agent tags\n");
    wait_for_tags("one", &one, "odd= a=b ,role=db");
    wait_for_tags("one", &two, "odd= a=b ,role=db");
    wait_until(soon(), "the handler is told of the update", || {
        let told = fs::read_to_string(&record).unwrap_or_default();
        if told.contains("one\t") && told.contains("role=db") { Ok(()) } else { Err(format!("{told:?}")) }
    });

    let long = format!("long={}", "x".repeat(600));
    for (args, complaint) in [
        (vec!["tags"], "At least one tag"),
        (vec!["tags", "-set=novalue"], "Invalid tag: 'novalue' (expected key=value)"),
        (vec!["tags", "-delete=role", "-set", &long], "Encoded length of tags exceeds limit of 512 bytes"),
    ] {
        assert!(one.ctl(&args).refused().contains(complaint), "{args:?}");
    }
    wait_for_tags("one", &two, "odd= a=b ,role=db");
}

#[test]
fn a_tags_file_keeps_them_across_restarts() {
    let net = Network::claim();
    let scratch = Scratch::new("tags-file");
    let file = scratch.path().join("tags.json");
    let spec = net.agent("one", 1).flag(format!("-tags-file={}", file.display()));
    let mut one = spec.start();
    assert!(!file.exists(), "nothing is written before there is a tag");
    one.ctl(&["tags", "-set=role=web", "-set=rack=7"]).ok();
    one.ctl(&["tags", "-delete=rack"]).ok();
    assert_eq!(fs::read_to_string(&file).unwrap(), "{\n  \"role\": \"web\"\n}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    one.kill();

    let one = spec.start();
    wait_for_tags("one", &one, "role=web");
    assert_eq!(one.log_count("Restored 1 tag(s) from "), 1);

    // The directory cannot be written to: the change is refused, and nothing changes.
    drop(one);
    fs::remove_dir_all(scratch.path()).unwrap();
    fs::create_dir(scratch.path()).unwrap();
    fs::write(&file, "{\"role\": \"db\"}").unwrap();
    let one = spec.start();
    fs::remove_dir_all(scratch.path()).unwrap();
    let said = one.ctl(&["tags", "-set=role=web"]);
    assert!(said.refused().contains("Error setting tags: Failed to write tags file: "), "{said}");
    wait_for_tags("one", &one, "role=db");
}

#[test]
fn a_tags_file_that_cannot_be_used_ends_the_start() {
    let net = Network::claim();
    let scratch = Scratch::new("bad-tags");
    let file = scratch.path().join("tags.json");
    let spec = net.agent("one", 1).flag(format!("-tags-file={}", file.display()));
    fs::write(&file, "{\"role\": 3}").unwrap();
    let refused = spec.run();
    let complaint = format!("Failed to decode tags file: {}: invalid type", file.display());
    assert!(refused.refused().contains(&complaint), "{refused}");
    fs::write(&file, "{}").unwrap();
    let both = spec.tag("role", "web").run();
    assert!(both.refused().contains("Tags config not allowed while using tag files"), "{both}");
}

#[test]
fn commands_reach_the_agent_through_a_unix_socket() {
    let net = Network::claim();
    let scratch = Scratch::new("socket");
    let socket = scratch.path().join("serf.sock");
    let address = format!("unix:{}", socket.display());
    let spec = net.agent("one", 1).flag(format!("-rpc-addr={address}"));
    let mut one = spec.spawn();
    let members = || run(&serf_ctl(), ["members", &format!("-rpc-addr={address}")]);
    wait_until(soon(), "the socket answers", || {
        let answer = members();
        if answer.code() == Some(0) { Ok(()) } else { Err(answer.to_string()) }
    });
    assert!(members().ok().starts_with("one "));
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(one.log_count(&format!("RPC addr: '{address}'")), 1, "{}", one.log());

    // The environment names it as well. What a killed agent left behind is no obstacle.
    one.kill();
    assert!(socket.exists());
    let mut one = spec.spawn();
    wait_until(soon(), "the socket answers again", || {
        let answer = run_with_env(&serf_ctl(), ["members"], &[("SERF_RPC_ADDR", &address)]);
        if answer.code() == Some(0) { Ok(()) } else { Err(answer.to_string()) }
    });
    one.signal(Signal::Terminate);
    one.wait_exit(soon());
    assert!(!socket.exists(), "the socket goes with the agent");
}
