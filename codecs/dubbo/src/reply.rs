//! Everything that the mesh says itself: failures, heartbeats, and the notice that it is leaving,
//! in forms that Dubbo 2.7 and 3.3 clients were seen to understand.

use meltemi_frame::{Output, Reason, ReplyContext, SmallBytes};

use crate::format::Format;
use crate::header::{self, Header};

/// A receipt's mark that nobody waits for an answer.
pub(crate) const NO_ANSWER: u64 = 1 << 8;

/// The reasons that a failure can give: all of them.
pub(crate) const REASONS: &[Reason] = Reason::ALL;

/// The most text that a failure carries, in characters.
const TEXT: usize = 500;

/// The longest heartbeat body that a pong repeats: what a receipt holds without allocating.
const NULL: usize = 38;

/// What must be remembered of a request, or of a heartbeat and its body.
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

/// A response with a status other than 20, whose body is one string.
///
/// It is written in the request's serialization where that is read, and else in Hessian2, which
/// every Dubbo client has: a client picks its reader by the id in the response's flags.
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
    // A &str is always text.
    message(head, out, |out| {
        let _ = format.put_field(Some(text.as_bytes()), out);
    });
}

/// A heartbeat that asks for an answer.
pub(crate) fn ping(id: i64, out: &mut Output) {
    let flags = header::REQUEST | header::TWO_WAY | header::EVENT;
    event(flags | HESSIAN2, 0, id, None, out);
}

/// The answer to a heartbeat: the null that it carried, in whatever serialization that was.
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

/// The read-only event, which asks for no further requests and for no answer.
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
