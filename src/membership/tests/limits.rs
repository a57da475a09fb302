//! Bounds: what is kept, for how long, how much of it, and what is refused.

use super::*;

const DAY: Duration = Duration::from_secs(24 * 3600);

#[test]
fn a_process_that_left_a_day_ago_neither_spins_nor_keeps_others_from_being_reaped() {
    let mut b = Bench::with(&["a", "b"]);
    b.act(|m, now, fx| m.begin_leave(now, fx));
    b.act(|m, now, fx| m.finish_leave(now, fx));
    b.pass(S(60));
    b.dead("a", 1, "a");
    b.forget();
    b.pass(DAY + S(1));
    assert_eq!(b.told(), ["member-reap a left"]);
    assert_eq!((b.status("me"), b.status("a")), ("left", "none"));
    assert_eq!(b.members.next_deadline(), Moment::NEVER);
}
