//! A query that scripts may answer: which of their answers count, and the promise that there is one,
//! or that it is reported that there is none.

use crate::model::{Moment, QueryEvent, QueryKey};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::{Rc, Weak};
use std::time::Duration;

/// So long before a query's deadline its answers are given, whatever is still missing of those that
/// take precedence: at the deadline itself nothing reaches the asker any more. Half of the time
/// of a query that has less than twice this.
pub(crate) const LAST_CALL: Duration = Duration::from_millis(200);

/// What scripts had to say to a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HandlerAnswer {
    /// The output of a script that ended well and wrote something; at most
    /// [`MAX_OUTPUT`](super::output::MAX_OUTPUT) bytes. Others may follow; the first that can be sent counts.
    Payload(Vec<u8>),
    /// No script answers, and none will.
    None,
}

/// Takes answers. Called on `serf-handlers`; must not block.
pub(crate) type AnswerFn = Box<dyn Fn(QueryKey, HandlerAnswer) + Send>;

/// An open query. The scripts that want it have a [`Chance`] each, in the order in which they are
/// configured, and their answers are given in that order: the first one configured that has an
/// answer gives it, however fast the others are. When the last chance is gone, for whatever reason,
/// and none has answered, none will: dropping says so.
pub(crate) struct PendingReply {
    key: QueryKey,
    last_call: Moment,
    state: RefCell<State>,
    deliver: Rc<AnswerFn>,
}

#[derive(Debug, Default)]
struct State {
    chances: Vec<Answered>,
    /// Whether the last call is over.
    hurry: bool,
    delivered: bool,
}

/// What has come of a chance.
#[derive(Debug, PartialEq, Eq)]
enum Answered {
    NotYet,
    With(Vec<u8>),
    /// Not, or its answer has been given.
    Through,
}

impl State {
    /// The answers that can be given now, in order.
    fn due(&mut self) -> Vec<Vec<u8>> {
        let mut due = Vec::new();
        for chance in &mut self.chances {
            match chance {
                Answered::NotYet if self.hurry => {}
                Answered::NotYet => break,
                Answered::With(payload) => {
                    due.push(std::mem::take(payload));
                    *chance = Answered::Through;
                }
                Answered::Through => {}
            }
        }
        self.delivered |= !due.is_empty();
        due
    }
}

impl PendingReply {
    /// Opens a query at `now`; `deliver` is called once for each answer, or once to say that there is
    /// none.
    pub(crate) fn open(query: &QueryEvent, deliver: Rc<AnswerFn>, now: Moment) -> Rc<PendingReply> {
        let time = query.deadline.since(now);
        let last_call = now + time.saturating_sub(LAST_CALL).max(time / 2);
        Rc::new(PendingReply { key: query.key, last_call, state: RefCell::default(), deliver })
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let due = {
            let mut state = self.state.borrow_mut();
            change(&mut state);
            state.due()
        };
        for payload in due {
            (self.deliver)(self.key, HandlerAnswer::Payload(payload));
        }
    }
}

impl Drop for PendingReply {
    fn drop(&mut self) {
        if !self.state.get_mut().delivered {
            (self.deliver)(self.key, HandlerAnswer::None);
        }
    }
}

impl fmt::Debug for PendingReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingReply")
            .field("key", &self.key)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// One script's chance to answer a query; dropped, the script does not answer.
#[derive(Debug)]
pub(crate) struct Chance {
    reply: Rc<PendingReply>,
    /// Its place among the chances.
    place: usize,
    used: Cell<bool>,
}

impl Chance {
    /// One after those that there are.
    pub(crate) fn new(reply: &Rc<PendingReply>) -> Chance {
        let mut state = reply.state.borrow_mut();
        state.chances.push(Answered::NotYet);
        Chance { reply: Rc::clone(reply), place: state.chances.len() - 1, used: Cell::new(false) }
    }

    /// Answers. Only the first answer counts.
    pub(crate) fn answer(&self, payload: &[u8]) {
        self.settle(|| Answered::With(payload.to_vec()));
    }

    fn settle(&self, answered: impl FnOnce() -> Answered) {
        if !self.used.replace(true) {
            self.reply.change(|state| {
                if let Some(chance) = state.chances.get_mut(self.place) {
                    *chance = answered();
                }
            });
        }
    }
}

impl Drop for Chance {
    fn drop(&mut self) {
        self.settle(|| Answered::Through);
    }
}

/// The queries that several scripts may answer, until their last calls.
#[derive(Debug, Default)]
pub(crate) struct Replies(Vec<Weak<PendingReply>>);

impl Replies {
    /// Minds the last call of a query, if its answers may have to wait for each other.
    pub(crate) fn watch(&mut self, reply: Option<Rc<PendingReply>>) {
        self.0.extend(
            reply.filter(|reply| reply.state.borrow().chances.len() > 1).map(|reply| Rc::downgrade(&reply)),
        );
    }

    /// When [`Replies::tick`] has something to do.
    pub(crate) fn next_deadline(&self) -> Moment {
        let open = self.0.iter().filter_map(Weak::upgrade);
        open.map(|reply| reply.last_call).fold(Moment::NEVER, Moment::min)
    }

    /// Has answers given whose last call is over, and forgets queries that are.
    pub(crate) fn tick(&mut self, now: Moment) {
        self.0.retain(|reply| {
            let Some(reply) = reply.upgrade() else { return false };
            let over = reply.last_call <= now;
            if over {
                reply.change(|state| state.hurry = true);
            }
            !over
        });
    }
}
