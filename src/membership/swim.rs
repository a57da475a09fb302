//! SWIM's rules: what an alive, suspect or dead message changes (SWIM §4, Lifeguard §IV).

use super::effects::{Effects, Spread, Transmit};
use super::row::{Row, State};
use super::suspicion::Suspicion;
use super::table::{MAX_PRESENT, Members, Presence};
use crate::model::{
    Incarnation, LamportTime, MAX_META_LEN, MemberEvent, MemberEventKind, Moment, NodeName, Tags, TagsError,
    Versions, canonical_ip,
};
use crate::telemetry::counters;
use crate::wire::message::{Alive, Dead, Message, Suspect};
use std::cmp::Reverse;
use std::net::SocketAddr;
use std::time::Duration;

impl Members {
    /// Someone is alive.
    pub fn alive(&mut self, msg: &Alive, now: Moment, fx: &mut Effects) {
        self.admit_alive(msg, Spread::Yes, now, fx);
    }

    pub(super) fn admit_alive(&mut self, msg: &Alive, spread: Spread, now: Moment, fx: &mut Effects) {
        let addr = SocketAddr::new(canonical_ip(msg.addr.ip()), msg.addr.port());
        if !self.is_sound(msg, addr, now) {
            return;
        }
        if msg.node == self.me {
            return self.hear_of_myself(msg, addr, now, fx);
        }
        if self.config.validate_names
            && let Err(why) = msg.node.check_plain()
        {
            counters::REFUSED_NAME.inc();
            // About this process's own table, so that a thousand names make one line.
            let me = self.me.clone();
            return self.complain(&me, "names", now, |_| {
                format!("Ignoring an alive message for '{}' ({addr}): {why}", msg.node)
            });
        }
        match self.rows.get(&msg.node) {
            None => self.admit_stranger(msg, addr, spread, now, fx),
            Some(row) => {
                if msg.incarnation == row.incarnation && row.addr == addr && row.is_present() {
                    return self.admit_second_run(msg, now, spread, fx);
                }
                if msg.incarnation > self.config.ceilings.incarnation(now) {
                    return self.refuse_claim(msg, now, fx);
                }
                if row.addr != addr && !self.address_is_free(row, now) {
                    if msg.incarnation < row.incarnation {
                        return self.note_rival(msg, addr, now);
                    }
                    return self.report_conflict(msg, addr, now, fx);
                }
                if msg.incarnation <= row.incarnation {
                    let same_place = row.addr == addr;
                    return if same_place {
                        self.challenge(&msg.node, now, fx);
                        self.ask_owner(&msg.node, now, fx);
                    };
                }
                if row.addr != addr {
                    return self.claim_name(msg, addr, spread, now);
                }
                self.admit_known(msg, addr, spread, now, fx);
            }
        }
    }

    /// Whether an alive message could be of a member at all. Complains if it could not.
    pub(super) fn is_sound(&mut self, msg: &Alive, addr: SocketAddr, now: Moment) -> bool {
        // What is said of this very process is put right, whatever vector it names: a member that
        // believes that would go on speaking to this process in the wrong tongue, or not at all.
        let about_me = msg.node == self.me && addr == self.my_row().addr;
        if !about_me && !self.admits_versions(&msg.node, addr, &msg.versions, now) {
            return false;
        }
        if msg.meta.len() > MAX_META_LEN || addr.port() == 0 || addr.ip().is_unspecified() {
            counters::REFUSED_MALFORMED.inc();
            let name = &msg.node;
            self.complain(name, "alive", now, |_| {
                format!(
                    "Ignoring an alive message for '{name}' ({addr}): it has no usable address or more \
                     than {MAX_META_LEN} bytes of tags"
                )
            });
            return false;
        }
        true
    }

