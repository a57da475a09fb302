//! The running thread with real scripts. Waits are polls with a deadline.

pub(crate) mod samples;

use super::output::MAX_OUTPUT;
use super::reply::LAST_CALL;
use super::waiting::MAX_WAITING;
use super::*;
use crate::model::{Event, Moment, QueryKey};
use crate::telemetry::counters;
use rustix::process::{Pid, Signal, kill_process};
use samples::{join, member, query, user};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Instant;

const PATIENCE: Duration = Duration::from_secs(30);

/// The thread, and a directory for its scripts' files, which they know as `$DIR`.
struct Bench {
    handle: Option<HandlersHandle>,
    answers: mpsc::Receiver<(QueryKey, HandlerAnswer)>,
    clock: Clock,
    dir: PathBuf,
}

impl Bench {
    fn start(scripts: &[&str]) -> Bench {
        Bench::start_with(scripts, None)
    }

    fn start_with(scripts: &[&str], timeout: Option<Duration>) -> Bench {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("serf-handlers-{}-{number}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let clock = Clock::start();
        let (sender, answers) = mpsc::channel();
        let settings = HandlerSettings { scripts: parse(&dir, scripts), timeout };
        let me = || member("me", "10.0.0.1", &["role=web"]);
        // The test may have ended without waiting for every answer.
        let answer = move |key, answer| drop(sender.send((key, answer)));
        let handle = spawn(settings, Box::new(me), Box::new(answer), clock).unwrap();
        Bench { handle: Some(handle), answers, clock, dir }
    }

    fn handle(&self) -> &HandlersHandle {
        self.handle.as_ref().unwrap()
    }

    fn send(&self, event: Event) {
        assert!(self.handle().sender().send(&Arc::new(event)));
    }

    /// No script wants this, and so the thread is not even woken.
    fn send_in_vain(&self, event: Event) {
        let before = self.dropped();
        assert!(!self.handle().sender().send(&Arc::new(event)));
        assert_eq!(self.dropped(), before, "and nothing is missed");
    }

    /// Asks with half a minute of time.
    fn ask(&self, name: &str) {
        self.send(query(name, self.clock.now() + PATIENCE));
    }

    fn answer(&self) -> HandlerAnswer {
        self.answers.recv_timeout(PATIENCE).expect("every query is answered").1
    }

    fn reconfigure(&self, scripts: &[&str]) {
        self.handle().set_scripts(parse(&self.dir, scripts));
    }

    fn dropped(&self) -> usize {
        self.handle().sender().dropped()
    }

    fn stop(&mut self) {
        self.handle.take().unwrap().stop();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// What is in a file so far; nothing if there is none.
    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap_or_default()
    }

    /// The process whose number a script wrote down, once it has.
    fn pid(&self, name: &str) -> Pid {
        wait("a script writes down a process", || self.text(name).ends_with('\n'));
        Pid::from_raw(self.text(name).trim().parse().unwrap()).unwrap()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.handle = None;
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn parse(dir: &Path, scripts: &[&str]) -> Vec<EventScript> {
    let place = |text: &&str| EventScript::parse(text.replace("$DIR", dir.to_str().unwrap())).unwrap();
    scripts.iter().map(place).collect()
}

fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A process that has ended and that nobody has reaped does not run.
fn runs(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

fn payload(text: &str) -> HandlerAnswer {
    HandlerAnswer::Payload(text.as_bytes().to_vec())
}

#[test]
fn events_reach_a_script_in_order_and_one_at_a_time() {
    // Were two to run at a time, one would find the other's lock.
    let script = "user=mkdir $DIR/lock || echo overlap >> $DIR/log; cat >> $DIR/log; rmdir $DIR/lock";
    let bench = Bench::start(&[script]);
    let expected: String = (0..40).map(|n| format!("{n}\n")).collect();
    (0..40).for_each(|n| bench.send(user("x", &n.to_string())));
    wait("all have run", || bench.text("log").len() >= expected.len());
    assert_eq!(bench.text("log"), expected);
    assert_eq!(bench.dropped(), 0);
}

#[test]
fn scripts_do_not_wait_for_each_other() {
    let first = "user=while [ ! -e $DIR/second ]; do sleep 0.01; done; echo > $DIR/first";
    let bench = Bench::start(&[first, "user=echo > $DIR/second"]);
    bench.send(user("x", ""));
    wait("the first has seen the second", || bench.file("first").exists());
}

#[test]
fn a_script_hears_of_what_it_wants() {
    let bench = Bench::start(&["member-leave,user:b=cat >> $DIR/log; echo $SERF_EVENT >> $DIR/log"]);
    bench.send_in_vain(join(&["n"]));
    bench.send_in_vain(user("a", "no"));
    bench.send(user("b", "yes"));
    wait("it has run", || bench.text("log").ends_with("user\n"));
    assert_eq!(bench.text("log"), "yes\nuser\n");
    bench.reconfigure(&["user:a=cat >> $DIR/log"]);
    bench.send_in_vain(user("b", "no"));
    bench.send(user("a", "now"));
    wait("the new one has run", || bench.text("log") == "yes\nuser\nnow\n");
}

#[test]
fn a_process_in_the_background_holds_nothing_up_and_lives_on() {
    let bench = Bench::start(&["query=sleep 300 & echo $! > $DIR/pid; echo done"]);
    bench.ask("a");
    assert_eq!(bench.answer(), payload("done\n"));
    let first = bench.pid("pid");
    bench.ask("b");
    assert_eq!(bench.answer(), payload("done\n"));
    wait("the second has started another", || bench.pid("pid") != first);
    let second = bench.pid("pid");
    for pid in [first, second] {
        assert!(runs(pid));
        kill_process(pid, Signal::KILL).unwrap();
    }
}

#[test]
fn a_script_need_not_read() {
    let large = "p".repeat(1024 * 1024);
    // The second one holds its full standard input for as long as it runs.
    for script in ["query=echo fine", "query=sleep 0.2; echo fine", "query=exec 0<&-; sleep 0.1; echo fine"] {
        let bench = Bench::start(&[script]);
        let mut event = query("x", bench.clock.now() + PATIENCE);
        if let Event::Query(query) = &mut event {
            query.payload = large.clone().into_bytes();
        }
        bench.send(event);
        assert_eq!(bench.answer(), payload("fine\n"), "{script}");
    }
    let bench = Bench::start(&["user=sleep 0.1; wc -c > $DIR/log"]);
    bench.send(user("x", &large));
    wait("all is read", || bench.text("log").trim() == "1048577");
}

#[test]
fn output_is_one_stream_of_which_the_last_is_kept() {
    let bench =
        Bench::start(&["query:order=echo a; echo b >&2; echo c", "query:much=seq 1 9999; printf END"]);
    bench.ask("order");
    assert_eq!(bench.answer(), payload("a\nb\nc\n"));
    bench.ask("much");
    let HandlerAnswer::Payload(bytes) = bench.answer() else { panic!("no answer") };
    assert_eq!(bytes.len(), MAX_OUTPUT);
    assert!(bytes.ends_with(b"9998\n9999\nEND"));
}

#[test]
fn a_query_is_answered_by_the_first_configured_that_has_an_answer() {
    let bench = Bench::start(&[
        "query:a=echo no; exit 3",
        "query:a=exit 0",
        "query:a=echo no; kill -9 $$",
        "query:a=sleep 0.1; echo yes",
        "query:b=echo no; exit 1",
        "query:b=exit 0",
        "query:both=sleep 0.1; echo first",
        "query:both=echo second",
        "user=x",
    ]);
    bench.ask("a");
    assert_eq!(bench.answer(), payload("yes\n"));
    bench.ask("b");
    assert_eq!(bench.answer(), HandlerAnswer::None);
    bench.send_in_vain(query("nobody's", bench.clock.now() + PATIENCE));
    bench.ask("both");
    // The second one counts only if the first is too large.
    assert_eq!([bench.answer(), bench.answer()], [payload("first\n"), payload("second\n")]);
    bench.send(query("a", Moment::ZERO));
    assert_eq!(bench.answer(), HandlerAnswer::None, "too late");
    assert_eq!(bench.dropped(), 4, "each of the four scripts missed it");
    assert!(bench.answers.try_recv().is_err(), "nothing is said twice");
}

#[test]
fn a_handler_that_never_ends_keeps_the_answers_of_others_until_the_last_call() {
    let bench = Bench::start(&["query=echo > $DIR/stuck; sleep 300", "query=echo here"]);
    let deadline = bench.clock.now() + Duration::from_secs(3);
    bench.send(query("x", deadline));
    assert_eq!(bench.answer(), payload("here\n"));
    let time_left = deadline.since(bench.clock.now());
    assert!(time_left <= LAST_CALL, "not before it: {time_left:?}");
    // Also one that has not even begun.
    let bench = Bench::start(&["user,query=echo > $DIR/stuck; sleep 300", "query=echo here"]);
    bench.send(user("x", ""));
    wait("the first one is busy", || bench.file("stuck").exists());
    bench.send(query("x", bench.clock.now() + Duration::from_secs(3)));
    assert_eq!(bench.answer(), payload("here\n"));
}

#[test]
fn signals_are_at_their_defaults() {
    let bench = Bench::start(&["query=exec grep -E '^Sig(Blk|Ign)' /proc/self/status"]);
    bench.ask("x");
    let HandlerAnswer::Payload(bytes) = bench.answer() else { panic!("no answer") };
    let text = String::from_utf8(bytes).unwrap();
    let mask = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap()
    };
    assert_eq!(mask("SigBlk:"), 0);
    for signal in [Signal::PIPE, Signal::CHILD, Signal::TERM] {
        assert_eq!(mask("SigIgn:") >> (signal.as_raw() - 1) & 1, 0, "{signal:?}");
    }
}

#[test]
fn what_cannot_be_started_holds_nothing_up() {
    let bench = Bench::start(&["query=printf '%s\\n' \"$SERF_QUERY_NAME\""]);
    // A variable cannot be as long as this.
    bench.ask(&"x".repeat(200_000));
    assert_eq!(bench.answer(), HandlerAnswer::None);
    // Nor hold a zero byte: the thread is not even woken for a script.
    assert!(!bench.handle().sender().send(&Arc::new(query("nul\0", Moment::NEVER))));
    bench.ask("fine");
    assert_eq!(bench.answer(), payload("fine\n"));
}

#[test]
fn a_script_that_never_ends_is_ended_with_all_it_started() {
    let script = "query=sleep 300 & echo $! > $DIR/child; echo $$ > $DIR/shell; echo partial; wait";
    let bench = Bench::start_with(
        &[
            script,
            "query=trap 'echo > $DIR/asked; exit 0' TERM; echo $$ > $DIR/ready; while :; do sleep 0.1; done",
        ],
        Some(Duration::from_millis(500)),
    );
    bench.ask("x");
    let (child, shell) = (bench.pid("child"), bench.pid("shell"));
    assert_eq!(bench.answer(), HandlerAnswer::None, "output of a script that was ended is no answer");
    wait("both are gone", || !runs(child) && !runs(shell));
    wait("scripts are asked to end before they are killed", || bench.file("asked").exists());
}

#[test]
fn a_script_that_does_not_want_to_end_is_killed_with_all_it_started() {
    // Ignoring a signal is inherited.
    let script =
        "query=trap '' TERM; sleep 300 & echo $! > $DIR/child; echo $$ > $DIR/shell; wait; sleep 300";
    let bench = Bench::start(&[script]);
    // Without a timeout it is the query's deadline that counts.
    bench.send(query("x", bench.clock.now() + Duration::from_millis(500)));
    let (child, shell) = (bench.pid("child"), bench.pid("shell"));
    assert_eq!(bench.answer(), HandlerAnswer::None);
    wait("both are gone", || !runs(child) && !runs(shell));
    bench.send(query("x", Moment::ZERO));
    assert_eq!(bench.answer(), HandlerAnswer::None);
}

#[test]
fn stopping_leaves_nothing_behind() {
    let stubborn = "user=trap '' TERM; sleep 300 & echo $! > $DIR/child; echo $$ > $DIR/shell; while :; do sleep 1; done";
    let mut bench = Bench::start(&[
        stubborn,
        "user=echo $$ > $DIR/plain; exec sleep 300",
        "query=echo > $DIR/q; sleep 300",
    ]);
    bench.send(user("x", ""));
    bench.send(user("x", "waits"));
    bench.ask("x");
    bench.ask("waits");
    let pids = ["child", "shell", "plain"].map(|name| bench.pid(name));
    wait("the query's script runs", || bench.file("q").exists());
    let sender = bench.handle().sender();
    bench.stop();
    // The kernel may need a moment for what the thread has killed but is not the parent of.
    wait("nothing is left", || pids.iter().all(|pid| !runs(*pid)));
    assert_eq!([bench.answer(), bench.answer()], [HandlerAnswer::None, HandlerAnswer::None]);
    assert_eq!(sender.dropped(), 3, "what waited is counted");
    assert!(!sender.send(&Arc::new(user("x", ""))), "nobody is there any more");
    assert_eq!(sender.dropped(), 4);
}

#[test]
fn a_flood_at_a_stuck_script_costs_only_that_script() {
    let mut bench = Bench::start(&["user=echo > $DIR/stuck; sleep 300", "user:last=cat > $DIR/other"]);
    bench.send(user("first", ""));
    wait("the script is stuck", || bench.file("stuck").exists());
    let before = counters::HANDLER_EVENTS_DROPPED.value();
    let sender = bench.handle().sender();
    // More than may wait find their way to the thread, and some, most likely, do not.
    let mut sent = Vec::new();
    let mut accepted = 0;
    while accepted < 4 * MAX_WAITING {
        let event = Arc::new(user(&sent.len().to_string(), &"p".repeat(512)));
        sent.push(Arc::downgrade(&event));
        if sender.send(&event) {
            accepted += 1;
        } else {
            std::thread::yield_now();
        }
    }
    let flood = sent.len();
    let kept = || sent.iter().filter(|event| event.strong_count() > 0).count();
    wait("the flood has settled", || kept() == MAX_WAITING && sender.dropped() == flood - MAX_WAITING);
    assert!(counters::HANDLER_EVENTS_DROPPED.value() - before >= (flood - MAX_WAITING) as u64);

    bench.send(user("last", "still here"));
    wait("other scripts do not notice", || bench.text("other") == "still here\n");
    assert_eq!(sender.dropped(), flood - MAX_WAITING + 1, "the oldest gave way to the last");
    bench.stop();
    assert_eq!(sender.dropped(), flood + 1, "all but the first were dropped in the end");
    assert_eq!(kept(), 0);
}

#[test]
fn handlers_that_stay_keep_what_waits_for_them() {
    let stays = "user=[ -e $DIR/began ] || { echo > $DIR/began; while [ ! -e $DIR/go ]; do sleep 0.01; done; }; cat >> $DIR/stays";
    let goes = "user=echo > $DIR/going; while [ ! -e $DIR/go ]; do sleep 0.01; done; cat >> $DIR/goes";
    let bench = Bench::start(&[stays, goes]);
    (1..=3).for_each(|n| bench.send(user("x", &n.to_string())));
    wait("both run", || bench.file("began").exists() && bench.file("going").exists());
    bench.reconfigure(&["user=cat >> $DIR/comes", stays]);
    wait("what waited for the one that goes is dropped", || bench.dropped() == 2);
    bench.send(user("x", "4"));
    fs::write(bench.file("go"), "").unwrap();
    wait("the one that stays hears of all", || bench.text("stays") == "1\n2\n3\n4\n");
    wait("the one that goes ends its run", || bench.text("goes") == "1\n");
    wait("the one that comes hears of the last", || bench.text("comes") == "4\n");
    assert_eq!(bench.dropped(), 2);
}
