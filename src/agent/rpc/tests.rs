//! The running thread, spoken to over loopback. Waits are polls with a deadline.

mod events;
mod peers;

use super::*;
use crate::messaging::QueryParams;
use crate::messaging::filter::EventFilter;
use crate::messaging::keys::{KeyCommand, KeyReport};
use crate::model::{
    Coordinate, Event, Incarnation, LamportTime, Member, MemberEventKind, MemberEvents, NodeName, QueryKey,
    Status, Tags, UserEvent, Versions,
};
use crate::rpc::Token;
use crate::rpc::record::{
    HandshakeRequest, MembersFilteredRequest, RequestHeader, Stats, encode, encode_into,
};
use crate::rpc::{Client, ClientConfig, ClientError, Record};
use crate::telemetry::LogLine;
use log::{Level, LevelFilter};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::sync::Mutex;
use std::sync::mpsc;
use std::time::Instant;

const PATIENCE: Duration = Duration::from_secs(20);

fn clock() -> Instant {
    Instant::now()
}

/// An agent of two members that does what it is told, at once unless `holds_joins`.
struct Fake {
    sender: RpcSender,
    holds_joins: Arc<Mutex<Option<Vec<Token>>>>,
    wanted: mpsc::Sender<LevelFilter>,
    asked: mpsc::Sender<(QueryParams, Token)>,
    answered: mpsc::Sender<(QueryKey, Vec<u8>)>,
    filters: mpsc::Sender<Vec<EventFilter>>,
    leaving: mpsc::Sender<Token>,
}

fn member(name: &str, status: Status) -> Member {
    Member {
        name: NodeName::new(name).unwrap(),
        addr: "10.0.0.1:7946".parse().unwrap(),
        tags: Tags::from_pairs(["role=web"]).unwrap(),
        status,
        versions: Versions::OURS,
        incarnation: Incarnation(1),
    }
}

impl Control for Fake {
    fn tags(&mut self, set: BTreeMap<String, String>, delete: Vec<String>, token: Token) {
        let result = if set.is_empty() { Err(format!("cannot delete {delete:?}")) } else { Ok(()) };
        self.sender.send(RpcMessage::TagsChanged { token, result });
    }

    fn handlers_changed(&mut self, _: BTreeMap<String, String>) {}

    fn user_event(&mut self, name: String, payload: Vec<u8>, coalesce: bool, token: Token) {
        let result = if payload.len() > 512 { Err("too large".to_string()) } else { Ok(()) };
        let fired = result.is_ok();
        self.sender.send(RpcMessage::Fired { token, result });
        if fired {
            let event = UserEvent { ltime: LamportTime(7), name, payload, coalesce };
            self.sender.send(RpcMessage::Event(Arc::new(Event::User(event))));
        }
    }

    fn query(&mut self, params: QueryParams, token: Token) {
        let result = if params.name == "refused" { Err("query refused".to_string()) } else { Ok(()) };
        // "late": the answer has yet to come when the first progress does.
        if params.name != "late" {
            self.sender.send(RpcMessage::QueryStarted { token, result });
        }
        let _ = self.asked.send((params, token));
    }

    fn keys(&mut self, command: KeyCommand, token: Token) {
        let mut report = Box::new(KeyReport::new(2));
        let error = match command {
            KeyCommand::List => String::new(),
            KeyCommand::Change(..) => {
                report.messages.insert("b".to_string(), "no".to_string());
                "1/2 nodes reported failure".to_string()
            }
        };
        self.sender.send(RpcMessage::Keys { token, report, error });
    }

    fn respond(&mut self, query: QueryKey, payload: Vec<u8>, token: Token) {
        let result = if payload == b"twice" { Err("response already sent".to_string()) } else { Ok(()) };
        let _ = self.answered.send((query, payload));
        self.sender.send(RpcMessage::Responded { token, result });
    }

    fn streams_changed(&mut self, filters: Vec<EventFilter>) {
        let _ = self.filters.send(filters);
    }

    fn members(&self) -> Vec<Member> {
        vec![member("a", Status::Alive), member("b", Status::Failed)]
    }

    fn stats(&self) -> Stats {
        Stats::from([("agent".into(), [("name".into(), "a".into())].into())])
    }

    fn coordinate(&self, node: &str) -> Option<Coordinate> {
        (node == "a").then(Coordinate::origin)
    }

    fn join(&mut self, addrs: Vec<String>, _: bool, token: Token) {
        if let Some(held) = &mut *self.holds_joins.lock().unwrap() {
            held.push(token);
            return;
        }
        let error = addrs.iter().any(|a| a == "bad").then(|| "1 error occurred".to_string());
        self.sender.send(RpcMessage::Joined { token, joined: addrs.len(), error });
    }

    fn leave(&mut self, token: Token) {
        let _ = self.leaving.send(token);
    }

