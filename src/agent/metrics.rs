//! The thread `serf-metrics`: sends metrics to statsd and statsite and serves them to Prometheus. It
//! exists only if one of these is configured.
//!
//! Architecture invariant: nobody waits for it. It looks up the names of its receivers itself, and
//! while the system's resolver makes it wait, so do scrapes, and nothing else.

mod http;
mod levels;
mod receiver;
mod statsd;
mod statsite;
mod tokens;

pub(crate) use levels::{Levels, ProcessFacts};

use super::clock::Clock;
use super::table::SharedTable;
use super::thread::{Actor, Stop, Thread, wait};
use crate::config::AgentConfig;
use crate::model::Moment;
use crate::telemetry::RateLimit;
use crate::telemetry::report::{self, Deltas};
use http::HttpServer;
use mio::{Events, Poll, Waker};
use statsd::Statsd;
use statsite::Statsite;
use std::io;
use std::time::Duration;
use tokens::{STATSITE, WAKER};

/// Between two reports to statsd and statsite: the interval of Serf's metrics.
const INTERVAL: Duration = Duration::from_secs(10);
/// Until the first report, so that an operator soon sees that it works.
const FIRST: Duration = Duration::from_secs(1);
/// Complaints about one receiver: at most this many in this time.
const COMPLAINTS: (u32, Duration) = (1, Duration::from_secs(60));

/// Starts the thread, if `config` names a receiver of metrics.
pub(crate) fn spawn(config: &AgentConfig, table: SharedTable, clock: Clock) -> io::Result<Option<Thread>> {
    if config.statsd_addr.is_none() && config.statsite_addr.is_none() && config.metrics_addr.is_none() {
        return Ok(None);
    }
    let poll = Poll::new()?;
    let waker = Waker::new(poll.registry(), WAKER)?;
    let http = config.metrics_addr.map(|addr| HttpServer::bind(addr, &poll)).transpose()?;
    if let Some(addr) = config.metrics_addr.filter(|addr| !addr.ip().is_loopback()) {
        log::warn!(target: "agent", "Metrics are served at {addr} to anyone who asks; nothing protects them there");
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

    /// Sends what is new to the receivers.
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

fn complain(complaints: &mut RateLimit<&'static str>, receiver: &'static str, why: &io::Error, now: Moment) {
    if let Some(passed) = complaints.pass(receiver, "unsent", now) {
        log::warn!(target: "agent", "Failed to send metrics to {receiver}: {why}{passed}");
    }
}
