//! The thread itself: takes events and orders, gives every run its turns, starts what is next.

use super::lane::Lane;
use super::orphans;
use super::reply::{AnswerFn, Chance, PendingReply, Replies};
use super::run::{Reason, Run, RunContext, Turn, until};
use super::sender::{EVENTS_CAPACITY, Missed};
use super::waiting::Job;
use crate::agent::clock::Clock;
use crate::agent::thread::{Actor, Stop, wait};
use crate::channel::Receiver;
use crate::config::EventScript;
use crate::model::{Event, Footprint, Member, Moment};
use crate::telemetry::{RateLimit, counters};
use mio::net::UnixStream;
use mio::{Events, Interest, Poll, Registry, Token};
use signal_hook::SigId;
use signal_hook::consts::SIGCHLD;
use std::io::{self, Read};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// How long scripts have after SIGTERM when the agent stops, before SIGKILL.
pub(crate) const STOP_GRACE: Duration = Duration::from_secs(1);

/// How long the thread waits for what it has killed. Only a process that hangs in the kernel takes
/// longer.
const REAP_PATIENCE: Duration = Duration::from_secs(1);

/// Complaints about one script that does not keep up: one in this time.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// Token of the thread's waker.
pub(crate) const WAKER: Token = Token(0);
const CHILDREN: Token = Token(1);
/// Stands for all lanes in the limit on complaints; lanes count from 1.
const ALL_LANES: usize = 0;
/// Tokens of pipes: two for each lane.
const FIRST_PIPE: usize = 2;

/// The ends of children, as bytes in a pipe. SIGCHLD interrupts system calls of any thread no more
/// than other signals do: it restarts them, and all polls here expect interruptions.
pub(crate) struct Children {
    pipe: UnixStream,
    registration: SigId,
}

impl Children {
    /// From now on.
    pub(crate) fn watch(registry: &Registry) -> io::Result<Children> {
        let (read, write) = std::os::unix::net::UnixStream::pair()?;
        read.set_nonblocking(true)?;
        let mut pipe = UnixStream::from_std(read);
        registry.register(&mut pipe, CHILDREN, Interest::READABLE)?;
        let registration = signal_hook::low_level::pipe::register(SIGCHLD, write)?;
        Ok(Children { pipe, registration })
    }

    /// Whether any child has ended since the last call.
    fn ended(&mut self) -> bool {
        let mut buffer = [0; 64];
        let mut any = false;
        while self.pipe.read(&mut buffer).is_ok_and(|len| len > 0) {
            any = true;
        }
        any
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        signal_hook::low_level::unregister(self.registration);
    }
}

/// What to run.
#[derive(Clone, Debug, Default)]
pub(crate) struct HandlerSettings {
    /// The configured handlers.
    pub(crate) scripts: Vec<EventScript>,
    /// How long a script may run before its process group is ended. `None` or zero: for ever, or
    /// until the deadline of the query it answers.
    pub(crate) timeout: Option<Duration>,
}

/// What this member looks like now. Called on `serf-handlers`; must not block for long.
pub(crate) type SelfFn = Box<dyn Fn() -> Member + Send>;

/// What the main thread wants.
#[derive(Debug)]
pub(crate) enum Order {
    /// These are the handlers from now on.
    SetScripts(Vec<EventScript>),
}

/// What the thread is made of.
pub(crate) struct HandlerParts {
    /// With the waker registered.
    pub(crate) poll: Poll,
    /// The ends of children.
    pub(crate) children: Children,
    /// What happens.
    pub(crate) events: Receiver<Arc<Event>>,
    /// What the main thread wants.
    pub(crate) orders: Receiver<Order>,
    /// This member.
    pub(crate) self_member: SelfFn,
    /// Called with answers to queries.
    pub(crate) answer: AnswerFn,
    /// Counts what scripts miss.
    pub(crate) missed: Arc<Missed>,
    /// Time.
    pub(crate) clock: Clock,
}

/// The thread, seen from inside.
pub(crate) struct HandlerActor {
    poll: Poll,
    children: Children,
    events: Receiver<Arc<Event>>,
    orders: Receiver<Order>,
    lanes: Vec<Lane>,
    next_lane: usize,
    timeout: Option<Duration>,
    self_member: SelfFn,
    answer: Rc<AnswerFn>,
    replies: Replies,
    missed: Arc<Missed>,
    /// By the number of the lane.
    complaints: RateLimit<usize>,
    clock: Clock,
    /// Whether what scripts leave behind becomes a child of this process.
    adopts_orphans: bool,
}

