//! The thread and its file together, on a real disk.

use super::*;
use crate::agent::thread::{Actor, Stop};
use crate::membership::{Config, Effects, Members, Profile, SelfDescription};
use crate::model::{LamportTime, MemberEvent, MemberEventKind, Moment, Status, Tags, Versions};
use crate::node::snapshot::known::MIN_COMPACT_BYTES;
use crate::node::snapshot::{ClockKind, Line};
use crate::telemetry::counters;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A directory of one test's own, removed when the test is over.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("serf-snapshot-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    fn snapshot(&self) -> PathBuf {
        self.0.join("snapshot")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn name(text: &str) -> NodeName {
    NodeName::new(text).unwrap()
}

fn addr(host: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host], 7946))
}

fn event(kind: MemberEventKind, who: &str, host: u8) -> MemberEvent {
    let (name, addr, meta) = (name(who), addr(host), Tags::default().encode().unwrap().into());
    let member = crate::model::Member {
        name,
        addr,
        meta,
        status: Status::Alive,
        versions: Versions::OURS,
        incarnation: crate::model::Incarnation::FIRST,
    };
    MemberEvent { kind, member }
}

/// A table with this process alone, whose clock has seen `ltime`.
fn table(ltime: u64) -> SharedTable {
    let me = SelfDescription { name: name("me"), addr: addr(1), tags: Tags::default() };
    let mut members =
        Members::new(Config::for_profile(Profile::Lan), me, Moment::ZERO, &mut Effects::default()).unwrap();
    members.resume(LamportTime(ltime), Moment::ZERO);
    SharedTable::new(members)
}

fn open(path: &Path, rejoin: bool) -> Snapshot {
    Snapshot::open(path, rejoin, "me").unwrap().expect("a file is kept")
}

/// An actor that does not run yet, on a channel of `capacity`.
fn actor(path: &Path, rejoin: bool, capacity: usize) -> (SnapshotActor, SnapshotSender) {
    let Snapshot { file, known } = open(path, rejoin);
    let (sender, messages, missed) = sender::channel(capacity);
    (SnapshotActor::new(file, known, messages, missed, table(7), Clock::start()), sender)
}

/// Runs the actor until it has dealt with everything that was sent.
fn run(actor: SnapshotActor, sender: &SnapshotSender) {
    let stop = Stop::default();
    stop.raise();
    sender.wake();
    actor.run(&stop);
}

#[test]
fn what_is_reported_is_in_the_file() {
    let scratch = Scratch::new();
    let path = scratch.snapshot();
    let snapshot = open(&path, false);
    assert_eq!((snapshot.clocks(), snapshot.previous()), (Clocks::default(), Vec::new()));
    let handle = snapshot.spawn(table(7), Clock::start()).unwrap();
    let sender = handle.sender();
    sender.keep(Line::of(&event(MemberEventKind::Join, "a b", 2)));
    sender.keep(Line::of(&event(MemberEventKind::Join, "c", 3)));
    sender.keep(Line::of(&event(MemberEventKind::Failed, "c", 3)));
    sender.keep(Line::Clock(ClockKind::Event, LamportTime(5)));
    sender.keep(Line::Clock(ClockKind::Event, LamportTime(4)));
    sender.keep(Line::Clock(ClockKind::Query, LamportTime(9)));
    handle.stop();

    let text = fs::read_to_string(&path).unwrap();
    for line in ["alive: a b 10.0.0.2:7946", "not-alive: c", "event-clock: 5", "query-clock: 9", "clock: 7"] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
    assert!(!text.contains("event-clock: 4"), "{text}");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    let again = open(&path, false);
    assert_eq!(again.previous(), [(name("a b"), addr(2))]);
    let expected = Clocks { member: LamportTime(7), event: LamportTime(5), query: LamportTime(9) };
    assert_eq!(again.clocks(), expected);
}

#[test]
fn a_leave_is_kept_and_nothing_after_it() {
    for rejoin in [false, true] {
        let scratch = Scratch::new();
        let path = scratch.snapshot();
        let (actor, sender) = actor(&path, rejoin, 16);
        sender.keep(Line::of(&event(MemberEventKind::Join, "a", 2)));
        sender.leave();
        sender.keep(Line::of(&event(MemberEventKind::Leave, "a", 2)));
        sender.keep(Line::Clock(ClockKind::Event, LamportTime(5)));
        run(actor, &sender);
        assert!(fs::read_to_string(&path).unwrap().ends_with("leave\n"));
        assert_eq!(open(&path, rejoin).previous().len(), usize::from(rejoin));
        assert_eq!(open(&path, false).previous(), []);
    }
}

