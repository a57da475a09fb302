//! The conversation as one member has it: what each input makes it ask for, in order.

use super::*;
use crate::membership::Transmit;
use crate::membership::tests::{Bench, addr, name};
use crate::messaging::keys::{KeyCommand, KeyStep};
use crate::messaging::{QueryParams, QueryProgress};
use crate::model::{MemberEventKind, lossy};
use crate::wire::keyring::Keyring;
use crate::wire::message::SerfMessage;
use crate::wire::message::{Answer, Query, QueryFilter, QueryResponse, Source};
use crate::wire::seal::Key;
use std::collections::BTreeSet;
use zeroize::Zeroizing;

const CLIENT: Token = Token { connection: 1, seq: 7 };

struct Speaker {
    bench: Bench,
    conversation: Conversation,
}

impl Speaker {
    /// A member among others that has a conversation.
    fn with(others: &[&str], keyring: Option<SharedKeyring>) -> Speaker {
        let settings = ConversationSettings {
            user_event_size_limit: 512,
            query_limits: QueryLimits::default(),
            resolve_names: true,
            keyring,
            resumed: Clocks::default(),
            ceilings: Ceilings::default(),
        };
        Speaker { bench: Bench::with(others), conversation: Conversation::new(settings, Moment::ZERO) }
    }

    fn turn(
        &mut self,
        input: impl FnOnce(&mut Conversation, &mut ConversationTurn),
    ) -> Vec<ConversationEffect> {
        let mut fx = Vec::new();
        let Bench { members, now, rng, .. } = &mut self.bench;
        input(&mut self.conversation, &mut ConversationTurn { members, now: *now, rng, fx: &mut fx });
        fx
    }

    fn hear(&mut self, message: impl Into<SerfMessage>) -> Vec<ConversationEffect> {
        self.turn(|c, turn| c.hear(Incoming::from(message.into()), turn))
    }

    fn ask(&mut self, params: QueryParams) -> Vec<ConversationEffect> {
        self.turn(|c, turn| c.ask(params, CLIENT, turn))
    }
}

/// One word for each effect.
fn words(effects: &[ConversationEffect]) -> Vec<String> {
    let word = |effect: &ConversationEffect| match effect {
        ConversationEffect::Broadcast(Message::Serf(SerfMessage::UserEvent(e))) => {
            format!("broadcast {}", e.name)
        }
        ConversationEffect::Broadcast(Message::Serf(SerfMessage::Query(q))) => {
            format!("broadcast {}", q.name)
        }
        ConversationEffect::Merged(found) => format!("merged {}", found.len()),
        ConversationEffect::Broadcast(other) => format!("broadcast {other:?}"),
        ConversationEffect::Send(transmit) => format!("send {}", transmit.messages.len()),
        ConversationEffect::Keep(line) => format!("keep {}", lossy(&line.to_bytes()).trim_end()),
        ConversationEffect::Deliver(Event::Members(events)) => format!("deliver {}", events.kind),
        ConversationEffect::Deliver(Event::User(event)) => format!("deliver {}", event.name),
        ConversationEffect::Deliver(Event::Query(query)) => format!("deliver {}", query.name),
        ConversationEffect::Reply(_, ConversationReply::Progress(progress)) => match progress {
            QueryProgress::Ack { from } => format!("ack {from}"),
            QueryProgress::Response { from, .. } => format!("response {from}"),
            QueryProgress::Done => "done".to_string(),
        },
        ConversationEffect::Reply(_, ConversationReply::Fired(result)) => format!("fired {}", result.is_ok()),
        ConversationEffect::Reply(_, ConversationReply::QueryStarted(result)) => {
            format!("started {}", result.is_ok())
        }
        ConversationEffect::Reply(_, ConversationReply::Responded(result)) => {
            format!("responded {}", result.is_ok())
        }
        ConversationEffect::Reply(_, ConversationReply::Keys(Ok(report))) => {
            let failed = report.error().unwrap_or("all".to_string());
            format!("keys {}/{}: {failed}", report.responses, report.nodes)
        }
        ConversationEffect::Reply(_, ConversationReply::Keys(Err(why))) => format!("no keys: {why}"),
        ConversationEffect::ChangeKey { change, .. } => format!("change {change:?}"),
        ConversationEffect::HashicorpMemberCame => "hashicorp".to_string(),
        ConversationEffect::NameLost(_) => "name lost".to_string(),
    };
    effects.iter().map(word).collect()
}

