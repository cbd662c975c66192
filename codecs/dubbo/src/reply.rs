//! All messages that the proxy creates itself: failures, heartbeats, and the shutdown notice. Their
//! forms were tested with Dubbo 2.7 and 3.3 clients.

use meltemi_frame::{Output, Reason, ReplyContext, SmallBytes};

use crate::format::Format;
use crate::header::{self, Header};

/// The mark in a receipt that the sender expects no reply.
pub(crate) const NO_ANSWER: u64 = 1 << 8;

/// The reasons that a failure can carry: all of them.
pub(crate) const REASONS: &[Reason] = Reason::ALL;

/// The maximum length of a failure's text in characters.
const TEXT: usize = 500;

/// The longest heartbeat body that a pong repeats: a receipt stores it without an allocation.
const NULL: usize = 38;

/// Returns the receipt of a request, or of a heartbeat with its body.
pub(crate) fn receipt(header: Header, heartbeat: &[u8]) -> ReplyContext {
    let mut bits = u64::from(header.serialization());
    if !header.is_request() || !header.is_two_way() {
        bits |= NO_ANSWER;
    }
    let name = if heartbeat.len() <= NULL {
        SmallBytes::new(heartbeat)
    } else {
        SmallBytes::default()
    };
    ReplyContext {
        id: Some(header.id),
        bits,
        name,
    }
}

/// Appends a response with a status other than 20. Its body is one string.
///
/// The body has the request's serialization if the codec can decode it, otherwise Hessian2, which
/// every Dubbo client has: a client selects its reader by the id in the response's flags.
pub(crate) fn failure(to: &ReplyContext, reason: Reason, text: &str, out: &mut Output) {
    let (serialization, format) = format_of(to);
    let status = match reason {
        Reason::BadRequest => header::BAD_REQUEST,
        Reason::NotFound => header::SERVICE_NOT_FOUND,
        Reason::Timeout => header::SERVER_TIMEOUT,
        Reason::Overloaded => header::THREADPOOL_EXHAUSTED,
        Reason::Denied => header::SERVICE_ERROR,
        Reason::Unavailable | Reason::Internal => header::SERVER_ERROR,
    };
    let end = text
        .char_indices()
        .nth(TEXT)
        .map_or(text.len(), |(at, _)| at);
    let text = text.get(..end).unwrap_or_default();
    let head = head(serialization, status, to.id.unwrap_or(0));
    // A `&str` is always valid text.
    message(head, out, |out| {
        let _ = format.put_field(Some(text.as_bytes()), out);
    });
}

/// Appends a heartbeat that requests a reply.
pub(crate) fn ping(id: i64, out: &mut Output) {
    let flags = header::REQUEST | header::TWO_WAY | header::EVENT;
    event(flags | HESSIAN2, 0, id, None, out);
}

/// Appends the reply to a heartbeat: its own null, in any serialization.
pub(crate) fn pong(to: &ReplyContext, out: &mut Output) {
    let body = to.name.as_slice();
    let id = to.id.unwrap_or(0);
    let serialization = (to.bits & u64::from(header::SERIALIZATION)) as u8;
    if body.is_empty() {
        let (serialization, format) = format_of(to);
        let head = head(serialization | header::EVENT, header::OK, id);
        message(head, out, |out| {
            let _ = format.put_field(None, out);
        });
        return;
    }
    let head = head(serialization | header::EVENT, header::OK, id);
    message(head, out, |out| out.put(body));
}

/// Appends the read-only event: the sender accepts no further requests, and expects no reply.
pub(crate) fn goaway(out: &mut Output) {
    let flags = header::REQUEST | header::EVENT;
    event(flags | HESSIAN2, 0, 0, Some(b"R"), out);
}

const HESSIAN2: u8 = 2;

fn event(flags: u8, status: u8, id: i64, name: Option<&[u8]>, out: &mut Output) {
    message(head(flags, status, id), out, |out| {
        let _ = Format::Hessian2.put_field(name, out);
    });
}

fn format_of(to: &ReplyContext) -> (u8, Format) {
    let serialization = (to.bits & u64::from(header::SERIALIZATION)) as u8;
    Format::of(serialization).map_or((HESSIAN2, Format::Hessian2), |format| {
        (serialization, format)
    })
}

const fn head(flags: u8, status: u8, id: i64) -> Header {
    Header {
        flags,
        status,
        id,
        body: 0,
    }
}

fn message(head: Header, out: &mut Output, body: impl FnOnce(&mut Output)) {
    let [front @ .., _, _, _, _] = head.write();
    out.put(&front);
    let hole = out.hole(4);
    body(out);
    let length = u32::try_from(out.since(&hole)).unwrap_or(0);
    out.fill(hole, &length.to_be_bytes());
}