    fn force_leave(&mut self, node: String, prune: bool, token: Token) {
        let result = if prune { Ok(()) } else { Err(format!("no {node}")) };
        self.sender.send(RpcMessage::ForceLeft { token, result });
    }

    fn want_log(&mut self, up_to: LevelFilter) {
        let _ = self.wanted.send(up_to);
    }

    fn recent_log(&self) -> RecentLog {
        let line = |level, text: &str| Arc::new(LogLine { number: 0, level, text: text.into() });
        RecentLog { lines: vec![line(Level::Info, "old"), line(Level::Debug, "fine")], next: 2 }
    }
}

struct Server {
    handle: RpcHandle,
    held: Arc<Mutex<Option<Vec<Token>>>>,
    wanted: mpsc::Receiver<LevelFilter>,
    asked: mpsc::Receiver<(QueryParams, Token)>,
    answered: mpsc::Receiver<(QueryKey, Vec<u8>)>,
    filters: mpsc::Receiver<Vec<EventFilter>>,
    leaving: mpsc::Receiver<Token>,
}

fn serve(auth_key: &str) -> Server {
    serve_on(RpcSettings {
        listen: RpcAddress::Tcp("127.0.0.1:0".parse().unwrap()),
        auth_key: auth_key.into(),
    })
}

fn serve_on(settings: RpcSettings) -> Server {
    let server = RpcServer::bind(settings).unwrap();
    let held = Arc::new(Mutex::new(None));
    let (wanted_in, wanted) = mpsc::channel();
    let (asked_in, asked) = mpsc::channel();
    let (answered_in, answered) = mpsc::channel();
    let (filters_in, filters) = mpsc::channel();
    let (leaving_in, leaving) = mpsc::channel();
    let fake = Fake {
        sender: server.sender(),
        holds_joins: Arc::clone(&held),
        wanted: wanted_in,
        asked: asked_in,
        answered: answered_in,
        filters: filters_in,
        leaving: leaving_in,
    };
    let handle = server.spawn(Box::new(fake), Clock::start()).unwrap();
    Server { handle, held, wanted, asked, answered, filters, leaving }
}

impl Server {
    fn config(&self, key: &str) -> ClientConfig {
        ClientConfig {
            auth_key: key.into(),
            timeout: PATIENCE,
            ..ClientConfig::new(self.handle.local_addr().to_string())
        }
    }

    fn client(&self) -> Client {
        Client::connect(&self.config("")).unwrap()
    }

    fn raw(&self) -> TcpStream {
        let RpcAddress::Tcp(addr) = self.handle.local_addr() else { panic!("no port") };
        let socket = TcpStream::connect_timeout(addr, PATIENCE).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }

    fn event(&self, names: usize) -> bool {
        let members = (0..names).map(|i| member(&format!("node-{i}"), Status::Alive)).collect();
        let event = MemberEvents { kind: MemberEventKind::Join, members };
        self.handle.sender().send(RpcMessage::Event(Arc::new(Event::Members(event))))
    }
}

/// What a raw client reads until the server closes.
fn read_all(mut socket: &TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let _ = socket.read_to_end(&mut all);
    all
}

fn shake(mut socket: &TcpStream) {
    let mut bytes = encode(&RequestHeader { command: "handshake".into(), seq: 0 });
    encode_into(&mut bytes, &HandshakeRequest { version: 1 });
    socket.write_all(&bytes).unwrap();
}

