//! What waits for one script: its events, oldest first, and how many of them may. Pure.

use super::reply::Chance;
use crate::model::Event;
use std::collections::VecDeque;
use std::sync::Arc;

/// The most events that wait for one script.
pub(crate) const MAX_WAITING: usize = 1024;

/// The most memory that the events waiting for one script keep alive, in bytes (as `weight`
/// reckons). A single event that is larger may wait alone.
pub(crate) const MAX_WAITING_BYTES: usize = 1024 * 1024;

/// An event on its way to one script.
#[derive(Debug)]
pub(crate) struct Job {
    /// What happened.
    pub(crate) event: Arc<Event>,
    /// Its chance to answer, if it is a query.
    pub(crate) chance: Option<Chance>,
    /// Its bytes of memory. The same event may wait for several scripts and is counted for each, though they share it.
    pub(crate) weight: usize,
}

/// The events that wait for one script, oldest first.
///
/// When there is no room for another, the oldest go. Handlers mostly keep something in step with
/// the members; after a gap, a script that gets the latest of each member is right again, and
/// one that got only what came first keeps on using members that are gone. Of queries,
/// the oldest is the one whose answer is of least use.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    jobs: VecDeque<Job>,
    bytes: usize,
}

impl Waiting {
    /// Lets an event wait. Returns how many others had to go for it.
    pub(crate) fn push(&mut self, job: Job) -> usize {
        let mut dropped = 0;
        while !self.jobs.is_empty()
            && (self.jobs.len() >= MAX_WAITING || self.bytes + job.weight > MAX_WAITING_BYTES)
        {
            self.pop();
            dropped += 1;
        }
        self.bytes += job.weight;
        self.jobs.push_back(job);
        dropped
    }

    /// The event whose turn it is.
    pub(crate) fn pop(&mut self) -> Option<Job> {
        let job = self.jobs.pop_front()?;
        self.bytes -= job.weight;
        Some(job)
    }

    /// Drops everything. Returns how much it was.
    pub(crate) fn clear(&mut self) -> usize {
        let dropped = self.jobs.len();
        *self = Waiting::default();
        dropped
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.jobs.len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::samples::user;
    use super::*;
    use crate::model::Footprint;

    fn job(event: Event) -> Job {
        let weight = event.footprint();
        Job { event: Arc::new(event), chance: None, weight }
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many() {
        let mut waiting = Waiting::default();
        let numbered = |n: usize| job(user(&n.to_string(), ""));
        assert_eq!((0..MAX_WAITING).map(|n| waiting.push(numbered(n))).sum::<usize>(), 0);
        assert_eq!(waiting.push(numbered(MAX_WAITING)), 1);
        assert_eq!(waiting.len(), MAX_WAITING);
        for n in 1..=MAX_WAITING {
            assert_eq!(*waiting.pop().unwrap().event, user(&n.to_string(), ""));
        }
        assert!(waiting.pop().is_none());
        assert_eq!(waiting.bytes, 0);
    }

    #[test]
    fn the_oldest_go_when_they_are_too_large() {
        let mut waiting = Waiting::default();
        let large = || job(user("x", &"p".repeat(256 * 1024)));
        assert_eq!([waiting.push(large()), waiting.push(large()), waiting.push(large())], [0; 3]);
        assert_eq!(waiting.push(large()), 1);
        assert_eq!(waiting.push(large()), 1);
        // Larger than all that may wait: it waits alone.
        assert_eq!(waiting.push(job(user("x", &"p".repeat(MAX_WAITING_BYTES)))), 3);
        assert_eq!(waiting.len(), 1);
        assert_eq!(waiting.push(job(user("y", ""))), 1);
        assert_eq!((waiting.len(), waiting.clear(), waiting.len(), waiting.bytes), (1, 1, 0, 0));
    }
}
