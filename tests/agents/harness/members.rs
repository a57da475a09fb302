//! Lists of members as agents show them, and whether agents agree.

use super::agent::Agent;
use super::program::{Answer, serf_ctl};
use serde_json::Value;
use std::path::Path;

/// A member as `members -format=json` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) addr: String,
    pub(crate) status: String,
    pub(crate) tags: Vec<(String, String)>,
}

impl Agent {
    /// The members this agent lists, in its order.
    pub(crate) fn members(&self) -> Result<Vec<Member>, String> {
        self.members_with(&serf_ctl())
    }

    /// The members this agent lists to a given control program.
    pub(crate) fn members_with(&self, program: &Path) -> Result<Vec<Member>, String> {
        let answer = self.ctl_with(program, &["members", "-format=json"]);
        parse_members(&answer).ok_or_else(|| format!("{} gave no list of members: {answer}", self.name()))
    }
}

fn parse_members(answer: &Answer) -> Option<Vec<Member>> {
    if answer.code() != Some(0) {
        return None;
    }
    let list: Value = serde_json::from_str(&answer.stdout).ok()?;
    list["members"].as_array()?.iter().map(parse_member).collect()
}

fn parse_member(member: &Value) -> Option<Member> {
    let text = |key: &str| member[key].as_str().map(str::to_string);
    let tag = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_string()));
    Some(Member {
        name: text("name")?,
        addr: text("addr")?,
        status: text("status")?,
        tags: member["tags"].as_object()?.iter().map(tag).collect::<Option<_>>()?,
    })
}

/// Whether every viewer lists these members with these statuses, whatever else it lists.
pub(crate) fn all_see(viewers: &[&Agent], expected: &[(&str, &str)]) -> Result<(), String> {
    for viewer in viewers {
        let members = viewer.members()?;
        for (name, status) in expected {
            let seen = members.iter().find(|m| m.name == *name).map_or("unlisted", |m| &m.status);
            if seen != *status {
                return Err(format!("{} has {name} as {seen}, not {status}", viewer.name()));
            }
        }
    }
    Ok(())
}

/// Whether every viewer has this member alive at this address.
pub(crate) fn all_have(viewers: &[&Agent], name: &str, addr: &str) -> Result<(), String> {
    for viewer in viewers {
        let members = viewer.members()?;
        let seen = members.iter().find(|m| m.name == name).map(|m| (m.addr.as_str(), m.status.as_str()));
        if seen != Some((addr, "alive")) {
            return Err(format!("{} has {name} as {seen:?}", viewer.gossip()));
        }
    }
    Ok(())
}

/// Whether every viewer lists exactly these members with these statuses.
pub(crate) fn all_list(viewers: &[&Agent], expected: &[(&str, &str)]) -> Result<(), String> {
    let mut expected: Vec<(&str, &str)> = expected.to_vec();
    expected.sort_unstable();
    for viewer in viewers {
        let members = viewer.members()?;
        let mut seen: Vec<(&str, &str)> = members.iter().map(|m| (&*m.name, &*m.status)).collect();
        seen.sort_unstable();
        if seen != expected {
            return Err(format!("{} lists {seen:?}", viewer.name()));
        }
    }
    Ok(())
}