fn event(ltime: u64, name: &str) -> UserEvent {
    UserEvent { ltime: LamportTime(ltime), name: name.into(), payload: Vec::new(), coalesce: false }
}

fn query_of(effects: &[ConversationEffect]) -> Query {
    let query = |effect: &ConversationEffect| match effect {
        ConversationEffect::Broadcast(Message::Serf(SerfMessage::Query(query))) => Some(query.clone()),
        _ => None,
    };
    effects.iter().find_map(query).expect("a query is broadcast")
}

#[test]
fn an_event_is_kept_before_it_is_delivered_and_spread_by_who_fires_it() {
    let mut speaker = Speaker::with(&["a"], None);
    let fired = speaker.turn(|c, turn| c.fire("deploy".into(), vec![1], false, CLIENT, turn));
    assert_eq!(words(&fired), ["keep event-clock: 1", "deliver deploy", "broadcast deploy", "fired true"]);
    let heard = speaker.hear(event(5, "x"));
    assert_eq!(words(&heard), ["keep event-clock: 5", "deliver x"]);
    let again = speaker.hear(event(5, "x"));
    assert!(again.is_empty(), "{:?}", words(&again));
    let large = speaker.turn(|c, turn| c.fire("x".into(), vec![0; 600], false, CLIENT, turn));
    assert_eq!(words(&large), ["fired false"]);
}

#[test]
fn what_comes_by_an_exchange_is_delivered_in_order_and_not_spread() {
    let mut speaker = Speaker::with(&["a"], None);
    let state = |events: Vec<UserEvent>| SerfState {
        event_ltime: LamportTime(10),
        query_ltime: LamportTime(3),
        events,
    };
    let theirs = state(vec![event(9, "late"), event(4, "early")]);
    let merged = speaker.turn(|c, turn| c.merge(theirs, false, turn));
    assert_eq!(
        words(&merged),
        [
            "keep event-clock: 4",
            "deliver early",
            "keep event-clock: 9",
            "deliver late",
            // Only now, so that what the others know besides comes after the past.
            "merged 2",
        ]
    );
    assert_eq!(speaker.conversation.recall().events.len(), 2);
    // A join without replay: history.
    let mut speaker = Speaker::with(&["a"], None);
    let theirs = state(vec![event(4, "early")]);
    let merged = speaker.turn(|c, turn| c.merge(theirs, true, turn));
    assert_eq!(words(&merged), ["merged 0"]);
    assert!(speaker.conversation.times().0 >= LamportTime(10));
}

#[test]
fn a_query_that_nothing_answers_is_acknowledged_as_such_and_ends_with_the_last_answer() {
    let mut speaker = Speaker::with(&["a"], None);
    let params = QueryParams { name: "load".into(), request_ack: true, ..QueryParams::default() };
    let asked = speaker.ask(params.clone());
    assert_eq!(
        words(&asked),
        ["started true", "broadcast load", "keep query-clock: 1", "ack me", "deliver load"]
    );
    let query = query_of(&asked);
    let response = |answer| QueryResponse {
        ltime: query.ltime,
        id: query.id,
        from: name("a"),
        answer,
        payload: Vec::new(),
    };
    let over = speaker.hear(response(Answer::AckOnly));
    assert_eq!(words(&over), ["ack a", "done"]);
    assert_eq!(speaker.conversation.open_queries(), 0);

    // With a handler the answer of this member is waited for.
    speaker.conversation.set_handlers(vec![EventFilter::Query(Some("load".into()))]);
    let query = query_of(&speaker.ask(params));
    let key = query.key();
    let a = QueryResponse {
        ltime: query.ltime,
        id: query.id,
        from: name("a"),
        answer: Answer::AckOnly,
        payload: Vec::new(),
    };
    assert_eq!(words(&speaker.hear(a)), ["ack a"]);
    let handled = speaker.turn(|c, turn| c.handler_answered(key, b"1".to_vec(), turn));
    assert_eq!(words(&handled), ["response me", "done"]);
}