#[test]
fn a_stream_of_events_does_not_wake_the_thread_for_each() {
    let scratch = Scratch::new();
    let path = scratch.snapshot();
    let (mut actor, sender) = actor(&path, false, 1);
    let time = |time| Line::Clock(ClockKind::Event, LamportTime(time));
    // The first one wakes the thread, which then promises to look again.
    sender.keep(time(1));
    actor.messages.wait(actor.clock, Moment::NEVER);
    actor.take_missed();
    assert!(actor.next_deadline() < actor.clock.now() + Duration::from_secs(1));
    (2..=50).for_each(|n| sender.keep(time(n)));
    let soon = actor.clock.now() + Duration::from_millis(1);
    actor.messages.wait(actor.clock, soon);
    assert!(actor.clock.now() >= soon, "nothing wakes it before");
    assert!(actor.take_missed().has_times());
    // And when nothing came meanwhile, it is woken again.
    assert!(!actor.take_missed().has_times());
    sender.keep(time(51));
    actor.messages.wait(actor.clock, Moment::NEVER);
    run(actor, &sender);
    assert_eq!(open(&path, false).clocks().event, LamportTime(51));
}

#[test]
fn a_full_channel_loses_nothing() {
    let scratch = Scratch::new();
    let path = scratch.snapshot();
    let (actor, sender) = actor(&path, true, 1);
    // Of all this only the first finds room.
    sender.keep(Line::of(&event(MemberEventKind::Join, "gone", 2)));
    sender.keep(Line::of(&event(MemberEventKind::Join, "me", 1)));
    for time in [3, 8, 5] {
        sender.keep(Line::Clock(ClockKind::Event, LamportTime(time)));
        sender.keep(Line::Clock(ClockKind::Query, LamportTime(time + 1)));
    }
    sender.leave();
    run(actor, &sender);
    let again = open(&path, true);
    assert!(again.previous().contains(&(name("me"), addr(1))), "looked up in the table");
    let expected = Clocks { member: LamportTime(7), event: LamportTime(8), query: LamportTime(9) };
    assert_eq!(again.clocks(), expected);
    drop(again);
    assert_eq!(open(&path, false).previous(), []);
}

#[test]
fn a_file_that_cannot_be_written_is_made_whole_later() {
    let scratch = Scratch::new();
    let path = scratch.snapshot();
    let (mut actor, sender) = actor(&path, false, 16);
    // As after a write that ended half-way, and with something in the way of a new file.
    fs::write(&path, "alive: old 10.0.0.9:7946\nevent-clo").unwrap();
    actor.behind = true;
    let obstacle = scratch.0.join("snapshot.new");
    fs::create_dir(&obstacle).unwrap();
    actor.learn(&Line::Alive(name("a"), addr(2)));
    let failed = counters::SNAPSHOT_WRITES_FAILED.value();
    actor.write();
    assert!(actor.behind && counters::SNAPSHOT_WRITES_FAILED.value() > failed);
    assert!(actor.next_deadline() == actor.retry_at && actor.retry_at < Moment::NEVER);
    actor.learn(&Line::Alive(name("b"), addr(3)));
    actor.write();
    assert!(actor.behind, "not before it is time");

    fs::remove_dir(&obstacle).unwrap();
    actor.retry_at = Moment::ZERO;
    actor.write();
    assert!(!actor.behind);
    run(actor, &sender);
    assert_eq!(open(&path, false).previous(), [(name("a"), addr(2)), (name("b"), addr(3))]);
}

#[test]
fn a_leave_is_kept_even_without_room_for_it() {
    let scratch = Scratch::new();
    let path = scratch.snapshot();
    fs::write(&path, "alive: a 10.0.0.9:7946\n").unwrap();
    let (mut actor, sender) = actor(&path, false, 16);
    actor.behind = true;
    fs::create_dir(scratch.0.join("snapshot.new")).unwrap();
    sender.leave();
    run(actor, &sender);
    assert_eq!(open(&path, false).previous(), []);
}

