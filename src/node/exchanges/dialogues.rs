//! The exchanges of what differs that are under way, each on a stream of its own.

use super::difference::{Dialogue, Outcome, SLICE};
use super::effects::{
    DialogueId, DialogueLine, ExchangeEffect, ExchangeTurn, MAX_HELD, Purpose, StreamFailure, StreamId,
};
use super::{Exchanges, Plan};
use crate::membership::{Members, Target};
use crate::model::NodeName;
use crate::telemetry::counters;
use crate::wire::difference::{DifferenceMessage, Hello};
use crate::wire::message::SerfState;
use crate::wire::stream::StreamMessage;
use fastrand::Rng;
use std::net::SocketAddr;

/// The most exchanges that are worked for at once.
const MOST_AT_ONCE: usize = 16;

impl Exchanges {
    /// Another member begins an exchange of what differs.
    pub(super) fn hear_hello(&mut self, stream: StreamId, hello: Hello, turn: &mut ExchangeTurn) {
        turn.table.members.hear_time(hello.ltime, turn.now);
        let theirs =
            SerfState { event_ltime: hello.event_ltime, query_ltime: hello.query_ltime, events: Vec::new() };
        turn.fx.push(ExchangeEffect::MergeSerf { theirs, ignore_past: false });
        turn.fx.push(ExchangeEffect::Recall(Plan::AnswerHello { stream, hello: Box::new(hello) }));
    }

    /// The conversation has said what it remembers: begins to work on the answer.
    pub(super) fn answer_hello(
        &mut self,
        stream: StreamId,
        hello: Hello,
        serf: SerfState,
        members: &Members,
        rng: &mut Rng,
    ) {
        let dialogue = Dialogue::answer(hello, serf, members, rng);
        self.dialogues.insert(DialogueLine::Theirs(stream), dialogue);
    }

    /// Begins an exchange of what differs.
    pub(super) fn open_dialogue(
        &mut self,
        (node, to): (NodeName, Target),
        is_newcomer: bool,
        serf: SerfState,
        members: &Members,
        rng: &mut Rng,
        fx: &mut Vec<ExchangeEffect>,
    ) {
        self.next_dialogue += 1;
        let id = DialogueId(self.next_dialogue);
        let (dialogue, hello) = Dialogue::open(node, is_newcomer, serf, members, rng);
        self.dialogues.insert(DialogueLine::Ours(id), dialogue);
        let (message, purpose) = (StreamMessage::Difference(hello), Purpose::Dialogue(id));
        fx.push(ExchangeEffect::Connect { to, message, purpose });
    }

    /// A message of a dialogue.
    pub(super) fn hear_in_dialogue(
        &mut self,
        line: DialogueLine,
        peer: SocketAddr,
        message: DifferenceMessage,
        turn: &mut ExchangeTurn,
    ) {
        let outcome = match self.dialogues.get_mut(&line) {
            Some(dialogue) => dialogue.hear(message, turn),
            None => Outcome::Unexpected,
        };
        self.go_on(line, peer, outcome, turn);
        self.bound_dialogues(turn.fx);
    }

    /// Whether so much is under way that others should wait.
    pub fn are_busy(&self) -> bool {
        self.held() > MAX_HELD / 2
    }

    /// What the dialogues that others have begun take. Those of this process are few.
    fn held(&self) -> usize {
        self.of_others().map(|(_, held)| held).sum()
    }

    fn of_others(&self) -> impl Iterator<Item = (DialogueLine, usize)> {
        self.dialogues.iter().filter_map(|(line, dialogue)| match line {
            DialogueLine::Theirs(_) => Some((*line, dialogue.held())),
            DialogueLine::Ours(_) => None,
        })
    }

    fn bound_dialogues(&mut self, fx: &mut Vec<ExchangeEffect>) {
        while self.held() > MAX_HELD
            && let Some((line, _)) = self.of_others().max_by_key(|(_, held)| *held)
        {
            counters::STREAMS_OVER_BUDGET.inc();
            self.dialogues.remove(&line);
            fx.push(ExchangeEffect::End(line));
        }
    }

    fn go_on(&mut self, line: DialogueLine, peer: SocketAddr, outcome: Outcome, turn: &mut ExchangeTurn) {
        match outcome {
            Outcome::Works => {}
            Outcome::Says(message) => turn.fx.push(ExchangeEffect::Say { line, message, last: false }),
            Outcome::Over(last) => {
                if let Some(dialogue) = self.dialogues.remove(&line) {
                    dialogue.end(turn);
                }
                turn.fx.push(match last {
                    Some(message) => ExchangeEffect::Say { line, message, last: true },
                    None => ExchangeEffect::End(line),
                });
            }
            Outcome::Unexpected => {
                turn.fx.push(ExchangeEffect::End(line));
                match line {
                    DialogueLine::Ours(id) => {
                        self.failed(Purpose::Dialogue(id), peer, &StreamFailure::Unexpected, turn);
                    }
                    DialogueLine::Theirs(stream) => {
                        self.closed(stream);
                        if let Some(passed) = self.complain(peer, "dialogue", turn.now) {
                            log::debug!(
                                target: "memberlist",
                                "{peer} says something unexpected in an exchange{passed}"
                            );
                        }
                    }
                }
            }
        }
    }

    /// Whether [`Exchanges::work`] has something to do.
    pub fn has_work(&self) -> bool {
        self.dialogues.values().any(Dialogue::has_work)
    }

    /// Whether what another member said on its stream waits for that work.
    pub fn works_for(&self, stream: StreamId) -> bool {
        self.dialogues.get(&DialogueLine::Theirs(stream)).is_some_and(Dialogue::has_work)
    }

    /// Does a part of the work that takes long, for which the table is only read.
    pub fn work(&mut self, members: &Members, rng: &mut Rng, fx: &mut Vec<ExchangeEffect>) {
        // In a small cluster it is little: then it is done for several at once.
        for _ in 0..(SLICE / members.len().max(1)).clamp(1, MOST_AT_ONCE) {
            self.work_for_one(members, rng, fx);
        }
    }

    fn work_for_one(&mut self, members: &Members, rng: &mut Rng, fx: &mut Vec<ExchangeEffect>) {
        let working = self.dialogues.iter_mut().find(|(_, dialogue)| dialogue.has_work());
        let Some((line, dialogue)) = working else { return };
        let line = *line;
        match dialogue.work(members, rng) {
            Outcome::Works => {}
            Outcome::Says(message) => fx.push(ExchangeEffect::Say { line, message, last: false }),
            Outcome::Over(Some(message)) => {
                self.dialogues.remove(&line);
                fx.push(ExchangeEffect::Say { line, message, last: true });
            }
            Outcome::Over(None) | Outcome::Unexpected => {
                self.dialogues.remove(&line);
                fx.push(ExchangeEffect::End(line));
            }
        }
        self.bound_dialogues(fx);
    }

    /// A stream that another member has opened is gone.
    pub fn closed(&mut self, stream: StreamId) {
        self.dialogues.remove(&DialogueLine::Theirs(stream));
    }

    /// A dialogue of this process has come to nothing. With whom it was.
    pub(super) fn dialogue_failed(&mut self, id: DialogueId) -> Option<NodeName> {
        self.dialogues.remove(&DialogueLine::Ours(id))?.partner
    }
}
