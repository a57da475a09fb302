//! The machine that all tests share: whether it ran this process all the time, and whose turn it is
//! where a test needs it for itself.

use std::cell::Cell;
use std::sync::{Mutex, Once, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;
use std::time::{Duration, Instant};

// ---- Turns ----

/// Held by every test that runs agents.
static MACHINE: RwLock<()> = RwLock::new(());

thread_local! {
    static HAS_TURN: Cell<bool> = const { Cell::new(false) };
}

/// The right to run agents, until it is dropped. A test has one at a time: with two it could wait
/// for a test that needs the machine for itself and that waits for this one.
pub(crate) struct Turn {
    _held: Held,
}

#[expect(dead_code, reason = "held until it is dropped")]
enum Held {
    Shared(RwLockReadGuard<'static, ()>),
    Alone(RwLockWriteGuard<'static, ()>),
}

impl Turn {
    /// Beside others.
    pub(crate) fn shared() -> Turn {
        Turn::take(|| Held::Shared(MACHINE.read().unwrap_or_else(PoisonError::into_inner)))
    }

    /// While no other test of this process runs an agent: for tests that judge by the clock what a
    /// busy machine would spoil, or that load it so much that they would spoil others.
    pub(crate) fn alone() -> Turn {
        Turn::take(|| Held::Alone(MACHINE.write().unwrap_or_else(PoisonError::into_inner)))
    }

    fn take(hold: impl FnOnce() -> Held) -> Turn {
        assert!(!HAS_TURN.replace(true), "a test claims one network at a time");
        Turn { _held: hold() }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        HAS_TURN.set(false);
    }
}

// ---- Stalls ----

/// A pause of all processes that is worth noting: half of the shortest time that a ping has.
const STALL: Duration = Duration::from_millis(100);
/// How long the effects of a stall go on: a probe, the suspicion and its refutation.
pub(crate) const AFTERMATH: Duration = Duration::from_secs(10);
/// Between two looks at the clock.
const PULSE: Duration = Duration::from_millis(20);

/// When this process was last found late, and by how much: the machine did not run it, nor perhaps
/// the agents.
static STALLS: Mutex<Vec<(Instant, Duration)>> = Mutex::new(Vec::new());

/// Notes from now on when the machine does not run this process.
pub(crate) fn watch_the_machine() {
    static WATCH: Once = Once::new();
    WATCH.call_once(|| {
        thread::spawn(|| {
            loop {
                let start = Instant::now();
                thread::sleep(PULSE);
                let late = start.elapsed().saturating_sub(PULSE);
                if late >= STALL {
                    STALLS.lock().expect("nobody panics with it").push((Instant::now(), late));
                }
            }
        });
    });
}

/// The longest time since then that the machine did not run this process for.
pub(crate) fn stalled_since(then: Instant) -> Option<Duration> {
    let stalls = STALLS.lock().expect("nobody panics with it");
    stalls.iter().filter(|(at, _)| *at >= then).map(|(_, late)| *late).max()
}
