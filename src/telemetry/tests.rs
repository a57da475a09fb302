//! The logger and its thread together: what reaches the terminal and the monitors, in which order,
//! and that no thread that logs ever waits.

use super::*;
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use log::{Level, LevelFilter, Log, Record};
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

/// A terminal that keeps what is written to it.
#[derive(Clone, Default)]
struct Screen(Arc<Mutex<Vec<u8>>>);

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Screen {
    /// What was written, without the stamps of log lines.
    fn lines(&self) -> Vec<String> {
        let bytes = self.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap().lines().map(unstamped).collect()
    }
}

fn unstamped(line: &str) -> String {
    let stamp = line.find(" [").filter(|at| (19..=23).contains(at));
    match stamp {
        Some(at) => format!("{}{}", &line[..at - 19], &line[at + 1..]),
        None => line.to_string(),
    }
}

/// A terminal that takes each write only when allowed to, and says that one is waiting.
struct StuckPipe {
    arrived: Sender<()>,
    let_go: Receiver<()>,
    screen: Screen,
}

impl Write for StuckPipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.arrived.send(());
        let _ = self.let_go.recv();
        self.screen.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn say(logger: &Logger, level: Level, target: &str, message: &str) {
    logger.log(&Record::builder().level(level).target(target).args(format_args!("{message}")).build());
}

fn start(options: LogOptions) -> (Logger, LoggerHandle, Screen) {
    let screen = Screen::default();
    let (logger, handle) = Logger::start(options, screen.clone()).unwrap();
    (logger, handle, screen)
}

fn texts(lines: &[Arc<LogLine>]) -> Vec<String> {
    lines.iter().map(|line| unstamped(&line.text)).collect()
}

#[test]
fn held_lines_come_after_the_banner_and_before_the_rest() {
    let (logger, handle, screen) = start(LogOptions { gated: true, ..LogOptions::default() });
    say(&logger, Level::Info, target::AGENT, "Serf agent starting");
    handle.say("==> Starting Serf agent...");
    say(&logger, Level::Info, target::SERF, "EventMemberJoin: a 127.8.3.1");
    handle.say("==> Log data will now stream in as it occurs:\n");
    handle.open_gate();
    say(&logger, Level::Warn, target::MEMBERLIST, "later");
    assert!(handle.stop(PATIENCE));
    assert_eq!(
        screen.lines(),
        [
            "==> Starting Serf agent...",
            "==> Log data will now stream in as it occurs:",
            "",
            "    [INFO] agent: Serf agent starting",
            "    [INFO] serf: EventMemberJoin: a 127.8.3.1",
            "    [WARN] memberlist: later",
        ]
    );
}

#[test]
fn a_start_that_fails_still_shows_its_log() {
    let (logger, handle, screen) = start(LogOptions { gated: true, ..LogOptions::default() });
    say(&logger, Level::Error, target::AGENT, "why it failed");
    assert!(handle.stop(PATIENCE));
    assert_eq!(screen.lines(), ["    [ERR] agent: why it failed"]);
    assert!(handle.stop(PATIENCE), "stopping twice is no harm");
    say(&logger, Level::Error, target::AGENT, "nor is logging afterwards");
}

#[test]
fn the_gate_is_bounded_and_says_what_it_lost() {
    let (logger, handle, screen) = start(LogOptions { gated: true, ..LogOptions::default() });
    for i in 0..HELD_LINES + 7 {
        say(&logger, Level::Info, "serf", &i.to_string());
        // Keep in step with the thread, so that it is the gate that fills up and not the queue.
        while !logger.queue_is_empty() {
            std::thread::yield_now();
        }
    }
    assert!(handle.stop(PATIENCE));
    let lines = screen.lines();
    assert_eq!(lines.len(), HELD_LINES + 1);
    assert_eq!(lines.last().unwrap(), "    [WARN] agent: 7 log lines were dropped");
}

