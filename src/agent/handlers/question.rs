//! A query that scripts may answer, and the promise that whoever passed it on hears of it exactly
//! once.

use crate::model::QueryKey;
use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

/// What scripts had to say to a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandlerAnswer {
    /// The output of the first script that ended well and wrote something; at most
    /// [`MAX_OUTPUT`](super::MAX_OUTPUT) bytes.
    Payload(Vec<u8>),
    /// No script answers, and none will.
    None,
}

/// Whom to tell. Called on `serf-handlers`; must not block.
pub type AnswerFn = Box<dyn Fn(QueryKey, HandlerAnswer) + Send>;

/// An open query, shared by all the events that wait or run for it. When the last of them is
/// gone, for whatever reason, and none has answered, nobody will: dropping says so.
pub struct Question {
    key: QueryKey,
    open: Cell<bool>,
    tell: Rc<AnswerFn>,
}

impl Question {
    /// Opens a query; `tell` is called once.
    pub fn open(key: QueryKey, tell: Rc<AnswerFn>) -> Rc<Question> {
        Rc::new(Question { key, open: Cell::new(true), tell })
    }

    /// Answers, unless another script was faster.
    pub fn answer(&self, payload: &[u8]) {
        self.close(|| HandlerAnswer::Payload(payload.to_vec()));
    }

    fn close(&self, answer: impl FnOnce() -> HandlerAnswer) {
        if self.open.replace(false) {
            (self.tell)(self.key, answer());
        }
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        self.close(|| HandlerAnswer::None);
    }
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question").field("key", &self.key).field("open", &self.open).finish_non_exhaustive()
    }
}