    /// A member that counts as gone says to be alive in an incarnation that is over: old news, or a
    /// new run that does not know of the old one. HashiCorp's agents forget the dead after a while,
    /// so that nobody informs one of theirs that comes back, in its first incarnation again. Once
    /// it hears what its last was, it raises its own. It is asked at its address, where nobody else
    /// is bothered, and not often.
    pub(super) fn challenge(&mut self, node: &NodeName, now: Moment, fx: &mut Effects) {
        let (pause, from) = (self.config.probe_interval, self.me.clone());
        let Some(row) = self.rows.get_mut(node) else { return };
        if row.is_present() || now < row.challenged_until {
            return;
        }
        row.challenged_until = now + pause;
        let suspect = Suspect { incarnation: row.incarnation, node: node.clone(), from };
        let (to, messages) = (row.target(), vec![Message::from(suspect)]);
        fx.transmits.push(Transmit { to, messages, probe: None, piggybacks: false });
    }

    fn admit_stranger(
        &mut self,
        msg: &Alive,
        addr: SocketAddr,
        spread: Spread,
        now: Moment,
        fx: &mut Effects,
    ) {
        if let Some(pruned) = self.pruned.get(&msg.node)
            && msg.incarnation <= pruned.incarnation
            && let Some(at) = self.pruned.moment(&msg.node)
            && now.since(at) <= self.config.gossip_to_the_dead
        {
            return;
        }
        if self.forgotten.get(&msg.node).is_some_and(|gone| msg.incarnation <= gone.incarnation) {
            // Stale gossip: some member has not heard yet that it is gone. If it is not, it learns
            // from push/pull what is believed of it, and says so in a later incarnation.
            return;
        }
        if msg.incarnation > self.config.ceilings.incarnation(now) {
            return self.refuse_claim(msg, now, fx);
        }
        let text = msg.node.as_bytes().len() + msg.meta.len();
        if self.present() >= MAX_PRESENT || !self.has_room_for(text, now, fx) {
            counters::REFUSED_FULL.inc();
            // About this process's own table, so that a thousand names make one line.
            let me = self.me.clone();
            self.complain(&me, "full", now, |members| {
                format!("Refusing '{}': the table is full ({} members)", msg.node, members.present())
            });
            return;
        }
        let before = self.forgotten.remove(&msg.node).map_or(LamportTime::ZERO, |gone| gone.status_ltime);
        let intent = self.intents.remove(&msg.node).filter(|intent| intent.ltime > before);
        check_tags(&msg.node, &msg.meta);
        let mut row = Row::new(msg.node.clone(), addr, &msg.meta, msg.versions, now);
        row.incarnation = msg.incarnation;
        row.leaving = intent.is_some_and(|i| i.leave);
        row.status_ltime = intent.map_or(before, |i| i.ltime);
        row.native_only = self.config.native_only;
        let event = MemberEvent { kind: MemberEventKind::Join, member: row.member() };
        self.insert(row, now);
        self.pass_on(msg, addr, spread, fx);
        self.report(event, fx);
    }

    pub(super) fn admit_known(
        &mut self,
        msg: &Alive,
        addr: SocketAddr,
        spread: Spread,
        now: Moment,
        fx: &mut Effects,
    ) {
        let event = self.change(&msg.node, now, |row| {
            let returns = !row.is_present();
            if row.addr != addr {
                log::info!(
                    target: "memberlist",
                    "Updating address for left or failed node {} from {} to {addr}",
                    row.name, row.addr
                );
            }
            row.incarnation = msg.incarnation;
            row.addr = addr;
            row.versions = msg.versions;
            // As in memberlist, a member is updated when its tags are; an address changes only for
            // a member that returns, and what it speaks is nobody's news.
            let differs = row.meta.as_bytes() != msg.meta;
            if differs {
                row.meta = msg.meta.as_slice().into();
                check_tags(&msg.node, &msg.meta);
            }
            if !row.is_alive() {
                row.state = State::Alive;
                row.since = now;
            }
            if returns {
                row.leaving = false;
                row.probes = Default::default();
            }
            let kind = if returns { Some(MemberEventKind::Join) } else { None };
            let kind = kind.or(differs.then_some(MemberEventKind::Update));
            kind.map(|kind| MemberEvent { kind, member: row.member() })
        });
        self.pass_on(msg, addr, spread, fx);
        if let Some(Some(event)) = event {
            if event.kind == MemberEventKind::Join {
                // The run that was to be pruned has gone; this is the next one.
                self.prunes.remove(&msg.node);
            }
            self.report(event, fx);
        }
    }

