//! How much memory the table takes for each member: `cargo run --release --example heap -- 100000`.

use serf::membership::{Config, Effects, Members, Profile, SelfDescription};
use serf::model::{Incarnation, Moment, NodeName, Tags, Versions};
use serf::wire::message::Alive;
use std::net::SocketAddr;

/// Resident bytes of this process.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("/proc is there");
    let pages = statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.expect("a number of pages") * 4096
}

fn main() {
    let count = std::env::args().nth(1).and_then(|count| count.parse::<u32>().ok()).unwrap_or(10_000);
    let name = |text: String| NodeName::new(text).expect("a short name");
    let meta = Tags::from_pairs(["role=web"]).and_then(|tags| tags.encode()).expect("one short tag");
    let addr = SocketAddr::from(([10, 255, 255, 255], 7946));
    let me = SelfDescription { name: name("me".into()), addr, tags: Tags::default() };
    let (now, config) = (Moment::ZERO, Config::for_profile(Profile::Lan));
    let mut members = Members::new(config, me, now, &mut Effects::default()).expect("no tags");
    let before = resident();
    for number in 0..count {
        let [_, a, b, c] = number.to_be_bytes();
        let alive = Alive {
            incarnation: Incarnation(1),
            node: name(format!("host-{number:06}.example.net")),
            addr: SocketAddr::from(([10, a, b, c], 7946)),
            meta: meta.clone(),
            versions: Versions::OURS,
        };
        members.alive(&alive, now, &mut Effects::default());
    }
    let each = (resident() - before) / u64::from(count.max(1));
    println!("{} members, {each} bytes each: a name of 23 bytes and one short tag", members.len());
}
