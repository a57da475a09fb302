//! A query of this process, and what has come of it so far.

use crate::messaging::query_params::QueryProgress;
use crate::model::{Moment, NodeName};
use crate::telemetry::counters;
use crate::wire::message::{Answer, QueryResponse};
use std::collections::BTreeSet;

/// A query of this process that is still collecting.
#[derive(Debug)]
pub(crate) struct Asked {
    deadline: Moment,
    wants_acks: bool,
    acked: BTreeSet<NodeName>,
    answered: BTreeSet<NodeName>,
    /// The members that have not acknowledged, if that is wanted, and those that have not yet
    /// answered or said that they will not.
    silent: BTreeSet<NodeName>,
    undecided: BTreeSet<NodeName>,
}

impl Asked {
    /// A query to these members, which ends at `deadline` at the latest.
    pub(crate) fn new(expected: BTreeSet<NodeName>, wants_acks: bool, deadline: Moment) -> Asked {
        Asked {
            deadline,
            wants_acks,
            acked: BTreeSet::new(),
            answered: BTreeSet::new(),
            silent: if wants_acks { expected.clone() } else { BTreeSet::new() },
            undecided: expected,
        }
    }

    /// When it times out.
    pub(crate) fn deadline(&self) -> Moment {
        self.deadline
    }

    /// Whether nothing more is to be expected.
    pub(crate) fn is_complete(&self) -> bool {
        self.silent.is_empty() && self.undecided.is_empty()
    }

    /// A member failed or left: its answers are not waited for any more.
    pub(crate) fn gone(&mut self, name: &NodeName) {
        self.silent.remove(name);
        self.undecided.remove(name);
    }

    /// An answer came. Returns what is new in it.
    pub(crate) fn take(&mut self, msg: QueryResponse) -> Vec<QueryProgress> {
        let mut progress = Vec::new();
        let from = msg.from;
        let acked = self.acked.insert(from.clone());
        self.silent.remove(&from);
        match msg.answer {
            Answer::Ack | Answer::AckOnly => {
                if msg.answer == Answer::AckOnly {
                    self.undecided.remove(&from);
                }
                if !acked {
                    counters::QUERY_DUPLICATE_ACKS.inc();
                } else if self.wants_acks {
                    counters::QUERY_ACKS.inc();
                    progress.push(QueryProgress::Ack { from });
                }
            }
            Answer::Nothing | Answer::Payload => {
                // An answer whose ack was lost is as good as both.
                if acked && self.wants_acks {
                    counters::QUERY_ACKS.inc();
                    progress.push(QueryProgress::Ack { from: from.clone() });
                }
                self.undecided.remove(&from);
                if msg.answer == Answer::Payload {
                    if self.answered.insert(from.clone()) {
                        counters::QUERY_RESPONSES.inc();
                        progress.push(QueryProgress::Response { from, payload: msg.payload });
                    } else {
                        counters::QUERY_DUPLICATE_RESPONSES.inc();
                    }
                }
            }
        }
        progress
    }
}