impl Actor for HandlerActor {
    const NAME: &'static str = "serf-handlers";
    /// A little more than scripts have.
    const PATIENCE: Duration =
        STOP_GRACE.saturating_add(REAP_PATIENCE).saturating_add(Duration::from_secs(1));

    /// Runs, and ends what runs.
    fn run(mut self, stop: &Stop) {
        let mut polled = Events::with_capacity(64);
        let mut busy = false;
        loop {
            let go_on = self.wait(&mut polled, busy, Moment::NEVER) && !stop.is_raised();
            self.take_orders();
            self.take_events();
            if !go_on {
                return self.end(&mut polled);
            }
            busy = self.give_turns();
            busy |= self.start_next();
            self.replies.tick(self.clock.now());
        }
    }
}

impl HandlerActor {
    /// Puts the parts together. On the thread itself: what waits for a query is not shared with
    /// other threads.
    pub(crate) fn new(parts: HandlerParts, settings: HandlerSettings) -> HandlerActor {
        let mut actor = HandlerActor {
            poll: parts.poll,
            children: parts.children,
            events: parts.events,
            orders: parts.orders,
            lanes: Vec::new(),
            next_lane: 0,
            timeout: settings.timeout.filter(|timeout| !timeout.is_zero()),
            self_member: parts.self_member,
            answer: Rc::new(parts.answer),
            replies: Replies::default(),
            missed: parts.missed,
            complaints: RateLimit::new(1, COMPLAIN_EVERY),
            clock: parts.clock,
            adopts_orphans: orphans::are_adopted(),
        };
        actor.set_scripts(settings.scripts);
        actor
    }

    /// Waits until something may have happened, `limit` at the latest. What it was need not be
    /// known: there are few pipes, and looking into an empty one costs little.
    fn wait(&mut self, polled: &mut Events, busy: bool, limit: Moment) -> bool {
        let runs = self.lanes.iter().filter_map(|lane| lane.run.as_ref());
        let deadline = runs.map(Run::deadline).fold(limit, Moment::min).min(self.replies.next_deadline());
        let timeout = if busy { Some(Duration::ZERO) } else { self.clock.until(deadline) };
        wait(Self::NAME, &mut self.poll, polled, timeout)
    }

    fn take_orders(&mut self) {
        while let Ok(Order::SetScripts(scripts)) = self.orders.try_recv() {
            self.set_scripts(scripts);
        }
    }

    fn set_scripts(&mut self, scripts: Vec<EventScript>) {
        let mut before = std::mem::take(&mut self.lanes);
        for script in scripts {
            let mut lane = match before.iter().position(|lane| lane.script == script) {
                Some(at) => before.remove(at),
                None => {
                    self.next_lane = self.next_lane.wrapping_add(1);
                    Lane::new(self.next_lane, script)
                }
            };
            lane.retired = false;
            self.lanes.push(lane);
        }
        for mut lane in before {
            self.missed.count(lane.waiting.clear());
            lane.retired = true;
            if lane.run.is_some() {
                self.lanes.push(lane);
            }
        }
    }

    fn take_events(&mut self) {
        let refused = self.missed.take_refused();
        if refused > 0
            && let Some(passed) = self.complaints.pass(ALL_LANES, "refused", self.clock.now())
        {
            log::warn!(
                target: "agent", "Too many events at once: {refused} were not delivered to handlers{passed}"
            );
        }
        let unfit = self.missed.take_unfit();
        if unfit > 0
            && let Some(passed) = self.complaints.pass(ALL_LANES, "unfit", self.clock.now())
        {
            log::warn!(
                target: "agent",
                "{unfit} events with a NUL in their names were not given to handlers: no process can have it in its \
                 environment{passed}"
            );
        }
        // Sending wakes the thread again, so that none is left behind.
        for _ in 0..2 * EVENTS_CAPACITY {
            match self.events.try_recv() {
                Ok(event) => self.offer(event),
                Err(_) => return,
            }
        }
    }

