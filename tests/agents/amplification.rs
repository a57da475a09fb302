//! Small packets that ask for much: compressed bombs, and requests to send something to a third
//! party.

use crate::harness::rpc::counter;
use crate::harness::{Network, all_list, soon, stays, wait_until};
use serf::model::{LamportTime, NodeName};
use serf::wire::message::*;
use serf::wire::{Dialect, compression, encode};
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::time::Duration;

/// What resident memory may grow by, in KiB: less than a single bomb holds.
const GROWTH_LIMIT_KIB: u64 = 24 * 1024;
const BOMBS: usize = 500;
const STREAMED_BOMBS: usize = 20;

/// Some 60 MiB of zeros in less than a datagram.
fn bomb() -> Vec<u8> {
    let bomb = compression::pack(vec![0; 60 << 20]);
    assert!(bomb.len() < 60_000, "{} bytes fit no datagram", bomb.len());
    bomb
}

#[test]
fn compressed_bombs_are_refused_before_they_are_inflated() {
    let net = Network::claim();
    let n1 = net.agent("n1", 1).start();
    let n2 = net.agent("n2", 2).join(net.gossip(1)).start();
    let both = [("n1", "alive"), ("n2", "alive")];
    wait_until(soon(), "the two agree", || all_list(&[&n1, &n2], &both));
    let (before, bomb) = (n1.rss_kib(), bomb());
    let socket = UdpSocket::bind((net.ip(9), 0)).unwrap();
    // Few enough at a time for the kernel's buffers, or most would never arrive.
    while counter(&n1, "refused_oversize") < BOMBS as u64 {
        for _ in 0..5 {
            socket.send_to(&bomb, n1.gossip()).unwrap();
        }
        assert!(n1.rss_kib() < before + GROWTH_LIMIT_KIB, "{} KiB, {before} before", n1.rss_kib());
    }
    let datagrams = counter(&n1, "refused_oversize");
    for _ in 0..STREAMED_BOMBS {
        let mut stream = TcpStream::connect(n1.gossip()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        // It may be closed before all of it is written.
        let _ = stream.write_all(&bomb);
        let _ = stream.read_to_end(&mut Vec::new());
        assert!(n1.rss_kib() < before + GROWTH_LIMIT_KIB, "{} KiB, {before} before", n1.rss_kib());
    }
    let streams = counter(&n1, "refused_oversize") - datagrams;
    assert_eq!(streams, STREAMED_BOMBS as u64, "each is counted");
    let said = n1.log_count("Ignoring a");
    assert!((1..=20).contains(&said), "it is said, and not each time: {said} lines");
    assert_eq!(all_list(&[&n1, &n2], &both), Ok(()));
    assert_eq!(n2.failures_reported("n1"), 0);
}

#[test]
fn nobody_can_be_made_to_send_to_a_third_party() {
    let net = Network::claim();
    let n1 = net.agent("n1", 1).flag("-event-handler=query=echo yes").start();
    let n2 = net.agent("n2", 2).join(net.gossip(1)).start();
    let both = [("n1", "alive"), ("n2", "alive")];
    wait_until(soon(), "the two agree", || all_list(&[&n1, &n2], &both));
    // A listener at an address of its own, and one who wants it to be flooded.
    let victim = UdpSocket::bind(net.gossip(12)).unwrap();
    victim.set_nonblocking(true).unwrap();
    let attacker = UdpSocket::bind((net.ip(13), 0)).unwrap();
    let name = |text: &str| NodeName::new(text).unwrap();
    let source = Source { node: name("stranger"), addr: net.gossip(12) };
    let answer = |payload: &[u8]| QueryResponse {
        ltime: LamportTime(1),
        id: 1,
        from: name("n2"),
        answer: Answer::Payload,
        payload: payload.to_vec(),
    };
    let query = |ltime| {
        Message::from(Query {
            ltime: LamportTime(ltime),
            id: 7,
            source: source.clone(),
            filters: vec![],
            ack: true,
            no_broadcast: true,
            relay_factor: 3,
            timeout_ms: 10_000,
            name: "load".into(),
            payload: vec![],
        })
    };
    for round in 1..50_u32 {
        let messages = [
            Message::from(Ping { seq_no: round, node: name("n1"), source: source.clone() }),
            Message::from(IndirectPing {
                seq_no: round,
                target: net.gossip(12),
                node: name("stranger"),
                nack: true,
                source: source.clone(),
            }),
            Message::from(Relay { to: source.clone(), response: answer(&[b'x'; 500]) }),
            query(u64::from(round)),
        ];
        for message in &messages {
            for dialect in [Dialect::Native, Dialect::Hashicorp] {
                attacker.send_to(&encode(dialect, message), n1.gossip()).unwrap();
            }
        }
    }
    wait_until(soon(), "the requests have been seen", || match counter(&n1, "refused_unknown_sender") {
        50.. => Ok(()),
        seen => Err(format!("{seen} refused")),
    });
    stays(Duration::from_secs(2), "nothing goes to the third party", || {
        match victim.recv_from(&mut [0; 2048]) {
            Ok((length, from)) => Err(format!("{length} bytes from {from}")),
            Err(_) => Ok(()),
        }
    });
}
