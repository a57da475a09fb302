//! Members that take no part in waves: each is sent everything by three that do, at once and once more a
//! little later, in the dialect it understands. What it hears besides, it hears from its own kind.

use super::Waves;
use super::store::{Confirmer, NewsItem};
use super::turn::{WaveTurn, send};
use crate::wire::Shared;

/// By how many members one is looked after.
const CARERS: usize = 3;
/// The most that one looks after.
const MAX_CHARGES: usize = 8;

impl Waves {
    pub(super) fn look_after_charges(&mut self, turn: &mut WaveTurn) {
        if turn.now < self.charges.next_deadline() {
            return;
        }
        let (first, again) = self.charges.take(turn.now);
        let members = turn.members;
        for name in members.rings().charges(members.me(), CARERS, MAX_CHARGES) {
            let Some(row) = members.row(name) else { continue };
            let who = Confirmer::new(name);
            let lacks = |item: &NewsItem| !item.is_confirmed_by(who);
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