    /// Two runs of one member can have come to the same incarnation with different tags, or as
    /// different kinds of agent. Only the member knows which is over, and restates when it hears
    /// of the other. So that all come to hear the same of the two, whichever they heard first,
    /// one is preferred: that which understands less, because both understand what it is sent,
    /// and else the one with the greater tags.
    fn admit_second_run(&mut self, msg: &Alive, now: Moment, spread: Spread, fx: &mut Effects) {
        let rank = |versions: &Versions| Reverse((versions.protocol_max, versions.to_bytes()));
        let row = &self.rows[&msg.node];
        if (rank(&row.versions), row.meta.as_bytes()) >= (rank(&msg.versions), &*msg.meta) {
            return;
        }
        let changed = self.change(&msg.node, now, |row| {
            let differs = row.meta.as_bytes() != msg.meta;
            row.versions = msg.versions;
            row.meta = msg.meta.as_slice().into();
            check_tags(&msg.node, &msg.meta);
            let event = || MemberEvent { kind: MemberEventKind::Update, member: row.member() };
            (row.addr, differs.then(event))
        });
        if let Some((addr, event)) = changed {
            self.pass_on(msg, addr, spread, fx);
            if let Some(event) = event {
                self.report(event, fx);
            }
        }
    }

    fn pass_on(&self, msg: &Alive, addr: SocketAddr, spread: Spread, fx: &mut Effects) {
        counters::MESSAGES_ALIVE.inc();
        if spread == Spread::Yes {
            fx.broadcasts.push(Message::from(Alive { addr, ..msg.clone() }));
        }
    }

    /// An alive message about this very process: an echo of what it said, a memory of its
    /// former run, or another process under the same name.
    fn hear_of_myself(&mut self, msg: &Alive, addr: SocketAddr, now: Moment, fx: &mut Effects) {
        let me = self.my_row();
        if self.presence != Presence::Here || msg.incarnation < me.incarnation {
            return;
        }
        if addr != me.addr {
            return self.report_rival(msg, addr, now, fx);
        }
        if msg.incarnation > self.config.ceilings.incarnation(now) {
            // Nobody believes it, nor what this process would have to claim to overrule it.
            return self.refuse_claim(msg, now, fx);
        }
        let same = msg.meta == me.meta.as_bytes() && msg.versions == me.versions;
        if msg.incarnation == me.incarnation && same {
            return;
        }
        let mine = me.incarnation;
        self.complain(&msg.node, "refute alive", now, |_| {
            let Alive { node, incarnation, .. } = msg;
            format!("Refuting an alive message for '{node}' ({addr}): incarnation {incarnation} against mine, {mine}")
        });
        self.refute(msg.incarnation, now, fx);
    }

    /// A member is said to be alive in an incarnation above the ceiling: it is asked itself.
    fn refuse_claim(&mut self, msg: &Alive, now: Moment, fx: &mut Effects) {
        counters::REFUSED_ABSURD.inc();
        let Alive { node, incarnation, .. } = msg;
        self.complain(node, "alive", now, |members| {
            let known = members.rows.get(node).map_or(Incarnation::default(), |r| r.incarnation);
            format!(
                "Ignoring an absurd alive message for '{node}': incarnation {incarnation}, known is {known}"
            )
        });
        self.ask_about_claim(node, now, fx);
    }

    /// Someone suspects someone.
    pub fn suspect(&mut self, msg: &Suspect, now: Moment, fx: &mut Effects) {
        let accused = self.hear_accusation("suspect", &msg.node, msg.incarnation, &msg.from, now, fx);
        let Some(incarnation) = accused else { return };
        let present = self.present();
        let (min, max) = self.config.suspicion_timeouts(present);
        // Two probe intervals before the nominal timeout enough others should have noticed, if
        // there are enough others: not counting this process and the suspect.
        let wanted = self.config.suspicion_mult.saturating_sub(2);
        let wanted = if present.saturating_sub(2) < wanted as usize { 0 } else { wanted };
        let news = self.change(&msg.node, now, |row| {
            let newer = incarnation > row.incarnation;
            row.incarnation = incarnation;
            match &mut row.state {
                State::Suspect(suspicion) if !newer => suspicion.confirm(&msg.from),
                // A later incarnation shows that the member has refuted what it was suspected of
                // so far; it gets the whole time to refute this as well.
                State::Alive | State::Suspect(_) => {
                    let suspicion = Suspicion::new(msg.from.clone(), wanted, min, max, now);
                    row.state = State::Suspect(Box::new(suspicion));
                    row.since = now;
                    counters::SUSPICIONS.inc();
                    true
                }
                State::Dead | State::Left => false,
            }
        });
        if news == Some(true) {
            counters::MESSAGES_SUSPECT.inc();
            fx.broadcasts.push(Message::from(Suspect { incarnation, ..msg.clone() }));
            if msg.from == self.me {
                self.remind_next(&msg.node, now);
            }
        }
    }

