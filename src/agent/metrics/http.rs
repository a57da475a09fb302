//! `GET /metrics`, and nothing else: as much of HTTP/1.1 as Prometheus and `curl` need. Connections,
//! the bytes of a request and the time it may take are bounded, and each connection serves one.

use super::tokens::{FIRST_CLIENT, LISTENER};
use crate::model::Moment;
use crate::telemetry::counters;
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Poll, Token};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

/// Connections at once; further ones are closed.
const MAX_CLIENTS: usize = 16;
/// Bytes of a request's head.
const MAX_HEAD: usize = 4096;
/// From connecting to the end.
const PATIENCE: Duration = Duration::from_secs(5);

/// The listener and its connections.
pub(crate) struct HttpServer {
    listener: TcpListener,
    clients: BTreeMap<Token, Scraper>,
    next_token: usize,
}

struct Scraper {
    stream: TcpStream,
    deadline: Moment,
    head: Vec<u8>,
    /// The response, once there is one.
    response: Option<Vec<u8>>,
    sent: usize,
}

/// Whether a connection goes on.
#[derive(PartialEq, Eq)]
enum Then {
    Waits,
    Ends,
}

impl HttpServer {
    /// Listens.
    pub(crate) fn bind(addr: SocketAddr, poll: &Poll) -> io::Result<HttpServer> {
        let mut listener = TcpListener::bind(addr)
            .map_err(|e| io::Error::new(e.kind(), format!("metrics listener on {addr}: {e}")))?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(HttpServer { listener, clients: BTreeMap::new(), next_token: FIRST_CLIENT })
    }

    /// When [`HttpServer::expire`] has something to do.
    pub(crate) fn deadline(&self) -> Moment {
        self.clients.values().map(|client| client.deadline).fold(Moment::NEVER, Moment::min)
    }

    /// Serves the client that `token` stands for; `page` makes the metrics.
    pub(crate) fn serve(&mut self, token: Token, poll: &Poll, now: Moment, page: impl FnOnce() -> String) {
        if token == LISTENER {
            return self.accept(poll, now);
        }
        if let Some(client) = self.clients.get_mut(&token)
            && client.drive(page) == Then::Ends
        {
            self.clients.remove(&token);
        }
    }

    /// Closes the connections whose time is up.
    pub(crate) fn expire(&mut self, now: Moment) {
        self.clients.retain(|_, client| client.deadline > now);
    }

    fn accept(&mut self, poll: &Poll, now: Moment) {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) if self.clients.len() >= MAX_CLIENTS => {
                    counters::METRICS_REFUSED.inc();
                    drop(stream);
                }
                Ok((mut stream, _)) => {
                    let token = Token(self.next_token);
                    self.next_token = self.next_token.wrapping_add(1).max(FIRST_CLIENT);
                    let interest = Interest::READABLE | Interest::WRITABLE;
                    if poll.registry().register(&mut stream, token, interest).is_ok() {
                        let (head, response) = Default::default();
                        let deadline = now + PATIENCE;
                        self.clients.insert(token, Scraper { stream, deadline, head, response, sent: 0 });
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // Out of descriptors: what waits is accepted with the next that comes.
                Err(_) => return,
            }
        }
    }
}

impl Scraper {
    fn drive(&mut self, page: impl FnOnce() -> String) -> Then {
        if self.response.is_none() {
            match self.read_head() {
                Ok(false) => return Then::Waits,
                Ok(true) => self.response = Some(respond(&self.head, page)),
                Err(_) => return Then::Ends,
            }
        }
        self.write()
    }

