//! The proxy's own replies to a Thrift client: a `TApplicationException` in the caller's transport
//! and encoding, for the method and sequence id of the call.

use meltemi_frame::{LocalMessage, Output, Reason, ReplyContext, Unsupported};

use crate::cursor::Digits;
use crate::dialect::{Encoding, MessageType};
use crate::{front, json, write};

/// Types of `TApplicationException` (apache `TApplicationException.h`). Older clients know no
/// others.
const UNKNOWN_METHOD: i32 = 1;
const INTERNAL_ERROR: i32 = 6;
const PROTOCOL_ERROR: i32 = 7;

pub(crate) fn say(say: LocalMessage<'_>, out: &mut Output) -> Result<(), Unsupported> {
    match say {
        LocalMessage::Failure { to, reason, text } => {
            exception(to, exception_type(reason), text, out)
        }
        // The codec itself replies only to Finagle's upgrade. An ordinary server does not have that
        // method, and a client that gets this error continues in plain Thrift.
        LocalMessage::CodecReply { to } => exception(to, UNKNOWN_METHOD, "unknown method", out),
        LocalMessage::Ping { .. } => Err(unsupported("a ping")),
        LocalMessage::Probe { .. } => Err(unsupported("a call to a client")),
        LocalMessage::Pong { .. } => Err(unsupported("a pong")),
        LocalMessage::GoAway => Err(unsupported("a shutdown notice")),
    }
}

pub(crate) const fn unsupported(what: &'static str) -> Unsupported {
    Unsupported {
        protocol: "thrift",
        what,
    }
}

const fn exception_type(reason: Reason) -> i32 {
    match reason {
        Reason::NotFound => UNKNOWN_METHOD,
        Reason::BadRequest => PROTOCOL_ERROR,
        Reason::Unavailable
        | Reason::Timeout
        | Reason::Overloaded
        | Reason::Denied
        | Reason::Internal => INTERNAL_ERROR,
    }
}

fn exception(
    to: &ReplyContext,
    kind: i32,
    text: &str,
    out: &mut Output,
) -> Result<(), Unsupported> {
    let (dialect, one_way, seqid, inner) = front::remembered(to);
    if one_way {
        return Err(unsupported("a reply to a one-way call"));
    }
    let name = to.name.as_slice();
    let ids = (seqid, inner);
    write::message(
        dialect,
        MessageType::Exception,
        name,
        ids,
        out,
        |out| match dialect.encoding {
            Encoding::Strict | Encoding::Lax => binary(kind, text, out),
            Encoding::Compact => compact(kind, text, out),
            Encoding::Json => in_json(kind, text, out),
        },
    );
    Ok(())
}

/// Writes field 1: string message, field 2: i32 type, stop.
fn binary(kind: i32, text: &str, out: &mut Output) {
    out.put(&[11, 0, 1]);
    out.put(&(text.len() as u32).to_be_bytes());
    out.put(text.as_bytes());
    out.put(&[8, 0, 2]);
    out.put(&kind.to_be_bytes());
    out.put(&[0]);
}

fn compact(kind: i32, text: &str, out: &mut Output) {
    out.put(&[0x18]);
    out.put(Digits::varint(text.len() as u32).as_slice());
    out.put(text.as_bytes());
    out.put(&[0x15]);
    // Types are small and positive: their zigzag form is the double.
    out.put(Digits::varint(kind.cast_unsigned() << 1).as_slice());
    out.put(&[0]);
}

fn in_json(kind: i32, text: &str, out: &mut Output) {
    out.put(b"{\"1\":{\"str\":\"");
    out.put(json::escape(text).as_bytes());
    out.put(b"\"},\"2\":{\"i32\":");
    out.put(Digits::decimal(kind).as_slice());
    out.put(b"}}");
}

#[cfg(test)]
mod tests;