    /// A suspect has had its time, or is to be reminded.
    ///
    /// As an accuser this process informs it directly of what it is suspected of, once every probe
    /// interval. Gossip about it ends after a few ticks; a suspect that could not be reached
    /// during those must not be declared dead without ever having heard of it.
    pub(super) fn suspect_is_due(&mut self, node: &NodeName, now: Moment, fx: &mut Effects) {
        let Some(row) = self.rows.get(node) else { return };
        let State::Suspect(suspicion) = &row.state else { return };
        let (incarnation, from) = (row.incarnation, self.me.clone());
        if suspicion.deadline() > now {
            fx.send(row.target(), Message::from(Suspect { incarnation, node: node.clone(), from }));
            return self.remind_next(node, now);
        }
        log::info!(
            target: "memberlist",
            "Marking {node} as failed, suspect timeout reached ({} peer confirmations)", suspicion.confirmations()
        );
        self.dead(&Dead { incarnation, node: node.clone(), from }, now, fx);
    }

    fn remind_next(&mut self, node: &NodeName, now: Moment) {
        let next = now + self.config.probe_interval;
        self.change_suspicion(node, |suspicion| suspicion.remind(next));
    }

    /// Someone is dead, or says itself that it leaves.
    pub fn dead(&mut self, msg: &Dead, now: Moment, fx: &mut Effects) {
        let accused = self.hear_accusation("dead", &msg.node, msg.incarnation, &msg.from, now, fx);
        let Some(incarnation) = accused else { return };
        let event = self.change(&msg.node, now, |row| {
            row.incarnation = incarnation;
            if !row.is_present() {
                return None;
            }
            // A member that has announced to leave, or says so now, has left; any other has failed.
            let left = row.leaving || msg.node == msg.from;
            row.state = if left { State::Left } else { State::Dead };
            row.since = now;
            let kind = if left { MemberEventKind::Leave } else { MemberEventKind::Failed };
            Some(MemberEvent { kind, member: row.member() })
        });
        if let Some(Some(event)) = event {
            counters::MESSAGES_DEAD.inc();
            fx.broadcasts.push(Message::from(Dead { incarnation, ..msg.clone() }));
            self.report(event, fx);
            self.bound_tombstones(now, fx);
            self.ask_owner(&msg.node, now, fx);
        }
    }

    /// A suspect has refused connections for `time`, and several members have seen it.
    pub(super) fn crashed(
        &mut self,
        node: NodeName,
        incarnation: Incarnation,
        time: Duration,
        now: Moment,
        fx: &mut Effects,
    ) {
        log::info!(
            target: "memberlist",
            "Marking {node} as failed, it has refused connections for {:.1} s", time.as_secs_f64()
        );
        counters::CRASHES.inc();
        let from = self.me.clone();
        self.dead(&Dead { incarnation, node, from }, now, fx);
    }