#[test]
fn a_file_that_cannot_be_compacted_is_appended_to() {
    let scratch = Scratch::new();
    let path = scratch.snapshot();
    fs::create_dir(scratch.0.join("snapshot.new")).unwrap();
    let (mut actor, sender) = actor(&path, false, 16);
    for round in 0..200 {
        // Events enough for a compaction every few rounds.
        for time in 0..100 {
            actor.learn(&Line::Clock(ClockKind::Event, LamportTime(1_000_000 + round * 100 + time)));
        }
        actor.write();
    }
    assert!(!actor.behind);
    run(actor, &sender);
    assert!(fs::metadata(&path).unwrap().len() > MIN_COMPACT_BYTES);
    assert_eq!(open(&path, false).clocks().event, LamportTime(1_019_999));
}

#[test]
fn compaction_keeps_the_file_small_and_whole() {
    let scratch = Scratch::new();
    let path = scratch.snapshot();
    let (mut actor, sender) = actor(&path, false, 16);
    for time in 1..=20_000 {
        actor.learn(&Line::Clock(ClockKind::Event, LamportTime(time)));
        if time % 100 == 0 {
            actor.learn(&Line::Alive(name(&time.to_string()), addr(1)));
            actor.write();
            assert!(fs::metadata(&path).unwrap().len() <= MIN_COMPACT_BYTES);
        }
    }
    run(actor, &sender);
    let again = open(&path, false);
    assert_eq!((again.previous().len(), again.clocks().event), (200, LamportTime(20_000)));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 2, "nothing is left beside it but the lock");
}

#[test]
fn a_torn_line_is_cut_off_before_anything_follows() {
    let scratch = Scratch::new();
    let path = scratch.snapshot();
    fs::write(&path, "event-clock: 12\nevent-clock: 13").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let (actor, sender) = actor(&path, false, 16);
    assert_eq!(fs::read_to_string(&path).unwrap(), "event-clock: 12\n");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "narrowed");
    sender.keep(Line::Clock(ClockKind::Event, LamportTime(14)));
    run(actor, &sender);
    assert!(fs::read_to_string(&path).unwrap().starts_with("event-clock: 12\nevent-clock: 14\n"));
}

#[test]
fn what_is_no_file_is_refused() {
    let scratch = Scratch::new();
    let refused = |path: &Path| Snapshot::open(path, false, "me").unwrap_err().to_string();
    assert!(
        refused(&scratch.0).ends_with("is a directory; expected a regular file"),
        "{}",
        refused(&scratch.0)
    );
    let socket = scratch.0.join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    assert!(refused(&socket).contains("a socket"));
    assert!(refused(Path::new("/dev/zero")).contains("a device"));
    let nowhere = scratch.0.join("no/such/directory");
    assert!(refused(&nowhere).contains("No such file or directory"), "{}", refused(&nowhere));
    assert!(!scratch.snapshot().exists());
}

#[test]
fn a_file_has_one_holder_and_others_learn_which() {
    let scratch = Scratch::new();
    let path = scratch.snapshot();
    let first = open(&path, false);
    let why = Snapshot::open(&path, false, "other").unwrap_err().to_string();
    let expected = format!("{} is in use by the agent 'me' (process {})", path.display(), std::process::id());
    assert_eq!(why, format!("Failed to setup snapshot: {expected}"));
    drop(first);
    let second = Snapshot::open(&path, false, "other").unwrap();
    let text = fs::read_to_string(scratch.0.join("snapshot.lock")).unwrap();
    assert_eq!(text, format!("'other' (process {})\n", std::process::id()), "and no more of the one before");
    assert_eq!(fs::metadata(scratch.0.join("snapshot.lock")).unwrap().permissions().mode() & 0o777, 0o600);
    drop(second);

    // A lock that cannot be had is no reason not to start, and a link there is not followed.
    let elsewhere = scratch.0.join("elsewhere");
    fs::write(&elsewhere, "precious").unwrap();
    fs::remove_file(scratch.0.join("snapshot.lock")).unwrap();
    std::os::unix::fs::symlink(&elsewhere, scratch.0.join("snapshot.lock")).unwrap();
    drop(open(&path, false));
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "precious");
}

#[test]
fn dev_null_keeps_nothing() {
    assert!(Snapshot::open(Path::new("/dev/null"), false, "me").unwrap().is_none());
}