#[test]
fn an_asker_is_notified_once_that_no_answer_follows_and_a_late_one_is_sent_all_the_same() {
    for request_ack in [false, true] {
        let mut speaker = Speaker::with(&["a"], None);
        let query = Query { ack: request_ack, ..query_from_a(&speaker, vec![]) };
        let key = query.key();
        let heard = speaker.hear(query);
        assert_eq!(words(&heard), ["keep query-clock: 5", "send 1", "deliver load"]);
        assert!(speaker.turn(|c, turn| c.handlers_declined(key, turn)).is_empty(), "ack: {request_ack}");
        // A client that began to stream a moment ago.
        let late = speaker.turn(|c, turn| c.respond(key, b"1".to_vec(), CLIENT, turn));
        assert_eq!(words(&late), ["send 1", "responded true"]);
        let twice = speaker.turn(|c, turn| c.handler_answered(key, b"2".to_vec(), turn));
        assert!(twice.is_empty(), "{:?}", words(&twice));
    }
}

#[test]
fn a_query_with_a_bad_filter_is_not_delivered() {
    let mut speaker = Speaker::with(&["a"], None);
    let bad = QueryFilter::Tag { tag: "role".into(), expression: "(".into() };
    let query = query_from_a(&speaker, vec![bad]);
    let heard = speaker.hear(query);
    assert!(heard.is_empty(), "{:?}", words(&heard));
}

/// A query that another member asks everyone.
fn query_from_a(speaker: &Speaker, filters: Vec<QueryFilter>) -> Query {
    Query {
        ltime: LamportTime(5),
        id: 1,
        source: Source { node: name("a"), addr: speaker.bench.members.row("a").unwrap().addr },
        filters,
        ack: true,
        no_broadcast: false,
        relay_factor: 0,
        timeout_ms: 60_000,
        name: "load".into(),
        payload: Vec::new(),
    }
}

#[test]
fn a_stream_may_answer_what_handlers_do_not() {
    let mut speaker = Speaker::with(&[], None);
    speaker.conversation.set_streams(vec![EventFilter::All]);
    let query = query_of(&speaker.ask(QueryParams { name: "load".into(), ..QueryParams::default() }));
    let key = query.key();
    assert!(speaker.turn(|c, turn| c.handlers_declined(key, turn)).is_empty(), "the stream may still answer");
    let answered = speaker.turn(|c, turn| c.respond(key, b"2".to_vec(), CLIENT, turn));
    assert_eq!(words(&answered), ["response me", "done", "responded true"]);
    let twice = speaker.turn(|c, turn| c.respond(key, b"2".to_vec(), CLIENT, turn));
    assert_eq!(words(&twice), ["responded false"]);
}