    /// Hears that someone is suspected or dead, and refutes it if that is this process. If another is meant
    /// and the accusation is not about a run that is over, answers with the incarnation that the accused has by that.
    ///
    /// Any accusation counts that is not older than the row, however high: if there were one that does not count, a
    /// member could be brought to where nobody can accuse it. But it raises the row only up to a ceiling, so that
    /// the accused can answer, also to members that lag behind or whose clocks do.
    fn hear_accusation(
        &mut self,
        what: &'static str,
        node: &NodeName,
        accused: Incarnation,
        from: &NodeName,
        now: Moment,
        fx: &mut Effects,
    ) -> Option<Incarnation> {
        let row = self.rows.get(node)?;
        if accused < row.incarnation {
            return None;
        }
        if *node != self.me {
            return Some(row.incarnation.max(accused.min(self.config.ceilings.accusation(now))));
        }
        let ceilings = self.config.ceilings;
        // Of what nobody can say of itself others believe only so much, and that has been answered.
        let is_answered = accused > ceilings.incarnation(now) && row.incarnation > ceilings.accusation(now);
        if self.presence == Presence::Here && !is_answered {
            self.complain(node, "refute", now, |_| format!("Refuting a {what} message (from: {from})"));
            self.refute(accused, now, fx);
        }
        None
    }

    /// Restates that this process is alive, in an incarnation that beats the accusation.
    pub(super) fn refute(&mut self, accused: Incarnation, now: Moment, fx: &mut Effects) {
        // Having to refute means that others could not reach this process in time.
        self.awareness.apply(1);
        counters::REFUTATIONS.inc();
        self.restate(accused, now, fx);
    }

    /// Raises this process's incarnation above `than` and its own, and announces it.
    ///
    /// Not above the ceiling, where nobody would believe it: it rises by one each second, and what is missing then
    /// follows. What nobody believes need not be beaten either: that is brought down to what an accusation can do.
    pub(super) fn restate(&mut self, than: Incarnation, now: Moment, fx: &mut Effects) {
        let ceilings = self.config.ceilings;
        let ceiling = ceilings.incarnation(now);
        let (me, mine) = (self.me.clone(), self.my_row().incarnation);
        let than = if than > ceiling { ceilings.accusation(now) } else { than };
        let wanted = mine.max(than).next();
        if wanted > ceiling {
            let at = now + Duration::from_secs(1);
            let than = self.restate.map_or(than, |(_, planned)| planned.max(than));
            self.restate = Some((at, than));
            if mine >= ceiling {
                return;
            }
        }
        let alive = self.change(&me, now, |row| {
            row.incarnation = wanted.min(ceiling);
            row.alive_message()
        });
        fx.broadcasts.extend(alive.map(Message::from));
    }

    /// What could not be said because of the ceiling, a second ago.
    pub(super) fn restate_if_due(&mut self, now: Moment, fx: &mut Effects) {
        if let Some((_, than)) = self.restate.take_if(|(at, _)| *at <= now)
            && self.presence == Presence::Here
        {
            self.restate(than, now, fx);
        }
    }

    /// Changes this process's tags and announces them. Once it has left they are only noted, for
    /// the day it comes back: a member that heard of a new incarnation would take it for present.
    pub fn set_tags(&mut self, tags: Tags, now: Moment, fx: &mut Effects) -> Result<(), TagsError> {
        let meta = tags.encode()?;
        let me = self.me.clone();
        let changed = self.change(&me, now, |row| {
            let changed = row.meta.as_bytes() != meta;
            row.meta = meta.into();
            changed
        });
        if changed == Some(true) && self.presence != Presence::Gone {
            self.restate(Incarnation::default(), now, fx);
            let member = self.my_row().member();
            self.report(MemberEvent { kind: MemberEventKind::Update, member }, fx);
        }
        Ok(())
    }

    /// Joins again after having left: the one way back to [`Presence::Here`].
    pub fn come_back(&mut self, now: Moment, fx: &mut Effects) {
        if self.presence == Presence::Here {
            return;
        }
        self.presence = Presence::Here;
        let me = self.me.clone();
        let event = self.change(&me, now, |row| {
            let was_gone = !row.is_present();
            row.state = State::Alive;
            row.leaving = false;
            row.since = now;
            was_gone.then(|| MemberEvent { kind: MemberEventKind::Join, member: row.member() })
        });
        self.restate(Incarnation::default(), now, fx);
        if let Some(Some(event)) = event {
            self.report(event, fx);
        }
    }
}

/// Says so in the log when tags do not decode.
fn check_tags(name: &NodeName, meta: &[u8]) {
    if let Err(why) = Tags::decode(meta) {
        log::error!(target: "serf", "Failed to decode tags of '{name}': {why}");
    }
}
