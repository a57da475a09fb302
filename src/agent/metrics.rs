//! The thread `serf-metrics`: sends metrics to statsd and statsite and serves them to Prometheus. It
//! exists only if one of these is configured.
//!
//! Architecture invariant: nobody waits for it. It looks up the names of its receivers itself, and
//! while the system's resolver makes it wait, so do scrapes, and nothing else.

mod http;
mod statsd;
mod statsite;

use super::clock::Clock;
use super::table::SharedTable;
use super::thread::{Actor, Stop, Thread, wait};
use crate::config::AgentConfig;
use crate::model::{HostPort, Moment, canonical_ip};
use crate::telemetry::report::{self, Deltas};
use crate::telemetry::{RateLimit, metrics};
use http::HttpServer;
use mio::{Events, Poll, Token, Waker};
use statsd::Statsd;
use statsite::Statsite;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

/// Between two reports to statsd and statsite: the interval of Serf's metrics.
const INTERVAL: Duration = Duration::from_secs(10);
/// Until the first report, so that an operator soon sees that it works.
const FIRST: Duration = Duration::from_secs(1);
/// The port of both receivers if none is given, which the configuration does not let through.
const DEFAULT_PORT: u16 = 8125;
/// Complaints about one receiver: at most this many in this time.
const COMPLAINTS: (u32, Duration) = (1, Duration::from_secs(60));

const WAKER: Token = Token(0);
const LISTENER: Token = Token(1);
const STATSITE: Token = Token(2);
const FIRST_CLIENT: usize = 3;

/// Sets the gauges; whoever reports asks first.
#[derive(Clone)]
pub struct Levels {
    table: SharedTable,
}

impl Levels {
    /// Levels of this table and this process.
    pub fn new(table: SharedTable) -> Levels {
        Levels { table }
    }

    /// Looks how things stand.
    pub fn refresh(&self) {
        let (all, failed, left, score) = {
            let table = self.table.read();
            let members = &table.members;
            (members.len(), members.failed(), members.left(), members.awareness().score())
        };
        metrics::MEMBERS_ALIVE.set(all.saturating_sub(failed + left));
        metrics::MEMBERS_DEAD.set(failed);
        metrics::MEMBERS_GONE.set(left);
        metrics::HEALTH_SCORE.set(usize::try_from(score).unwrap_or(usize::MAX));
        let (threads, resident) = process_levels();
        metrics::THREADS.set(threads);
        metrics::RESIDENT_BYTES.set(resident);
    }
}

/// How many threads this process has and how many bytes it holds; 0 where `/proc` does not say.
pub fn process_levels() -> (usize, usize) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<usize>().ok()
    };
    (field("Threads:").unwrap_or(0), field("VmRSS:").unwrap_or(0).saturating_mul(1024))
}

/// Starts the thread, if `config` names anybody who wants metrics.
pub fn spawn(config: &AgentConfig, table: SharedTable, clock: Clock) -> io::Result<Option<Thread>> {
    if config.statsd_addr.is_none() && config.statsite_addr.is_none() && config.metrics_addr.is_none() {
        return Ok(None);
    }
    let poll = Poll::new()?;
    let waker = Waker::new(poll.registry(), WAKER)?;
    let http = config.metrics_addr.map(|addr| HttpServer::bind(addr, &poll)).transpose()?;
    if let Some(addr) = config.metrics_addr.filter(|addr| !addr.ip().is_loopback()) {
        log::warn!(target: "agent", "Metrics are served at {addr} to whoever asks; nothing protects them there");
    }
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let actor = MetricsActor {
        poll,
        statsd: config.statsd_addr.clone().map(Statsd::new),
        statsite: config.statsite_addr.clone().map(Statsite::new),
        http,
        levels: Levels::new(table),
        deltas: Deltas::default(),
        host,
        next_report: clock.now() + FIRST,
        complaints: RateLimit::new(COMPLAINTS.0, COMPLAINTS.1),
        clock,
    };
    // A waker that fails has no poll any more that could wait.
    Thread::spawn(move || actor, move || drop(waker.wake())).map(Some)
}

struct MetricsActor {
    poll: Poll,
    statsd: Option<Statsd>,
    statsite: Option<Statsite>,
    http: Option<HttpServer>,
    levels: Levels,
    deltas: Deltas,
    host: String,
    next_report: Moment,
    complaints: RateLimit<&'static str>,
    clock: Clock,
}

impl Actor for MetricsActor {
    const NAME: &'static str = "serf-metrics";

    /// Runs, and sends a last report at the end. A receiver whose name is being looked up then costs that
    /// report.
    fn run(mut self, stop: &Stop) {
        let mut events = Events::with_capacity(32);
        loop {
            let timeout = self.clock.until(self.deadline());
            if !wait(Self::NAME, &mut self.poll, &mut events, timeout) {
                return;
            }
            if stop.is_raised() {
                return self.report();
            }
            self.serve(&events);
            if self.reports() && self.clock.now() >= self.next_report {
                self.report();
                self.next_report = self.clock.now() + INTERVAL;
            }
        }
    }
}

impl MetricsActor {
    fn reports(&self) -> bool {
        self.statsd.is_some() || self.statsite.is_some()
    }

    fn deadline(&self) -> Moment {
        let report = if self.reports() { self.next_report } else { Moment::NEVER };
        self.http.as_ref().map_or(report, |http| http.deadline().min(report))
    }

    fn serve(&mut self, events: &Events) {
        let now = self.clock.now();
        for event in events {
            match event.token() {
                WAKER => {}
                STATSITE => {
                    if let Some(statsite) = &mut self.statsite
                        && let Err(why) = statsite.drive()
                    {
                        complain(&mut self.complaints, "statsite", &why, now);
                    }
                }
                token => {
                    let levels = &self.levels;
                    let page = || {
                        levels.refresh();
                        report::prometheus()
                    };
                    if let Some(http) = &mut self.http {
                        http.serve(token, &self.poll, now, page);
                    }
                }
            }
        }
        if let Some(http) = &mut self.http {
            http.expire(now);
        }
    }

    /// Sends what is new to whoever listens.
    fn report(&mut self) {
        if !self.reports() {
            return;
        }
        self.levels.refresh();
        let lines = self.deltas.lines(&self.host);
        if let Some(statsd) = &mut self.statsd
            && let Err(why) = statsd.send(&lines)
        {
            complain(&mut self.complaints, "statsd", &why, self.clock.now());
        }
        if let Some(statsite) = &mut self.statsite
            && let Err(why) = statsite.send(&lines, &self.poll, self.clock.now())
        {
            complain(&mut self.complaints, "statsite", &why, self.clock.now());
        }
    }
}

fn complain(complaints: &mut RateLimit<&'static str>, whom: &'static str, why: &io::Error, now: Moment) {
    if let Some(passed) = complaints.pass(whom, "unsent", now) {
        log::warn!(target: "agent", "Failed to send metrics to {whom}: {why}{passed}");
    }
}

/// Looks a receiver up. May wait for the system's resolver.
fn resolve(receiver: &str) -> io::Result<SocketAddr> {
    let host = HostPort::parse(receiver, DEFAULT_PORT).map_err(io::Error::other)?;
    if let Some(addr) = host.literal() {
        return Ok(addr);
    }
    let mut found = (host.host.as_str(), host.port).to_socket_addrs()?;
    let addr = found.next().ok_or_else(|| io::Error::other(format!("'{receiver}' has no address")))?;
    Ok(SocketAddr::new(canonical_ip(addr.ip()), addr.port()))
}
