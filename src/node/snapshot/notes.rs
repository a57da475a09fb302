//! What is to be written: news become lines, and the members' clock is looked at now and then.

use super::known::Known;
use super::line::{ClockKind, Line};
use crate::membership::{Members, Row};
use crate::model::{LamportTime, Moment};
use std::time::Duration;

/// How long after the last news the members' clock is read once more: intents move it a little
/// after the event they belong to, and are no news themselves.
const SECOND_LOOK: Duration = Duration::from_millis(500);

/// News that supersedes itself on its way here: of each clock the latest time counts, and members, if what
/// was said of them found no room, are looked up in the table.
#[derive(Debug, Default)]
pub struct MissedNews {
    members: bool,
    event: LamportTime,
    query: LamportTime,
    left: bool,
}

impl MissedNews {
    /// Takes note of what found no room.
    pub fn note(&mut self, line: &Line) {
        match line {
            Line::Alive(..) | Line::NotAlive(_) | Line::Clock(ClockKind::Member, _) => self.members = true,
            Line::Clock(ClockKind::Event, time) => self.event = self.event.max(*time),
            Line::Clock(ClockKind::Query, time) => self.query = self.query.max(*time),
            Line::Leave => self.left = true,
        }
    }

    /// Whether members have to be looked up in the table.
    pub fn lacks_members(&self) -> bool {
        self.members
    }

    /// Whether the time of events or of queries has moved.
    pub fn has_times(&self) -> bool {
        self.event.max(self.query) > LamportTime::ZERO
    }

    /// The times of events and of queries. They come before everything else: nothing follows a leave.
    pub fn times(&self) -> [Line; 2] {
        [Line::Clock(ClockKind::Event, self.event), Line::Clock(ClockKind::Query, self.query)]
    }

    /// The other lines that make up for it, a leave last.
    pub fn lines(&self, members: Option<&Members>) -> Vec<Line> {
        let line = |row: &Row| match row.is_present() {
            true => Line::Alive(row.name.clone(), row.addr),
            false => Line::NotAlive(row.name.clone()),
        };
        let members = members.filter(|_| self.members).into_iter().flat_map(Members::rows).map(line);
        members.chain(self.left.then_some(Line::Leave)).collect()
    }
}

/// What is known, and which lines of it are not written yet.
#[derive(Debug)]
pub struct Notes {
    known: Known,
    lines: Vec<u8>,
    look_at: Moment,
}

impl Notes {
    /// Nothing is to be written.
    pub fn new(known: Known) -> Notes {
        Notes { known, lines: Vec::new(), look_at: Moment::NEVER }
    }

    /// What is known.
    pub fn known(&self) -> &Known {
        &self.known
    }

    /// When [`Notes::look_at_clock`] has something to do.
    pub fn next_deadline(&self) -> Moment {
        self.look_at
    }

    /// The clock is to be looked at a little later: news has come.
    pub fn look_later(&mut self, now: Moment) {
        self.look_at = now + SECOND_LOOK;
    }

    /// Takes note of news. Says whether that is worth a line. `time` reads the members' clock.
    pub fn learn(&mut self, line: &Line, time: impl FnOnce() -> LamportTime, now: Moment) -> bool {
        if let Line::Leave = line {
            // The clock as it is when we leave, for those that rejoin.
            self.look_at = Moment::ZERO;
            self.look_at_clock(time, now);
        }
        self.add(line)
    }

    fn add(&mut self, line: &Line) -> bool {
        let news = self.known.learn(line);
        if news {
            self.lines.extend(line.to_bytes());
        }
        news
    }

    /// Takes note of the members' clock, if it is time for that or something else is written
    /// anyway.
    pub fn look_at_clock(&mut self, time: impl FnOnce() -> LamportTime, now: Moment) {
        let due = now >= self.look_at;
        if !due && self.lines.is_empty() {
            return;
        }
        // One less: nothing with that time has been said yet.
        let time = time().previous();
        let moved = time > self.known.clocks().member;
        self.add(&Line::Clock(ClockKind::Member, time));
        if due {
            self.look_at = if moved { now + SECOND_LOOK } else { Moment::NEVER };
        }
    }

    /// The lines to write now; they are written from then on.
    pub fn take_lines(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.lines)
    }
}