#[test]
fn monitors_see_debug_while_the_terminal_shows_info() {
    let (logger, handle, screen) = start(LogOptions::default());
    say(&logger, Level::Debug, "serf", "one");
    say(&logger, Level::Trace, "serf", "two");
    handle.set_level(LevelFilter::Trace);
    say(&logger, Level::Trace, "serf", "three");
    handle.set_level(LevelFilter::Error);
    say(&logger, Level::Warn, "serf", "four");
    assert!(handle.stop(PATIENCE));
    assert_eq!(texts(&handle.recent()), ["[DEBUG] serf: one", "[TRACE] serf: three", "[WARN] serf: four"]);
    assert!(screen.lines().contains(&"    [TRACE] serf: three".to_string()));
    assert!(!screen.lines().contains(&"    [WARN] serf: four".to_string()));
}

fn wait_for(handle: &LoggerHandle, text: &str) {
    let (seen, heard) = unbounded();
    let subscription = handle.subscribe(LevelFilter::Trace, move |line| drop(seen.send(line.clone())));
    if !texts(&subscription.backlog).iter().any(|t| t == text) {
        while unstamped(&heard.recv_timeout(PATIENCE).unwrap().text) != text {}
    }
    handle.unsubscribe(subscription.id);
}

#[test]
fn directives_refine_the_level_by_component() {
    let directives = Some("memberlist=debug,serf=warn".to_string());
    let (logger, handle, screen) = start(LogOptions { directives, ..LogOptions::default() });
    for target in [target::AGENT, target::MEMBERLIST, target::SERF] {
        say(&logger, Level::Debug, target, "debug");
        say(&logger, Level::Info, target, "info");
    }
    assert!(handle.stop(PATIENCE));
    assert_eq!(
        screen.lines(),
        ["    [INFO] agent: info", "    [DEBUG] memberlist: debug", "    [INFO] memberlist: info"]
    );
}

#[test]
fn subscribers_get_every_line_once() {
    let (logger, handle, _) = start(LogOptions::default());
    for i in 0..RECENT_LINES + 10 {
        say(&logger, Level::Info, "serf", &i.to_string());
    }
    let (sender, heard) = unbounded();
    let Subscription { id, backlog } =
        handle.subscribe(LevelFilter::Trace, move |line| drop(sender.send(line.clone())));
    for i in RECENT_LINES + 10..RECENT_LINES + 20 {
        say(&logger, Level::Info, "serf", &i.to_string());
    }
    let last = RECENT_LINES + 19;
    let mut lines = texts(&backlog);
    while lines.last() != Some(&format!("[INFO] serf: {last}")) {
        lines.push(unstamped(&heard.recv_timeout(PATIENCE).unwrap().text));
    }
    let first = last + 1 - lines.len();
    let expected: Vec<_> = (first..=last).map(|i| format!("[INFO] serf: {i}")).collect();
    assert_eq!(lines, expected);

    handle.unsubscribe(id);
    assert!(heard.recv_timeout(PATIENCE).is_err_and(|e| e.is_disconnected()), "dropped on return");
    assert!(handle.recent().len() <= RECENT_LINES);
    handle.stop(PATIENCE);
}

