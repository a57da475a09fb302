//! A query that scripts may answer, and the promise that an answer, or that there is none, is given
//! exactly once.

use crate::model::QueryKey;
use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

/// What scripts had to say to a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HandlerAnswer {
    /// The output of the first script that ended well and wrote something; at most
    /// [`MAX_OUTPUT`](super::output::MAX_OUTPUT) bytes.
    Payload(Vec<u8>),
    /// No script answers, and none will.
    None,
}

/// Takes answers. Called on `serf-handlers`; must not block.
pub(crate) type AnswerFn = Box<dyn Fn(QueryKey, HandlerAnswer) + Send>;

/// An open query, shared by all the events that wait or run for it. When the last of them is
/// gone, for whatever reason, and none has answered, nobody will: dropping says so.
pub(crate) struct PendingReply {
    key: QueryKey,
    open: Cell<bool>,
    deliver: Rc<AnswerFn>,
}

impl PendingReply {
    /// Opens a query; `deliver` is called once.
    pub(crate) fn open(key: QueryKey, deliver: Rc<AnswerFn>) -> Rc<PendingReply> {
        Rc::new(PendingReply { key, open: Cell::new(true), deliver })
    }

    /// Answers, unless another script was faster.
    pub(crate) fn answer(&self, payload: &[u8]) {
        self.close(|| HandlerAnswer::Payload(payload.to_vec()));
    }

    fn close(&self, answer: impl FnOnce() -> HandlerAnswer) {
        if self.open.replace(false) {
            (self.deliver)(self.key, answer());
        }
    }
}

impl Drop for PendingReply {
    fn drop(&mut self) {
        self.close(|| HandlerAnswer::None);
    }
}

impl fmt::Debug for PendingReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingReply")
            .field("key", &self.key)
            .field("open", &self.open)
            .finish_non_exhaustive()
    }
}
