//! The running thread, spoken to over loopback. Waits are polls with a deadline.

mod events;
mod peers;

use super::actor::MAX_CLIENTS;
use super::*;
use crate::messaging::QueryParams;
use crate::messaging::filter::EventFilter;
use crate::model::{
    Coordinate, Event, Incarnation, LamportTime, Member, MemberEventKind, MemberEvents, NodeName, QueryKey,
    Status, Tags, Text, UserEvent, Versions,
};
use crate::rpc::codec::encode;
use crate::rpc::record::*;
use crate::rpc::{
    Call, Client, ClientConfig, ClientError, KeyedAnswer, LaterRequest, NowRequest, Record, RpcReply, Token,
};
use crate::telemetry::LogLine;
use log::{Level, LevelFilter};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::sync::Mutex;
use std::sync::mpsc;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

fn clock() -> Instant {
    Instant::now()
}

/// An agent of two members that does what it is asked to, at once unless `holds_joins`.
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
        meta: Tags::from_pairs(["role=web"]).unwrap().encode().unwrap().into(),
        status,
        versions: Versions::OURS,
        incarnation: Incarnation(1),
    }
}

impl Fake {
    fn join(&mut self, addrs: &[Text], token: Token) {
        if let Some(held) = &mut *self.holds_joins.lock().unwrap() {
            held.push(token);
            return;
        }
        let joined = JoinResponse { num: i32::try_from(addrs.len()).unwrap() };
        let error = addrs.iter().any(|a| a == "bad").then_some("1 error occurred");
        self.sender.reply(token, RpcReply::with::<JoinCall>(&joined).but(error));
    }

    fn event(&mut self, call: EventCall, token: Token) {
        let EventCall { name, payload, coalesce } = call;
        let result = if payload.len() > 512 { Err("too large") } else { Ok(()) };
        self.sender.reply(token, RpcReply::to::<EventCall>(result));
        if result.is_ok() {
            let event = UserEvent { ltime: LamportTime(7), name, payload, coalesce };
            self.sender.send(RpcMessage::Event(Arc::new(Event::User(event))));
        }
    }

    fn query(&mut self, params: QueryParams, token: Token) {
        let result = if params.name == "refused" { Err("query refused") } else { Ok(()) };
        // "late": the answer has yet to come when the first progress does.
        if params.name != "late" {
            self.sender.reply(token, RpcReply::to::<QueryCall>(result));
        }
        let _ = self.asked.send((params, token));
    }

    fn change_key(&mut self, token: Token) {
        let messages = BTreeMap::from([("b".into(), "no".into())]);
        let response = KeyResponse { messages, num_nodes: 2, ..KeyResponse::default() };
        let reply = RpcReply::with::<UseKeyCall>(&response).but(Some("1/2 nodes reported failure"));
        self.sender.reply(token, reply);
    }
}

impl Control for Fake {
    fn answer(&mut self, request: NowRequest) -> RpcReply {
        let everyone = [member("a", Status::Alive), member("b", Status::Failed)];
        let list = |members: &mut dyn Iterator<Item = &Member>| MembersResponse {
            members: members.map(MemberInfo::from).collect(),
        };
        match request {
            NowRequest::Members(_) => RpcReply::with::<MembersCall>(&list(&mut everyone.iter())),
            NowRequest::MembersFiltered(filter) => {
                let mut passing = everyone.iter().filter(|m| filter.matches(m));
                RpcReply::with::<MembersFilteredCall>(&list(&mut passing))
            }
            NowRequest::Stats(_) => {
                let name = [("name".into(), "a".into())];
                RpcReply::with::<StatsCall>(&[("agent".to_string(), name.into())].into())
            }
            NowRequest::GetCoordinate(call) => {
                let known = (call.node == "a").then(Coordinate::origin);
                RpcReply::with::<CoordinateCall>(&known.as_ref().into())
            }
            NowRequest::ForceLeave(ForceLeaveCall { node, prune }) => {
                let result = if prune { Ok(()) } else { Err(format!("no {node}")) };
                RpcReply::to::<ForceLeaveCall>(result)
            }
            #[allow(unreachable_patterns, reason = "a new command needs no arm here")]
            _ => RpcReply::refusal("the fake does not know this"),
        }
    }

    fn begin(&mut self, request: LaterRequest, token: Token) -> Result<(), Busy> {
        match request {
            LaterRequest::Join(call) if call.existing == ["busy"] => return Err(Busy::Joins),
            LaterRequest::Join(call) => self.join(&call.existing, token),
            LaterRequest::Leave(_) => drop(self.leaving.send(token)),
            LaterRequest::Tags(call) => {
                let delete = call.delete_tags;
                let result =
                    if call.tags.is_empty() { Err(format!("cannot delete {delete:?}")) } else { Ok(()) };
                self.sender.reply(token, RpcReply::to::<TagsCall>(result));
            }
            LaterRequest::Event(call) => self.event(call, token),
            LaterRequest::Query(params) => self.query(params, token),
            LaterRequest::Respond(KeyedAnswer { query, payload }) => {
                let result = if payload == b"twice" { Err("response already sent") } else { Ok(()) };
                let _ = self.answered.send((query, payload));
                self.sender.reply(token, RpcReply::to::<RespondCall>(result));
            }
            LaterRequest::InstallKey(_) | LaterRequest::UseKey(_) | LaterRequest::RemoveKey(_) => {
                self.change_key(token);
            }
            LaterRequest::ListKeys(_) => {
                let response = KeyResponse { num_nodes: 2, ..KeyResponse::default() };
                self.sender.reply(token, RpcReply::with::<ListKeysCall>(&response));
            }
            #[allow(unreachable_patterns, reason = "a new command needs no arm here")]
            _ => self.sender.reply(token, RpcReply::refusal("the fake does not know this")),
        }
        Ok(())
    }

