//! What the kernel knows of the sockets of this machine.

use std::fs;
use std::net::SocketAddr;

/// How many received bytes a UDP socket of this machine has not read yet. IPv4 only.
pub(crate) fn unread_bytes(socket: SocketAddr) -> u64 {
    receive_queue("/proc/net/udp", socket)
}

/// How many connections a TCP listener of this machine has not accepted yet. IPv4 only.
pub(crate) fn unaccepted_connections(listener: SocketAddr) -> u64 {
    receive_queue("/proc/net/tcp", listener)
}

/// How many datagrams the kernel has dropped because a socket's owner did not read. IPv4 only.
pub(crate) fn dropped_datagrams(socket: SocketAddr) -> u64 {
    let row = kernel_row("/proc/net/udp", socket);
    // The last column.
    row.last().and_then(|drops| drops.parse().ok()).unwrap_or(0)
}

fn receive_queue(table: &str, socket: SocketAddr) -> u64 {
    let row = kernel_row(table, socket);
    // Number, local address, remote address, state, queues (sending:receiving), …
    let queues = row.get(4).and_then(|queues| queues.split_once(':'));
    queues.and_then(|(_, receiving)| u64::from_str_radix(receiving, 16).ok()).unwrap_or(0)
}

/// The kernel's columns about the socket that is bound to an address and connected to nobody;
/// none if there is no such socket.
fn kernel_row(table: &str, socket: SocketAddr) -> Vec<String> {
    let SocketAddr::V4(v4) = socket else { panic!("{socket} is not IPv4") };
    // The kernel writes an address as one number in the machine's own byte order.
    let local = format!(" {:08X}:{:04X} 00000000:0000 ", u32::from_ne_bytes(v4.ip().octets()), v4.port());
    let table = fs::read_to_string(table).expect("the kernel lists its sockets");
    let row = table.lines().find(|line| line.contains(&local)).unwrap_or_default();
    row.split_whitespace().map(str::to_string).collect()
}
