//! Members and events to test with.

use crate::model::{
    Event, Incarnation, LamportTime, Member, MemberEventKind, MemberEvents, Moment, NodeName, QueryEvent,
    QueryKey, Status, Tags, UserEvent, Versions,
};

pub(crate) fn member(name: &str, ip: &str, tags: &[&str]) -> Member {
    Member {
        name: NodeName::new(name).unwrap(),
        addr: (ip.parse::<std::net::IpAddr>().unwrap(), 7946).into(),
        meta: Tags::from_pairs(tags).unwrap().encode().unwrap().into(),
        status: Status::Alive,
        versions: Versions::OURS,
        incarnation: Incarnation(1),
    }
}

pub(crate) fn join(names: &[&str]) -> Event {
    let members = names.iter().map(|name| member(name, "10.0.0.9", &[])).collect();
    Event::Members(MemberEvents { kind: MemberEventKind::Join, members })
}

/// At Lamport time 7.
pub(crate) fn user(name: &str, payload: &str) -> Event {
    let (name, payload) = (name.to_string(), payload.as_bytes().to_vec());
    Event::User(UserEvent { ltime: LamportTime(7), name: name.into(), payload, coalesce: false })
}

/// At Lamport time 9, asking `name?`.
pub(crate) fn query(name: &str, deadline: Moment) -> Event {
    let key = QueryKey { ltime: LamportTime(9), id: 1 };
    let payload = format!("{name}?").into_bytes();
    Event::Query(QueryEvent { key, name: name.into(), payload, deadline })
}