    fn streams_changed(&mut self, filters: Vec<EventFilter>) {
        let _ = self.filters.send(filters);
    }

    fn handlers_changed(&mut self, _: BTreeMap<String, String>) {}

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
    addr: RpcAddress,
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
    let listen = settings.listen.clone();
    let server = RpcServer::bind(settings).unwrap();
    let addr = server.listener.address(&listen).unwrap();
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
    Server { handle, addr, held, wanted, asked, answered, filters, leaving }
}

impl Server {
    fn config(&self, key: &str) -> ClientConfig {
        ClientConfig { auth_key: key.into(), timeout: PATIENCE, ..ClientConfig::new(self.addr.to_string()) }
    }

    fn client(&self) -> Client {
        Client::connect(&self.config("")).unwrap()
    }

    fn raw(&self) -> TcpStream {
        let RpcAddress::Tcp(addr) = &self.addr else { panic!("no port") };
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

fn request<C: Call>(seq: u64, call: &C) -> Vec<u8> {
    let mut bytes = encode(&RequestHeader { command: C::COMMAND.word().into(), seq });
    call.write(&mut bytes);
    bytes
}

fn shake(mut socket: &TcpStream) {
    socket.write_all(&request(0, &HandshakeCall { version: 1 })).unwrap();
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
    assert_eq!(members.iter().map(|m| m.name.to_string()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(members[0].addr.0.to_string(), "10.0.0.1");
    let failed = MembersFilteredCall { status: "failed".into(), ..Default::default() };
    assert_eq!(client.call(&failed).unwrap().members.len(), 1);
    let bad = MembersFilteredCall { name: "(".into(), ..Default::default() };
    assert!(server_error(client.call(&bad)).starts_with("Failed to compile regex: '('"));
    assert_eq!(client.stats().unwrap()["agent"][&b"name"[..]], "a");
    let known = client.call(&CoordinateCall { node: "a".into() }).unwrap();
    assert!(known.ok && Coordinate::try_from(known.coord) == Ok(Coordinate::origin()));
    assert!(!client.call(&CoordinateCall { node: "b".into() }).unwrap().ok);
    let join =
        |addrs: &[&str]| JoinCall { existing: addrs.iter().map(|a| Text::from(*a)).collect(), replay: false };
    assert_eq!(client.call(&join(&["x", "y"])).unwrap().num, 2);
    assert_eq!(server_error(client.call(&join(&["bad"]))), "1 error occurred");
    assert_eq!(server_error(client.call(&join(&["busy"]))), "too many joins at once; try again");
    client.call(&ForceLeaveCall { node: "b".into(), prune: true }).unwrap();
    assert_eq!(server_error(client.call(&ForceLeaveCall { node: "b".into(), prune: false })), "no b");
    client.call(&TagsCall { tags: [("a".into(), "b".into())].into(), delete_tags: vec![] }).unwrap();
    let error = server_error(client.call(&TagsCall { tags: [].into(), delete_tags: vec!["a".into()] }));
    assert_eq!(error, "cannot delete [\"a\"]");
    assert_eq!(client.call(&ListKeysCall).unwrap().num_nodes, 2);
    assert_eq!(server_error(client.call(&UseKeyCall { key: "a=".into() })), "1/2 nodes reported failure");
    let (report, error) = client.call_partly(&InstallKeyCall { key: "a=".into() }).unwrap();
    assert_eq!(
        (&*report.messages[&b"b"[..]].to_lossy(), error.as_str()),
        ("no", "1/2 nodes reported failure")
    );
    assert_eq!(client.members().unwrap().len(), 2);
}

#[test]
fn the_reply_to_leave_is_delivered_before_the_thread_ends() {
    let server = serve("");
    let mut idle = server.client();
    let mut monitor = server.client();
    monitor.monitor("info").unwrap();
    let mut leaver = server.client();
    let left = std::thread::spawn(move || leaver.call(&LeaveCall));
    let token = server.leaving.recv_timeout(PATIENCE).unwrap();
    server.handle.sender().reply(token, RpcReply::with::<LeaveCall>(&()));
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
        let result = client.call(&AuthCall { auth_key: "guess".into() });
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
    client.call(&StopCall { stop: stream }).unwrap();
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
fn unreadable_clients_get_the_reason_and_are_closed() {
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
    assert!(begun.elapsed() >= crate::rpc::connection::limits::HANDSHAKE_TIMEOUT);
}

#[test]
fn one_client_too_many_is_refused() {
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
fn clients_without_the_token_keep_out_none_that_has_it() {
    let server = serve("secret");
    let mut first = Client::connect(&server.config("secret")).unwrap();
    let mut idle = Vec::new();
    for number in 0..200 {
        idle.push(server.raw());
        if number % 20 == 0 {
            let mut client = Client::connect(&server.config("secret")).unwrap();
            assert_eq!(client.members().unwrap().len(), 2);
        }
    }
    assert_eq!(first.members().unwrap().len(), 2, "one that has it stays");
}

#[test]
fn an_answer_to_a_client_that_has_gone_is_ignored() {
    let server = serve("");
    *server.held.lock().unwrap() = Some(Vec::new());
    let mut gone = server.raw();
    shake(&gone);
    gone.write_all(&request(7, &JoinCall::default())).unwrap();
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
    server.handle.sender().reply(token, RpcReply::with::<JoinCall>(&JoinResponse { num: 9 }));
    assert_eq!(other.members().unwrap().len(), 2);
}

#[test]
fn an_address_in_use_is_a_typed_error() {
    let server = serve("");
    let addr = server.addr.clone();
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
    assert_eq!(server.addr.to_string(), format!("unix:{}", path.display()));
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