    /// Lets an event wait in every lane that wants it.
    fn offer(&mut self, event: Arc<Event>) {
        let now = self.clock.now();
        // Dropped at the end of this function, so that a query that nobody wants is answered.
        let reply = match &*event {
            Event::Query(query) => Some(PendingReply::open(query, Rc::clone(&self.answer), now)),
            Event::Members(_) | Event::User(_) => None,
        };
        let weight = event.footprint();
        for lane in self.lanes.iter_mut().filter(|lane| !lane.retired && lane.script.matches(&event)) {
            let job = Job { event: Arc::clone(&event), chance: reply.as_ref().map(Chance::new), weight };
            let dropped = lane.waiting.push(job);
            if dropped == 0 {
                continue;
            }
            self.missed.count(dropped);
            if let Some(passed) = self.complaints.pass(lane.id, "backlog", now) {
                log::warn!(
                    target: "agent",
                    "Script '{}' does not keep up: dropping the oldest of {} waiting events{passed}",
                    lane.script.script, lane.waiting.len()
                );
            }
        }
        self.replies.watch(reply);
    }

    /// Says whether a run has more to do at once.
    fn give_turns(&mut self) -> bool {
        let children = self.children.ended();
        let now = self.clock.now();
        let mut busy = false;
        for lane in &mut self.lanes {
            match lane.run.as_mut().map(|run| run.turn(now, children)) {
                Some(Turn::Over) => lane.run = None,
                Some(Turn::Busy) => busy = true,
                Some(Turn::Waits) | None => {}
            }
        }
        self.lanes.retain(|lane| !lane.retired || lane.run.is_some());
        if self.adopts_orphans {
            busy |= orphans::reap(self.lanes.iter_mut().filter_map(|lane| lane.run.as_mut()));
        }
        busy
    }

    /// Starts the next run of each lane that has none. Says whether any was started.
    fn start_next(&mut self) -> bool {
        let mut started = false;
        for lane in &mut self.lanes {
            while lane.run.is_none()
                && let Some(job) = lane.waiting.pop()
            {
                let now = self.clock.now();
                let script = &lane.script.script;
                if until(&job.event, self.timeout, now) <= now {
                    self.missed.count(1);
                    if let Some(passed) = self.complaints.pass(lane.id, "late", now) {
                        log::warn!(
                            target: "agent",
                            "Script '{script}' does not get a query: it waited until after the deadline{passed}"
                        );
                    }
                    continue;
                }
                let context = RunContext {
                    registry: self.poll.registry(),
                    stdin: Token(pipe_token(lane.id)),
                    output: Token(pipe_token(lane.id) + 1),
                    me: &(self.self_member)(),
                    timeout: self.timeout,
                    now,
                };
                match Run::start(script, job, &context) {
                    Ok(run) => {
                        lane.run = Some(run);
                        started = true;
                    }
                    Err(e) => {
                        counters::HANDLERS_FAILED.inc();
                        // What cannot be started with one event cannot with the next, as when its name has a zero byte.
                        if let Some(passed) = self.complaints.pass(lane.id, "start", now) {
                            log::error!(target: "agent", "Error invoking script '{script}': {e}{passed}");
                        }
                    }
                }
            }
        }
        started
    }

    /// Drops what waits, ends what runs, and reaps it.
    fn end(mut self, polled: &mut Events) {
        let now = self.clock.now();
        for lane in &mut self.lanes {
            self.missed.count(lane.waiting.clear());
            if let Some(run) = &mut lane.run {
                run.end(Reason::Stop, now, STOP_GRACE);
            }
        }
        let give_up = now + STOP_GRACE + REAP_PATIENCE;
        let mut busy = true;
        while self.lanes.iter().any(|lane| lane.run.is_some()) {
            if self.clock.now() >= give_up || !self.wait(polled, busy, give_up) {
                return log::error!(target: "agent", "Scripts could not be ended; leaving them behind");
            }
            busy = self.give_turns();
        }
    }
}

impl Drop for HandlerActor {
    /// Every event is delivered or counted, and every query answered, up to the last.
    fn drop(&mut self) {
        self.take_events();
        for lane in &mut self.lanes {
            self.missed.count(lane.waiting.clear());
        }
    }
}

/// The first of the two tokens of a lane's pipes.
fn pipe_token(lane: usize) -> usize {
    FIRST_PIPE.wrapping_add(lane.wrapping_mul(2))
}