#[test]
fn a_stuck_terminal_costs_lines_and_never_time() {
    let (arrived, waiting) = unbounded();
    let (release, let_go) = bounded(0);
    let screen = Screen::default();
    let pipe = StuckPipe { arrived, let_go, screen: screen.clone() };
    let (logger, handle) = Logger::start(LogOptions::default(), pipe).unwrap();

    say(&logger, Level::Info, "serf", "first");
    waiting.recv_timeout(PATIENCE).unwrap();
    // From here on the thread is stuck in its write. None of this may wait for it; if any did,
    // the test would never end.
    let before = counters::LOG_LINES_DROPPED.value();
    handle.set_level(LevelFilter::Debug);
    for _ in 0..QUEUE_LINES {
        say(&logger, Level::Debug, "serf", "a flood");
    }
    for _ in 0..QUEUE_LINES {
        say(&logger, Level::Error, "serf", "important");
    }
    assert_eq!(texts(&handle.recent()), vec!["[ERR] serf: important"; RECENT_LINES], "kept all the same");
    assert!(counters::LOG_LINES_DROPPED.value() - before >= QUEUE_LINES as u64);
    assert!(!handle.stop(Duration::ZERO), "the end of the process does not wait for it either");
    let (seen, heard) = unbounded();
    let monitor = handle.subscribe(LevelFilter::Info, move |line| drop(seen.send(line.text.clone())));
    say(&logger, Level::Info, "serf", "monitors");
    assert_eq!(heard.try_iter().map(|line| unstamped(&line)).collect::<Vec<_>>(), ["[INFO] serf: monitors"]);
    handle.unsubscribe(monitor.id);

    // The reader comes back: everything queued comes out, then the tally.
    drop(release);
    wait_for(&handle, &format!("[WARN] agent: {} log lines were dropped", QUEUE_LINES + 1));
    assert!(handle.stop(PATIENCE));
    let lines = screen.lines();
    let count = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    assert_eq!(count("a flood"), QUEUE_LINES / 2, "a flood of DEBUG leaves room for errors");
    assert_eq!(count("important"), QUEUE_LINES / 2);
}

#[test]
fn what_the_terminal_does_not_show_is_kept_and_does_not_wake_the_thread() {
    let (arrived, waiting) = unbounded();
    let (release, let_go) = bounded(0);
    let pipe = StuckPipe { arrived, let_go, screen: Screen::default() };
    let (logger, handle) = Logger::start(LogOptions::default(), pipe).unwrap();
    say(&logger, Level::Info, "serf", "shown");
    waiting.recv_timeout(PATIENCE).unwrap();
    // The thread is stuck, so that whatever would be handed to it stays in its queue.
    let (seen, heard) = unbounded();
    let subscription = handle.subscribe(LevelFilter::Info, move |line| drop(seen.send(line.clone())));
    for _ in 0..QUEUE_LINES {
        say(&logger, Level::Debug, "serf", "not shown");
    }
    assert!(logger.queue_is_empty());
    assert!(heard.is_empty(), "nor is it rendered for a monitor that does not want it");
    assert_eq!(texts(&handle.recent()), vec!["[DEBUG] serf: not shown"; RECENT_LINES]);
    handle.unsubscribe(subscription.id);
    drop(release);
    assert!(handle.stop(PATIENCE));
}

#[test]
fn a_terminal_that_went_away_is_no_error() {
    struct Gone;
    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (logger, handle) = Logger::start(LogOptions::default(), Gone).unwrap();
    say(&logger, Level::Info, "serf", "into the void");
    wait_for(&handle, "[INFO] serf: into the void");
    say(&logger, Level::Info, "serf", "monitors still hear");
    wait_for(&handle, "[INFO] serf: monitors still hear");
    assert!(handle.stop(PATIENCE));
}

#[test]
fn json_lines_are_whole_lines() {
    let (logger, handle, screen) = start(LogOptions { format: Format::Json, ..LogOptions::default() });
    say(&logger, Level::Info, "serf", "EventMemberJoin: \"a\"\nb");
    assert!(handle.stop(PATIENCE));
    let bytes = screen.0.lock().unwrap().clone();
    let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(value["message"], "EventMemberJoin: \"a\"\\nb");
    assert_eq!(bytes.iter().filter(|b| **b == b'\n').count(), 1);
}

#[test]
fn what_surrounds_json_lines_is_json_too() {
    let (_logger, handle, screen) = start(LogOptions { format: Format::Json, ..LogOptions::default() });
    handle.say("==> Serf agent running!");
    handle.say("                  Node name: 'a'");
    handle.say("    ");
    handle.say("==> Log data will now stream in as it occurs:\n");
    assert!(handle.stop(PATIENCE));
    let bytes = screen.0.lock().unwrap().clone();
    let lines = String::from_utf8(bytes).unwrap();
    let messages: Vec<String> = lines
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["message"].as_str().unwrap().to_string()
        })
        .collect();
    assert_eq!(
        messages,
        ["Serf agent running!", "Node name: 'a'", "Log data will now stream in as it occurs:"]
    );
}
