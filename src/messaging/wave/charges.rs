//! Members that take no part in waves: each is sent everything by three that do, at once and once more a
//! little later, in the dialect it understands. What it hears besides, it hears from its own kind.

use super::store::Item;
use super::{WaveTurn, Waves, send};
use crate::model::Moment;
use crate::wire::Shared;
use crate::wire::message::NewsId;
use fastrand::Rng;
use std::collections::VecDeque;
use std::time::Duration;

/// By how many members one is looked after.
const CARERS: usize = 3;
/// The most that one looks after.
const MAX_CHARGES: usize = 8;
/// How much later everything is sent once more, in milliseconds.
const AGAIN_MS: std::ops::Range<u64> = 200..400;
/// The most news that waits to be sent again.
const MAX_WAITING: usize = 8192;

/// What those that this process looks after have still to be sent.
#[derive(Debug, Default)]
pub(super) struct Charges {
    now: Vec<NewsId>,
    again: VecDeque<(Moment, NewsId)>,
    /// When something is due; what is due earlier than the front of `again` waits for it.
    due: Option<Moment>,
}

impl Charges {
    pub(super) fn learned(&mut self, id: NewsId, now: Moment, rng: &mut Rng) {
        self.now.push(id);
        self.due = Some(now);
        if self.again.len() < MAX_WAITING {
            self.again.push_back((now + Duration::from_millis(rng.u64(AGAIN_MS)), id));
        }
    }

    pub(super) fn next_deadline(&self) -> Moment {
        let again = self.again.front().map_or(Moment::NEVER, |(at, _)| *at);
        self.due.unwrap_or(Moment::NEVER).min(again)
    }

    /// What is to be sent now, for the first time and again.
    fn take(&mut self, now: Moment) -> (Vec<NewsId>, Vec<NewsId>) {
        self.due = None;
        let mut again = Vec::new();
        while self.again.front().is_some_and(|(at, _)| *at <= now)
            && let Some((_, id)) = self.again.pop_front()
        {
            again.push(id);
        }
        (std::mem::take(&mut self.now), again)
    }

    /// Whether something is still to be sent again.
    pub(super) fn waits_for(&self, id: NewsId) -> bool {
        self.again.iter().any(|(_, waiting)| *waiting == id)
    }
}

impl Waves {
    pub(super) fn look_after_charges(&mut self, turn: &mut WaveTurn) {
        if turn.now < self.charges.next_deadline() {
            return;
        }
        let (first, again) = self.charges.take(turn.now);
        let members = turn.members;
        for name in members.rings().charges(members.me(), CARERS, MAX_CHARGES) {
            let Some(row) = members.row(name) else { continue };
            let lacks = |item: &Item| !item.is_confirmed_by(name);
            let ids = first.iter().chain(&again);
            let news: Vec<Shared> = ids
                .filter_map(|id| self.store.get(*id))
                .filter(|item| lacks(item))
                .map(|item| item.news.clone())
                .collect();
            if !news.is_empty() {
                send(row, None, &news, turn);
            }
        }
        self.confirmed(&again, members);
    }
}
