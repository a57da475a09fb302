//! What is around a process: its handlers, its control connections, and the disk with its keyring.

use crate::delivery_laws::Told;
use crate::process::{Habit, Pid};
use crate::world::{Via, World};
use serf::messaging::QueryParams;
use serf::messaging::filter::EventFilter;
use serf::messaging::keys::{KeyChange, KeyCommand};
use serf::model::{Event, QueryKey, Token};
use serf::node::conversation::ConversationReply;

impl World {
    // ---- what they do ----------------------------------------------------------------------

    /// Fires an event.
    pub(crate) fn fire(&mut self, pid: Pid, name: &str, payload: &[u8], coalesce: bool) {
        let token = self.processes[pid].next_token();
        self.via = Via::Fire;
        self.act(pid, |node, now, out| node.fire(name, payload, coalesce, token, now, out));
        self.via = Via::Gossip;
    }

    /// Fires many events at one and the same moment.
    pub(crate) fn fire_all(
        &mut self,
        pid: Pid,
        name: &str,
        payloads: impl Iterator<Item = impl AsRef<[u8]>>,
    ) {
        let token = self.processes[pid].next_token();
        self.via = Via::Fire;
        self.act(pid, |node, now, out| {
            payloads.for_each(|payload| node.fire(name, payload.as_ref(), false, token, now, out));
        });
        self.via = Via::Gossip;
    }

    /// Asks a query.
    pub(crate) fn ask(&mut self, pid: Pid, params: QueryParams) {
        let token = self.processes[pid].next_token();
        self.processes[pid].listener.asks(token, params.request_ack);
        self.act(pid, |node, now, out| node.ask(params, token, now, out));
    }

    /// Asks everyone to do something with a key; the outcome is in the process's listener.
    pub(crate) fn ask_about_keys(&mut self, pid: Pid, command: &KeyCommand) {
        let token = self.processes[pid].next_token();
        self.processes[pid].listener.asks_about_keys();
        self.act(pid, |node, now, out| node.ask_about_keys(command, token, now, out));
    }

    /// Gives a process handlers for queries, or none.
    pub(crate) fn set_habit(&mut self, pid: Pid, habit: Habit) {
        self.processes[pid].habit = habit;
        let filters = match habit {
            Habit::Silent => Vec::new(),
            Habit::Answers(_) | Habit::Declines(_) => vec![EventFilter::Query(None)],
        };
        self.act(pid, |node, _, _| node.conversation.set_handlers(filters));
    }

    /// Lets handlers that are through with a query say so.
    pub(crate) fn handle(&mut self, pid: Pid) {
        let (now, process) = (self.now, &mut self.processes[pid]);
        let due: Vec<QueryKey> =
            process.looking.extract_if(.., |(at, _)| *at <= now).map(|(_, key)| key).collect();
        let answer = match process.habit {
            Habit::Answers(_) => Some(process.name.to_string().into_bytes()),
            Habit::Declines(_) | Habit::Silent => None,
        };
        for key in due {
            let answer = answer.clone();
            self.act(pid, |node, now, out| {
                node.converse(now, out, |conversation, turn| match answer {
                    Some(payload) => conversation.handler_answered(key, payload, turn),
                    None => conversation.handlers_declined(key, turn),
                });
            });
        }
    }

    // ---- what they hear --------------------------------------------------------------------

    /// Handlers hear of an event.
    pub(crate) fn deliver(&mut self, pid: Pid, event: Event) {
        let process = &mut self.processes[pid];
        match event {
            Event::User(event) => self.hear(pid, Told::Event(event, self.via)),
            Event::Members(events) => {
                self.tally.count("deliveries of member events");
                let verdict = process.observer.delivered(&events);
                self.obey(pid, verdict);
            }
            Event::Query(query) => {
                if let Habit::Answers(after) | Habit::Declines(after) = process.habit {
                    process.looking.push((self.now + after, query.key));
                }
            }
        }
    }

    /// A control connection hears of what it asked for.
    pub(crate) fn answer_client(&mut self, pid: Pid, token: Token, reply: ConversationReply) {
        match reply {
            ConversationReply::Fired(result) => result.expect("events of the simulator are small"),
            ConversationReply::QueryStarted(started) => {
                let started = started.expect("queries of the simulator are few and small");
                let told = self.processes[pid].listener.started(token, started);
                self.hear(pid, told);
            }
            ConversationReply::Progress(progress) => {
                let told = self.processes[pid].listener.progress_of(token, progress);
                self.hear(pid, told);
            }
            ConversationReply::Responded(_) => {}
            ConversationReply::Keys(report) => {
                self.tally.count("commands about keys");
                self.processes[pid].listener.keys_told(*report.expect("the simulator's keys are base64"));
            }
        }
    }

    pub(crate) fn change_key(&mut self, pid: Pid, change: &KeyChange, query: QueryKey) {
        let shared = self.processes[pid].keyring.clone().expect("only agents with keys change them");
        let mut ring = (*shared.now()).clone();
        let result = change.apply(&mut ring);
        if result.is_ok() {
            shared.replace(ring);
        }
        self.tally.count("changes of keyrings");
        self.act(pid, |node, now, out| node.key_changed(query, change.step, result, now, out));
    }
}
