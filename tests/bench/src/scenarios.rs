//! What is measured. Each scenario answers with figures, for each of which less is better unless it says so.

use crate::cluster::{Cluster, Outcome, PATIENCE, time_to_start};
use serf::rpc::record::QueryCall;
use serf::rpc::{Client, ClientError, QueryAnswer, Record};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// A figure: what it is, and how much.
pub type Figure = (&'static str, f64);

/// A scenario: its name, and what it measures of a program with so many members.
pub type Scenario = (&'static str, fn(&Path, usize) -> Outcome<Vec<Figure>>);

/// All of them.
pub const SCENARIOS: &[Scenario] = &[
    ("size", size),
    ("start", start),
    ("join", join),
    ("idle", idle),
    ("event", event),
    ("burst", burst),
    ("rate", rate),
    ("query", query),
    ("fail", fail),
    ("leave", leave),
    ("rpc", rpc),
];

/// How long a new cluster is left alone first.
const SETTLE: Duration = Duration::from_secs(5);

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn settled(program: &Path, members: usize) -> Outcome<Cluster> {
    let cluster = Cluster::start(program, members)?;
    thread::sleep(SETTLE);
    Ok(cluster)
}

/// The middle one.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

fn size(program: &Path, _: usize) -> Outcome<Vec<Figure>> {
    Ok(vec![("size of the program (MB)", std::fs::metadata(program)?.len() as f64 / 1e6)])
}

fn start(program: &Path, _: usize) -> Outcome<Vec<Figure>> {
    let times = (0..10).map(|_| time_to_start(program).map(ms)).collect::<Outcome<Vec<_>>>()?;
    Ok(vec![("start until the control protocol answers (ms)", median(times))])
}

fn join(program: &Path, members: usize) -> Outcome<Vec<Figure>> {
    Ok(vec![("all start and join at once: all know all (ms)", ms(Cluster::start(program, members)?.joined))])
}

fn idle(program: &Path, members: usize) -> Outcome<Vec<Figure>> {
    const MEASURED: Duration = Duration::from_secs(30);
    let mut cluster = settled(program, members)?;
    cluster.clients.clear();
    let before = cluster.cpu()?;
    thread::sleep(MEASURED);
    let cpu = (cluster.cpu()? - before) / MEASURED.as_secs_f64() * 60.0 / members as f64;
    let resident = cluster.agents.iter().map(|agent| agent.resident()).collect::<Outcome<Vec<_>>>()?;
    Ok(vec![
        ("idle: CPU a minute and agent (ms)", cpu * 1e3),
        ("idle: resident (MB)", median(resident) / 1e6),
    ])
}

/// Hears user events on streams of all agents.
struct Hearing {
    delivered: Receiver<(String, Instant)>,
    by_name: BTreeMap<String, Vec<Instant>>,
}

impl Hearing {
    fn of(cluster: &Cluster) -> Outcome<Hearing> {
        let (sender, delivered) = channel();
        for agent in &cluster.agents {
            let (mut client, sender) = (agent.client()?, sender.clone());
            client.stream("user")?;
            thread::spawn(move || {
                // Until the agent has ended, or nobody listens any more.
                while let Ok(Some((_, record))) = client.next_record(None) {
                    let Record::User(event) = record else { continue };
                    if sender.send((event.name.to_string(), Instant::now())).is_err() {
                        return;
                    }
                }
            });
        }
        Ok(Hearing { delivered, by_name: BTreeMap::new() })
    }

    /// Listens until an event has been delivered so often, or until the deadline.
    fn until(&mut self, name: &str, times: usize, deadline: Instant) {
        while self.by_name.get(name).map_or(0, Vec::len) < times {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok((name, at)) = self.delivered.recv_timeout(left) else { return };
            self.by_name.entry(name).or_default().push(at);
        }
    }

    /// How many deliveries there were of events whose names begin so.
    fn deliveries(&self, prefix: &str) -> usize {
        self.by_name.iter().filter(|(name, _)| name.starts_with(prefix)).map(|(_, at)| at.len()).sum()
    }
}

fn event(program: &Path, members: usize) -> Outcome<Vec<Figure>> {
    let mut cluster = settled(program, members)?;
    let mut hearing = Hearing::of(&cluster)?;
    let (mut half, mut most, mut all) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..20 {
        // Not in step with turns of gossip.
        thread::sleep(Duration::from_millis(150 + 37 * number % 200));
        let (name, fired) = (format!("event-{number}"), Instant::now());
        cluster.clients[0].event(&name, b"payload", false)?;
        hearing.until(&name, members, fired + PATIENCE / 6);
        let mut times: Vec<Duration> =
            hearing.by_name.get(&name).into_iter().flatten().map(|at| at.duration_since(fired)).collect();
        times.sort();
        let share = |of: usize| times.get((members * of).div_ceil(100) - 1).copied().map(ms);
        for (share, figures) in [(share(50), &mut half), (share(99), &mut most), (share(100), &mut all)] {
            figures.push(share.unwrap_or(f64::INFINITY));
        }
    }
    Ok(vec![
        ("an event is known to 50 % (ms)", median(half)),
        ("an event is known to 99 % (ms)", median(most)),
        ("an event is known to all, worst of 20 (ms)", all.into_iter().fold(0.0, f64::max)),
    ])
}

fn burst(program: &Path, members: usize) -> Outcome<Vec<Figure>> {
    const EVENTS: usize = 2_000;
    let mut cluster = settled(program, members)?;
    let mut hearing = Hearing::of(&cluster)?;
    let start = Instant::now();
    for number in 0..EVENTS {
        cluster.clients[0].event(format!("burst-{number}"), b"payload", false)?;
    }
    let (mut delivered, mut last) = (0, start);
    // Until all is delivered, or nothing has been for a while.
    while delivered < EVENTS * members && last.elapsed() < Duration::from_secs(10) {
        hearing.until("", 1, Instant::now() + Duration::from_millis(100));
        let now = hearing.deliveries("burst-");
        if now > delivered {
            (delivered, last) = (now, Instant::now());
        }
    }
    let lost = (EVENTS * members - delivered) as f64 / (EVENTS * members) as f64;
    Ok(vec![
        ("2,000 events at once: lost (%)", lost * 100.0),
        ("2,000 events at once: the last is delivered after (s)", last.duration_since(start).as_secs_f64()),
    ])
}

fn rate(program: &Path, members: usize) -> Outcome<Vec<Figure>> {
    const A_SECOND: f64 = 100.0;
    const MEASURED: Duration = Duration::from_secs(8);
    let mut cluster = settled(program, members)?;
    let (before, start, mut fired) = (cluster.cpu()?, Instant::now(), 0_usize);
    while start.elapsed() < MEASURED {
        cluster.clients[0].event(format!("rate-{fired}"), b"payload", false)?;
        fired += 1;
        let next = start + Duration::from_secs_f64(fired as f64 / A_SECOND);
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    thread::sleep(Duration::from_secs(1));
    let cpu = (cluster.cpu()? - before) * 1e6 / (fired * members) as f64;
    Ok(vec![("100 events a second: CPU for each delivery (µs)", cpu)])
}

fn query(program: &Path, members: usize) -> Outcome<Vec<Figure>> {
    let mut cluster = settled(program, members)?;
    let (mut all, mut missing) = (Vec::new(), 0);
    for number in 0..10_u64 {
        thread::sleep(Duration::from_millis(150 + 37 * number % 200));
        let call = QueryCall { name: "bench".into(), request_ack: true, ..QueryCall::default() };
        let (start, mut acks, mut last) = (Instant::now(), 0, None);
        for answer in cluster.clients[0].ask(&call, Some(PATIENCE))? {
            match answer? {
                QueryAnswer::Ack { .. } => (acks, last) = (acks + 1, Some(start.elapsed())),
                QueryAnswer::Response { .. } => {}
                QueryAnswer::Done => break,
            }
        }
        missing += members.saturating_sub(acks);
        all.extend(last.filter(|_| acks >= members).map(ms));
    }
    Ok(vec![
        ("a query: all have acknowledged it (ms)", median(all)),
        ("ten queries: acknowledgements missing", missing as f64),
    ])
}

fn fail(program: &Path, members: usize) -> Outcome<Vec<Figure>> {
    let mut cluster = settled(program, members)?;
    let last = members - 1;
    let start = Instant::now();
    cluster.agents[last].kill()?;
    cluster.wait("the crash is known", |count| count("failed") == Some(1), &[last])?;
    Ok(vec![("a process is killed: all know (s)", start.elapsed().as_secs_f64())])
}

fn leave(program: &Path, members: usize) -> Outcome<Vec<Figure>> {
    let mut cluster = settled(program, members)?;
    let last = members - 1;
    let mut command = Command::new(program);
    command.args(["leave".to_string(), format!("-rpc-addr={}", cluster.agents[last].rpc())]);
    let start = Instant::now();
    let mut leaving = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let call = thread::spawn(move || leaving.wait().map(|_| start.elapsed()));
    cluster.wait("it has left for all", |count| count("left") == Some(1), &[last])?;
    let known = start.elapsed();
    let call = call.join().map_err(|_| "the command to leave was lost")??;
    Ok(vec![("leave: the command (ms)", ms(call)), ("leave: all others know (ms)", ms(known))])
}

fn rpc(program: &Path, members: usize) -> Outcome<Vec<Figure>> {
    let mut cluster = settled(program, members)?;
    let stats = cpu_a_call(&mut cluster, |client, _| client.stats().map(drop))?;
    let event =
        cpu_a_call(&mut cluster, |client, number| client.event(format!("rpc-{number}"), b"payload", false))?;
    Ok(vec![("`stats`: CPU a call (µs)", stats), ("`event`: CPU a call (µs)", event)])
}

/// Calls one agent again and again for a while.
fn cpu_a_call(
    cluster: &mut Cluster,
    call: impl Fn(&mut Client, u32) -> Result<(), ClientError>,
) -> Outcome<f64> {
    let (before, start, mut calls) = (cluster.agents[0].cpu()?, Instant::now(), 0);
    while start.elapsed() < Duration::from_secs(4) {
        call(&mut cluster.clients[0], calls)?;
        calls += 1;
    }
    Ok((cluster.agents[0].cpu()? - before) * 1e6 / f64::from(calls))
}