    /// Whether the head of the request is there, or too long to wait for the rest.
    fn read_head(&mut self) -> io::Result<bool> {
        let mut chunk = [0; 1024];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => self.head.extend_from_slice(chunk.get(..n).unwrap_or_default()),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
            if self.head.len() > MAX_HEAD || self.head.windows(4).any(|end| end == b"\r\n\r\n") {
                return Ok(true);
            }
        }
    }

    /// Sends the response, then waits for the other side to close: closing first with bytes unread
    /// would reset the connection, and could cost it the response.
    fn write(&mut self) -> Then {
        let Some(response) = &self.response else { return Then::Waits };
        while let Some(rest) = response.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(n @ 1..) => self.sent += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Then::Waits,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => return Then::Ends,
            }
        }
        // It may have closed already.
        let _ = self.stream.shutdown(Shutdown::Write);
        let mut rest = [0; 1024];
        // Bounded: a client that sends without end is cut off at the deadline, and gets one turn a wake.
        for _ in 0..64 {
            match self.stream.read(&mut rest) {
                Ok(0) => return Then::Ends,
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Then::Waits,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Then::Ends,
            }
        }
        Then::Ends
    }
}

/// The response to a request with this head.
fn respond(head: &[u8], page: impl FnOnce() -> String) -> Vec<u8> {
    const PLAIN: &str = "text/plain; charset=utf-8";
    const METRICS: &str = "text/plain; version=0.0.4";
    let (status, kind, extra, body) = match request(head) {
        Some(("GET", "/metrics")) => ("200 OK", METRICS, "", page()),
        Some((_, "/metrics")) => {
            ("405 Method Not Allowed", PLAIN, "Allow: GET\r\n", "Only GET is served here.\n".to_string())
        }
        Some(_) => ("404 Not Found", PLAIN, "", "There is /metrics and nothing else.\n".to_string()),
        None if head.len() > MAX_HEAD => {
            ("431 Request Header Fields Too Large", PLAIN, "", "The request is too long.\n".to_string())
        }
        None => ("400 Bad Request", PLAIN, "", "This is not a request.\n".to_string()),
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{extra}Connection: close\r\n\r\n"
    );
    (head + &body).into_bytes()
}

/// Method and path of a request, if it is one.
fn request(head: &[u8]) -> Option<(&str, &str)> {
    if head.len() > MAX_HEAD {
        return None;
    }
    let line = head.split(|byte| *byte == b'\r').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    if words.next().is_some() || !version.starts_with("HTTP/1.") || !target.starts_with('/') {
        return None;
    }
    Some((method, target.split('?').next().unwrap_or(target)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn status(head: &str) -> String {
        let response = String::from_utf8(respond(head.as_bytes(), || "x 1\n".to_string())).unwrap();
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("Connection: close"));
        assert!(head.contains(&format!("Content-Length: {}", body.len())));
        head.lines().next().unwrap().to_string()
    }

    #[test]
    fn serves_the_metrics_and_nothing_else() {
        let page = String::from_utf8(respond(b"GET /metrics HTTP/1.1\r\n\r\n", || "x 1\n".into())).unwrap();
        assert!(page.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n"), "{page}");
        assert!(page.ends_with("\r\n\r\nx 1\n"), "{page}");
        assert_eq!(status("GET /metrics?x=1 HTTP/1.0\r\n\r\n"), "HTTP/1.1 200 OK");
        assert_eq!(status("POST /metrics HTTP/1.1\r\n\r\n"), "HTTP/1.1 405 Method Not Allowed");
        assert_eq!(status("GET / HTTP/1.1\r\n\r\n"), "HTTP/1.1 404 Not Found");
        assert_eq!(status("GET /metrics/x HTTP/1.1\r\n\r\n"), "HTTP/1.1 404 Not Found");
        for nonsense in
            ["", "GET\r\n\r\n", "GET /metrics\r\n\r\n", "GET /metrics HTTP/2\r\n\r\n", "GET x HTTP/1.1\r\n"]
        {
            assert_eq!(status(nonsense), "HTTP/1.1 400 Bad Request", "{nonsense}");
        }
        let long = format!("GET /metrics HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(MAX_HEAD));
        assert_eq!(status(&long), "HTTP/1.1 431 Request Header Fields Too Large");
    }

    proptest! {
        #[test]
        fn no_request_panics(head in proptest::collection::vec(any::<u8>(), 0..200)) {
            respond(&head, String::new);
        }
    }
}
