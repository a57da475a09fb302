//! Every limit on what one client may cost, and how long it may take.

use crate::messaging::filter::MAX_EVENT_FILTERS;
use std::time::Duration;

/// The largest request value, in bytes. Payloads end at 9 KiB; long lists of addresses fit.
pub(crate) const MAX_FRAME: usize = 1024 * 1024;
/// The largest request value before handshake and authentication, in bytes.
pub(crate) const MAX_FRAME_BEFORE_AUTH: usize = 4 * 1024;
/// The largest reply, in bytes: ten thousand members with full tags take 7 MB.
pub(crate) const MAX_REPLY: usize = 16 * 1024 * 1024;
/// With this many bytes unread, no further request of the client is taken.
pub(crate) const OUTPUT_PAUSE: usize = 64 * 1024;
/// With this many bytes unread, the next streamed record ends its stream instead.
pub(crate) const MAX_STREAM_BACKLOG: usize = 256 * 1024;
/// Requests that wait behind an unanswered one, in bytes; beyond, the client is not read.
pub(crate) const MAX_PIPELINE: usize = 64 * 1024;
/// Event streams of one client.
pub(crate) const MAX_STREAMS: usize = 64;
/// Items in the filters of all event streams of one client.
pub(crate) const MAX_STREAM_FILTERS: usize = MAX_EVENT_FILTERS;
/// Queries of one client that run at a time.
pub(crate) const MAX_QUERIES: usize = 256;
/// From the last answer to a query until its end is delivered. HashiCorp's client gives answers and the
/// end to its user by different ways: an end that comes on the heels of answers overtakes them, and
/// they are lost. Its own agent always waits for the deadline, so that it never met this.
pub(crate) const QUERY_END_DELAY: Duration = Duration::from_millis(100);
/// Queries that were delivered to one client and that it may still answer; beyond, it can no longer
/// answer the oldest.
pub(crate) const MAX_PENDING_QUERIES: usize = 1024;
/// From connecting until a client that is turned away has sent the header of its first request.
pub(crate) const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);
/// The most of that header that is kept, in bytes; it takes 25 or so.
pub(crate) const MAX_REFUSED_INPUT: usize = 256;
/// Wrong keys before the connection is closed.
pub(crate) const MAX_AUTH_FAILURES: u32 = 3;
/// From connecting until handshake and authentication are done.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// From the first byte of a request to its last.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a client may leave more than twice [`MAX_STREAM_BACKLOG`] bytes, or any after it closed
/// its sending side, without reading one.
pub(crate) const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// The same while it reads a list of members, of which few are held at a time.
pub(crate) const LIST_STALL_TIMEOUT: Duration = Duration::from_secs(5);
/// For the client to read its last reply when the connection is closed.
pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// After the last reply, for the client to close first. Closing with unread input would reset the
/// connection, and a reset can overtake the reply.
pub(crate) const LINGER_TIMEOUT: Duration = Duration::from_secs(1);
