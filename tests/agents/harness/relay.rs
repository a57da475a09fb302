//! A relay in front of an agent: everything that others send to the agent goes through it, is
//! recorded, and is passed on unchanged. What it records are valid packets of the very dialect
//! that the agents under test speak to each other.
//!
//! The agent behind it advertises the relay's address. The relay returns an answer to the
//! sender of the last packet, so it is for clusters of two.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

/// How often the relay's threads look whether they are to stop.
const TICK: Duration = Duration::from_millis(100);

/// What is recorded of each kind; later packets pass unrecorded.
const RECORD_LIMIT: usize = 1000;

/// The largest datagram.
const DATAGRAM_LIMIT: usize = 65_536;

#[derive(Default)]
struct Recording {
    datagrams: Vec<Vec<u8>>,
    /// What each connection's opener sent, complete or up to now.
    streams: Vec<Vec<u8>>,
    /// What the agent answered, datagrams and pieces of streams.
    answers: Vec<Vec<u8>>,
}

/// Runs until it is dropped.
pub(crate) struct Relay {
    recording: Arc<Mutex<Recording>>,
    stop: Arc<AtomicBool>,
}

impl Relay {
    /// Listens at `front`, UDP and TCP, and passes everything on to `agent`.
    pub(crate) fn start(front: SocketAddr, agent: SocketAddr) -> Relay {
        let relay = Relay::start_without_streams(front, agent);
        let tcp = TcpListener::bind(front).unwrap_or_else(|e| panic!("relay: cannot bind {front}: {e}"));
        let (recording, stop) = (relay.recording.clone(), relay.stop.clone());
        thread::spawn(move || relay_streams(&tcp, agent, &recording, &stop));
        relay
    }

    /// Passes UDP on, and refuses TCP.
    pub(crate) fn start_without_streams(front: SocketAddr, agent: SocketAddr) -> Relay {
        let relay = Relay { recording: Arc::default(), stop: Arc::default() };
        let udp = UdpSocket::bind(front).unwrap_or_else(|e| panic!("relay: cannot bind {front}: {e}"));
        udp.set_read_timeout(Some(TICK)).expect("a timeout can be set");
        let (recording, stop) = (relay.recording.clone(), relay.stop.clone());
        thread::spawn(move || relay_datagrams(&udp, agent, &recording, &stop));
        relay
    }

    /// The different datagrams seen so far.
    pub(crate) fn datagrams(&self) -> Vec<Vec<u8>> {
        let mut datagrams = lock(&self.recording).datagrams.clone();
        datagrams.sort();
        datagrams.dedup();
        datagrams
    }

    /// What was sent on each connection so far.
    pub(crate) fn streams(&self) -> Vec<Vec<u8>> {
        let mut streams = lock(&self.recording).streams.clone();
        streams.retain(|stream| !stream.is_empty());
        streams
    }

    /// All that went through so far, in both directions.
    pub(crate) fn everything(&self) -> Vec<u8> {
        let recording = lock(&self.recording);
        [&recording.datagrams, &recording.streams, &recording.answers]
            .into_iter()
            .flatten()
            .flatten()
            .copied()
            .collect()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn lock(recording: &Mutex<Recording>) -> MutexGuard<'_, Recording> {
    recording.lock().expect("no thread panics while it records")
}

fn relay_datagrams(socket: &UdpSocket, agent: SocketAddr, recording: &Mutex<Recording>, stop: &AtomicBool) {
    let mut buffer = vec![0; DATAGRAM_LIMIT];
    let mut caller = None;
    while !stop.load(Ordering::Relaxed) {
        // Errors are timeouts, and refusals that an agent caused by stopping.
        let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
        let datagram = &buffer[..length];
        if from == agent {
            if let Some(caller) = caller {
                let _ = socket.send_to(datagram, caller);
            }
            let mut recording = lock(recording);
            if recording.answers.len() < RECORD_LIMIT {
                recording.answers.push(datagram.to_vec());
            }
            continue;
        }
        caller = Some(from);
        let _ = socket.send_to(datagram, agent);
        let mut recording = lock(recording);
        if recording.datagrams.len() < RECORD_LIMIT {
            recording.datagrams.push(datagram.to_vec());
        }
    }
}

fn relay_streams(
    listener: &TcpListener,
    agent: SocketAddr,
    recording: &Arc<Mutex<Recording>>,
    stop: &Arc<AtomicBool>,
) {
    listener.set_nonblocking(true).expect("a listener can be made non-blocking");
    while !stop.load(Ordering::Relaxed) {
        let Ok((caller, _)) = listener.accept() else {
            thread::sleep(TICK / 10);
            continue;
        };
        let Ok(callee) = TcpStream::connect(agent) else { continue };
        let index = {
            let mut recording = lock(recording);
            recording.streams.push(Vec::new());
            recording.streams.len() - 1
        };
        let answers = (callee.try_clone(), caller.try_clone());
        let (answered, recording) = (recording.clone(), recording.clone());
        let (stop_asking, stop_answering) = (stop.clone(), stop.clone());
        thread::spawn(move || {
            copy(caller, callee, &stop_asking, |bytes| {
                lock(&recording).streams[index].extend_from_slice(bytes)
            });
        });
        if let (Ok(callee), Ok(caller)) = answers {
            thread::spawn(move || {
                copy(callee, caller, &stop_answering, |bytes| lock(&answered).answers.push(bytes.to_vec()))
            });
        }
    }
}

/// Copies until the end of the stream and passes the end on too.
fn copy(mut from: TcpStream, mut to: TcpStream, stop: &AtomicBool, mut record: impl FnMut(&[u8])) {
    let mut buffer = vec![0; 16 * 1024];
    let _ = from.set_nonblocking(false);
    let _ = from.set_read_timeout(Some(TICK));
    while !stop.load(Ordering::Relaxed) {
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => {
                record(&buffer[..length]);
                if to.write_all(&buffer[..length]).is_err() {
                    break;
                }
            }
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
