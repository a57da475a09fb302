//! Everything that is held on behalf of others, besides the table of members and what grows with it: the sum of all
//! budgets is at most 64 MiB. `manual/limits.md` has the same table for operators.

use super::{channels, handlers, net, rpc};
use crate::rpc::member_list;
use crate::{membership, messaging, model, node, telemetry, wire};

/// All of them together, in bytes.
const TOTAL: usize = 64 << 20;

/// What is held, and at most how many bytes of it.
const BUDGETS: [(&str, usize); 22] = [
    ("messages of streams that are not complete", net::sync::room::MAX_UNREAD),
    ("answers on streams that are not read", net::sync::room::MAX_UNSENT),
    ("one message of a stream, decompressed", wire::MAX_INFLATED),
    ("the members in one message of a stream, decoded", wire::MAX_ROW_BYTES),
    ("the user events in one message of a stream, decoded", wire::MAX_EVENT_BYTES),
    ("comparisons of tables that others have begun", node::exchanges::MAX_HELD),
    ("one batch of datagrams, decoded", net::probe::MAX_BATCH_BYTES),
    ("datagrams whose news waits", net::backlog::MAX_BYTES),
    ("messages on their way to serf-probe", channels::MAX_TO_PROBE),
    ("messages on their way to serf-gossip", channels::MAX_TO_GOSSIP),
    ("messages on their way to serf-events", channels::MAX_TO_EVENTS),
    ("user events that are remembered", messaging::user_events::MAX_BYTES),
    ("user events that are being coalesced", messaging::coalesce::MAX_PENDING_BYTES),
    ("news that travels in waves", messaging::wave::MAX_BYTES),
    ("ids of events and queries that travelled in waves", 2 * messaging::wave::MAX_SEEN_BYTES),
    ("broadcasts that are gossiped", messaging::queue::MAX_BYTES),
    ("broadcasts on their way from the table", node::broadcasts::MAX_WAITING_BYTES),
    ("member events on their way from the table", MEMBER_EVENTS),
    ("events for handlers", handlers::sender::MAX_EVENT_BYTES + handlers::waiting::MAX_WAITING_BYTES),
    ("requests and unread output of control clients", rpc::actor::MAX_HELD),
    ("lists of members that control clients read", member_list::MAX_HELD),
    ("records and log lines that wait", RECORDS_AND_LINES),
];

const MEMBER_EVENTS: usize = node::table::MAX_WAITING_EVENTS * size_of::<model::MemberEvent>();
const RECORDS_AND_LINES: usize = rpc::lanes::MAX_EVENT_BYTES
    + rpc::lanes::MAX_LOG_BYTES
    + telemetry::MAX_QUEUE_BYTES
    + telemetry::MAX_RECENT_BYTES;

#[test]
fn the_budgets_add_up_to_what_is_promised() {
    let sum: usize = BUDGETS.iter().map(|(_, bytes)| bytes).sum();
    assert!(sum <= TOTAL, "{sum} bytes are {} too many", sum - TOTAL);
}

#[test]
fn the_manual_has_every_budget() {
    let manual = include_str!("../manual/limits.md");
    for (what, bytes) in BUDGETS {
        let row = format!("| {what} | {} |", size(bytes));
        assert!(manual.contains(&row), "'{row}' is not in limits.md");
    }
}

/// As people write it, rounded to quarters of a MiB.
fn size(bytes: usize) -> String {
    let quarters = (bytes + (1 << 17)) >> 18;
    let fraction = ["", ".25", ".5", ".75"][quarters % 4];
    format!("{}{fraction} MiB", quarters / 4)
}

#[test]
fn each_limit_fits_the_others() {
    // What one member says at most is read by another, and kept.
    const { assert!(membership::exchange::WHOLE_BYTES + wire::MAX_EVENT_BYTES <= wire::stream::MAX_FRAME) }
    const { assert!(membership::exchange::WHOLE_BYTES + wire::MAX_EVENT_BYTES <= net::sync::room::MAX_UNSENT) }
    const { assert!(wire::stream::MAX_FRAME + 64 * 1024 <= net::sync::room::MAX_UNREAD) }
    const { assert!(messaging::user_events::MAX_BYTES <= wire::MAX_EVENT_BYTES) }
    const { assert!(wire::MAX_EVENT_BYTES <= channels::MAX_TO_EVENTS) }
}