fn server_error<T: fmt::Debug>(result: Result<T, ClientError>) -> String {
    match result.unwrap_err() {
        ClientError::Server(text) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_client_is_served() {
    let server = serve("");
    let mut client = server.client();
    let members = client.members().unwrap();
    assert_eq!(members.iter().map(|m| m.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(members[0].addr.0.to_string(), "10.0.0.1");
    let failed = MembersFilteredRequest { status: "failed".into(), ..Default::default() };
    assert_eq!(client.members_filtered(&failed).unwrap().len(), 1);
    let bad = MembersFilteredRequest { name: "(".into(), ..Default::default() };
    assert!(server_error(client.members_filtered(&bad)).starts_with("Failed to compile regex: '('"));
    assert_eq!(client.stats().unwrap()["agent"]["name"], "a");
    let told = client.coordinate("a").unwrap().map(Coordinate::try_from);
    assert_eq!(told, Some(Ok(Coordinate::origin())));
    assert_eq!(client.coordinate("b").unwrap(), None);
    assert_eq!(client.join(&["x".into(), "y".into()], false).unwrap(), 2);
    assert_eq!(server_error(client.join(&["bad".into()], false)), "1 error occurred");
    client.force_leave("b", true).unwrap();
    assert_eq!(server_error(client.force_leave("b", false)), "no b");
    client.tags(BTreeMap::from([("a".into(), "b".into())]), vec![]).unwrap();
    let error = server_error(client.tags(BTreeMap::new(), vec!["a".into()]));
    assert_eq!(error, "cannot delete [\"a\"]");
    assert_eq!(client.list_keys().unwrap().num_nodes, 2);
    assert_eq!(server_error(client.use_key("a=")), "1/2 nodes reported failure");
    let (report, error) = client.key_reply(crate::rpc::Command::InstallKey, "a=").unwrap();
    assert_eq!((report.messages["b"].as_str(), error.as_str()), ("no", "1/2 nodes reported failure"));
    assert_eq!(client.members().unwrap().len(), 2);
}

#[test]
fn the_reply_to_leave_is_delivered_before_the_thread_ends() {
    let server = serve("");
    let mut idle = server.client();
    let mut monitor = server.client();
    monitor.monitor("info").unwrap();
    let mut leaver = server.client();
    let left = std::thread::spawn(move || leaver.leave());
    let token = server.leaving.recv_timeout(PATIENCE).unwrap();
    server.handle.sender().send(RpcMessage::Left { token, result: Ok(()) });
    server.handle.stop();
    left.join().unwrap().unwrap();
    assert!(matches!(idle.next_record(Some(PATIENCE)), Ok(None)));
    assert!(matches!(monitor.next_record(Some(PATIENCE)), Ok(Some((_, Record::Log(_))))));
    assert!(matches!(monitor.next_record(Some(PATIENCE)), Ok(None)));
}

#[test]
fn keys_are_checked_and_guessing_ends() {
    let server = serve("secret");
    assert_eq!(Client::connect(&server.config("secret")).unwrap().members().unwrap().len(), 2);
    assert_eq!(server_error(Client::connect(&server.config("guess"))), "Invalid authentication token");
    let mut client = server.client();
    assert_eq!(server_error(client.members()), "Authentication required");
    for _ in 0..3 {
        let guess = crate::rpc::record::AuthRequest { auth_key: "guess".into() };
        let result = client.order(crate::rpc::Command::Auth, &guess);
        assert_eq!(server_error(result), "Invalid authentication token");
    }
    assert!(matches!(client.next_record(Some(PATIENCE)), Ok(None)), "closed after the third");
    // A new key is for new clients.
    server.handle.sender().send(RpcMessage::AuthKey("other".into()));
    let end = clock() + PATIENCE;
    while Client::connect(&server.config("other")).is_err() {
        assert!(clock() < end);
    }
}

#[test]
fn a_monitor_gets_old_and_new_lines() {
    let server = serve("");
    let mut client = server.client();
    let stream = client.monitor("info").unwrap();
    assert_eq!(server.wanted.recv_timeout(PATIENCE).unwrap(), LevelFilter::Info);
    for number in 1..4 {
        let line = Arc::new(LogLine { number, level: Level::Info, text: number.to_string() });
        server.handle.sender().send(RpcMessage::Log(line));
    }
    for text in ["old", "2", "3"] {
        let record = client.next_record(Some(PATIENCE)).unwrap().unwrap();
        assert_eq!(record, (stream, Record::Log(text.into())));
    }
    client.stop(stream).unwrap();
    assert_eq!(server.wanted.recv_timeout(PATIENCE).unwrap(), LevelFilter::Off);
    client.monitor("debug").unwrap();
    assert_eq!(server.wanted.recv_timeout(PATIENCE).unwrap(), LevelFilter::Debug);
    drop(client);
    assert_eq!(server.wanted.recv_timeout(PATIENCE).unwrap(), LevelFilter::Off);
}

#[test]
fn a_client_that_never_reads_costs_nobody_else() {
    let server = serve("");
    let mut deaf = server.client();
    let mut keen = server.client();
    deaf.stream("*").unwrap();
    keen.stream("member-join").unwrap();
    // Far more than the sockets' and our own buffers hold: 1000 records of 30 kB.
    for _ in 0..1000 {
        assert!(server.event(200));
        let (_, record) = keen.next_record(Some(PATIENCE)).unwrap().unwrap();
        assert!(matches!(record, Record::Members(e) if e.members.len() == 200));
    }
    assert_eq!(keen.members().unwrap().len(), 2);
    // What it finds when it does read: whole records, then the end and why, then service.
    let ended = loop {
        match deaf.next_record(Some(PATIENCE)) {
            Ok(Some((_, Record::Members(_)))) => {}
            other => break other,
        }
    };
    let Err(ClientError::StreamEnded(text)) = ended else { panic!("{ended:?}") };
    assert!(text.contains("does not read"), "{text}");
    assert_eq!(deaf.members().unwrap().len(), 2);
}

#[test]
fn unreadable_clients_are_told_and_closed() {
    let server = serve("");
    for (bytes, error) in [
        (&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], "Invalid request header"),
        (&[0xc1; 100_000], "not MessagePack"),
        (b"\xdb\xff\xff\xff\xffxx", "larger than 4096 bytes"),
        (b"\x82\xa7Command\xa7members\xa3Seq\x05", "Handshake required"),
    ] {
        let mut socket = server.raw();
        socket.write_all(bytes).unwrap();
        let reply = String::from_utf8_lossy(&read_all(&socket)).into_owned();
        assert!(reply.contains(error), "{reply}");
    }
    let mut socket = server.raw();
    shake(&socket);
    socket.write_all(b"\x82\xa7Command\xa5event\xa3Seq\x05\xc6\x00\x20\x00\x00").unwrap();
    let reply = String::from_utf8_lossy(&read_all(&socket)).into_owned();
    assert!(reply.contains("larger than 1048576 bytes"), "{reply}");
    assert_eq!(server.client().members().unwrap().len(), 2);
}

#[test]
fn silent_clients_are_closed_in_time() {
    let server = serve("");
    let begun = clock();
    let silent = server.raw();
    let mut halfway = server.raw();
    halfway.write_all(b"\x82\xa7Comm").unwrap();
    for socket in [silent, halfway] {
        let reply = String::from_utf8_lossy(&read_all(&socket)).into_owned();
        assert!(reply.contains("No handshake within 10 seconds"), "{reply}");
    }
    assert!(begun.elapsed() >= crate::rpc::connection::HANDSHAKE_TIMEOUT);
}

#[test]
fn one_client_too_many_is_told() {
    let server = serve("");
    let mut clients: Vec<Client> = (0..MAX_CLIENTS).map(|_| server.client()).collect();
    assert_eq!(server_error(Client::connect(&server.config(""))), "Too many clients (limit is 128)");
    assert_eq!(clients[0].members().unwrap().len(), 2);
    // When one goes, there is room again.
    clients.pop();
    let end = clock() + PATIENCE;
    while Client::connect(&server.config("")).is_err() {
        assert!(clock() < end);
    }
}

#[test]
fn an_answer_to_a_client_that_has_gone_is_ignored() {
    let server = serve("");
    *server.held.lock().unwrap() = Some(Vec::new());
    let mut gone = server.raw();
    shake(&gone);
    let mut bytes = encode(&RequestHeader { command: "join".into(), seq: 7 });
    encode_into(&mut bytes, &crate::rpc::record::JoinRequest::default());
    gone.write_all(&bytes).unwrap();
    let end = clock() + PATIENCE;
    let token = loop {
        if let Some(token) = server.held.lock().unwrap().as_ref().and_then(|held| held.first().copied()) {
            break token;
        }
        assert!(clock() < end);
        std::thread::yield_now();
    };
    assert_eq!(token.seq, 7);
    drop(gone);
    let mut other = server.client();
    server.handle.sender().send(RpcMessage::Joined { token, joined: 9, error: None });
    assert_eq!(other.members().unwrap().len(), 2);
}

#[test]
fn an_address_in_use_is_a_typed_error() {
    let server = serve("");
    let addr = server.handle.local_addr().clone();
    let error = RpcServer::bind(RpcSettings { listen: addr.clone(), auth_key: String::new() }).unwrap_err();
    assert!(matches!(&error, RpcError::Listen { addr: a, error } if *a == addr
        && error.kind() == io::ErrorKind::AddrInUse));
    assert!(error.to_string().starts_with(&format!("cannot listen for RPC on {addr}: ")));
    server.handle.stop();
    let refused = Client::connect(&ClientConfig::new(addr.to_string())).unwrap_err();
    assert!(refused.to_string().starts_with(&format!("cannot connect to {addr}: ")), "{refused}");
}

#[test]
fn a_unix_socket_is_private_and_replaces_a_stale_one_alone() {
    let path = std::env::temp_dir().join(format!("serf-rpc-test-{}", std::process::id()));
    let settings = || RpcSettings {
        listen: RpcAddress::Unix { path: path.clone(), mode: 0o600 },
        auth_key: String::new(),
    };
    // What a killed agent leaves behind.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let server = serve_on(settings());
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(server.handle.local_addr().to_string(), format!("unix:{}", path.display()));
    assert_eq!(server.client().members().unwrap().len(), 2);
    let error = RpcServer::bind(settings()).unwrap_err();
    assert!(matches!(error, RpcError::Listen { error, .. } if error.kind() == io::ErrorKind::AddrInUse));
    assert_eq!(server.client().members().unwrap().len(), 2);
    server.handle.stop();
    assert!(!path.exists());

    std::fs::create_dir(&path).unwrap();
    let error = RpcServer::bind(settings()).unwrap_err();
    assert!(error.to_string().contains("is no socket"), "{error}");
    std::fs::remove_dir(&path).unwrap();
}