#[test]
fn a_change_of_keys_is_answered_when_it_has_been_made() {
    let ring = Keyring::from_keys([Key::new(&[1; 16]).unwrap()]).unwrap();
    let mut speaker = Speaker::with(&[], Some(SharedKeyring::new(ring)));
    let text = Zeroizing::new(Key::new(&[2; 16]).unwrap().to_base64().to_string());
    let command = KeyCommand::Change(KeyStep::Install, text);
    let asked = speaker.turn(|c, turn| c.ask_about_keys(&command, CLIENT, turn));
    assert_eq!(words(&asked).last().unwrap(), "change KeyChange(Install)");
    let query = query_of(&asked);
    let key = query.key();
    let done = speaker.turn(|c, turn| c.key_changed(key, KeyStep::Install, Ok::<(), &str>(()), turn));
    assert_eq!(words(&done), ["keys 1/1: all"]);

    let asked = speaker.turn(|c, turn| c.ask_about_keys(&command, CLIENT, turn));
    let query = query_of(&asked);
    let key = query.key();
    let failed = speaker.turn(|c, turn| c.key_change_refused(key, turn));
    assert_eq!(words(&failed), ["keys 1/1: 1/1 nodes reported failure"]);

    let bad = KeyCommand::Change(KeyStep::Use, Zeroizing::new("?".to_string()));
    let refused = speaker.turn(|c, turn| c.ask_about_keys(&bad, CLIENT, turn));
    assert_eq!(words(&refused), ["no keys: illegal base64 data at input byte 0"]);
}

#[test]
fn without_keys_every_command_about_them_fails() {
    let mut speaker = Speaker::with(&[], None);
    let listed = speaker.turn(|c, turn| c.ask_about_keys(&KeyCommand::List, CLIENT, turn));
    assert_eq!(words(&listed).last().unwrap(), "keys 1/1: 1/1 nodes reported failure");
}

#[test]
fn internal_queries_reach_no_handler() {
    let mut speaker = Speaker::with(&["a"], None);
    speaker.conversation.set_handlers(vec![EventFilter::All]);
    let asked =
        speaker.ask(QueryParams { name: "_serf_ping".into(), request_ack: true, ..QueryParams::default() });
    assert_eq!(words(&asked), ["started true", "broadcast _serf_ping", "keep query-clock: 1", "ack me"]);
    let unknown = QueryParams { name: "_serf_nonsense".into(), ..QueryParams::default() };
    let asked = speaker.ask(unknown);
    assert!(!words(&asked).iter().any(|word| word.starts_with("deliver")), "{:?}", words(&asked));
}

#[test]
fn a_member_that_goes_is_not_waited_for_and_its_event_is_delivered() {
    let mut speaker = Speaker::with(&["a"], None);
    let asked = speaker.ask(QueryParams { name: "load".into(), request_ack: true, ..QueryParams::default() });
    assert_eq!(words(&asked)[0], "started true");
    let member = speaker.bench.members.row("a").unwrap().member();
    let failed = MemberEvent { kind: MemberEventKind::Failed, member };
    let over = speaker.turn(|c, turn| c.members_changed([failed], None, turn));
    assert_eq!(words(&over), ["done", "keep not-alive: a", "deliver member-failed"]);
}

#[test]
fn a_rival_of_the_name_makes_for_a_vote_after_a_while() {
    let mut speaker = Speaker::with(&["a", "b"], None);
    let rival = "10.9.9.9:7946".parse().unwrap();
    assert!(speaker.turn(|c, turn| c.members_changed([], Some(rival), turn)).is_empty());
    let at = speaker.conversation.next_deadline();
    assert!(at > speaker.bench.now && at < Moment::NEVER);
    speaker.bench.now = at;
    for of in ["a", "b"] {
        speaker.bench.members.record(&name(of), |probes| probes.udp_ok = 1);
    }
    let vote = speaker.turn(Conversation::tick);
    let asked: Vec<(SocketAddr, &Query)> = vote
        .iter()
        .filter_map(|effect| match effect {
            ConversationEffect::Send(Transmit { to, messages, .. }) => match &messages[0] {
                Message::Serf(SerfMessage::Query(query)) => Some((to.addr, query)),
                _ => None,
            },
            _ => None,
        })
        .collect();
    let to: BTreeSet<SocketAddr> = asked.iter().map(|(to, _)| *to).collect();
    assert_eq!(to, BTreeSet::from([addr("a"), addr("b")]));
    assert!(asked.iter().all(|(_, query)| query.name == "_serf_conflict" && query.no_broadcast));
    assert_ne!(asked[0].1.id, asked[1].1.id);
}
