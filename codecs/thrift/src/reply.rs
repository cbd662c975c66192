//! What the mesh itself says to a Thrift client: a `TApplicationException` in the caller's own
//! transport and encoding, for the method and sequence id of the call.

use meltemi_frame::{Output, Reason, Receipt, Say, Unsupported};

use crate::cursor::Digits;
use crate::dialect::{Encoding, Transport};
use crate::{front, json};

/// Types of `TApplicationException` (apache `TApplicationException.h`). Older clients know no others.
const UNKNOWN_METHOD: i32 = 1;
const INTERNAL_ERROR: i32 = 6;
const PROTOCOL_ERROR: i32 = 7;

pub(crate) fn say(say: Say<'_>, out: &mut Output) -> Result<(), Unsupported> {
    match say {
        Say::Failure { to, reason, text } => exception(to, exception_type(reason), text, out),
        // The only request that is answered here is Finagle's upgrade: an ordinary server does not
        // know that method, and a client that is told so goes on in plain Thrift.
        Say::Own { to } => exception(to, UNKNOWN_METHOD, "unknown method", out),
        Say::Ping { .. } => Err(unsupported("a ping")),
        Say::Pong { .. } => Err(unsupported("a pong")),
        Say::GoAway => Err(unsupported("that it is leaving")),
    }
}

const fn unsupported(what: &'static str) -> Unsupported {
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

fn exception(to: &Receipt, kind: i32, text: &str, out: &mut Output) -> Result<(), Unsupported> {
    let (dialect, one_way, seqid, inner) = front::remembered(to);
    if one_way {
        return Err(unsupported("anything about a one-way call"));
    }
    let frame = (dialect.transport != Transport::Unframed).then(|| out.hole(4));
    if dialect.transport.has_headers() {
        let magic: [u8; 2] = match dialect.transport {
            Transport::TtHeader => [0x10, 0x00],
            _ => [0x0f, 0xff],
        };
        out.put(&magic);
        // No flags; one word of header: the protocol, no transforms, no entries.
        out.put(&[0, 0]);
        out.put(&seqid.to_be_bytes());
        out.put(&[0, 1, dialect.encoding.header_id(), 0, 0, 0]);
    }
    let inner_frame = dialect.framed_payload.then(|| out.hole(4));
    let name = to.name.as_slice();
    match dialect.encoding {
        Encoding::Strict | Encoding::Lax => binary(dialect.encoding, name, inner, kind, text, out),
        Encoding::Compact => compact(name, inner, kind, text, out),
        Encoding::Json => in_json(name, inner, kind, text, out),
    }
    for hole in [inner_frame, frame].into_iter().flatten() {
        let length = (out.since(&hole) as u32).to_be_bytes();
        out.fill(hole, &length);
    }
    Ok(())
}

fn binary(encoding: Encoding, name: &[u8], seqid: i32, kind: i32, text: &str, out: &mut Output) {
    let length = (name.len() as u32).to_be_bytes();
    if encoding == Encoding::Lax {
        out.put(&length);
        out.put(name);
        out.put(&[3]);
    } else {
        out.put(&[0x80, 0x01, 0x00, 0x03]);
        out.put(&length);
        out.put(name);
    }
    out.put(&seqid.to_be_bytes());
    // 1: string message, 2: i32 type, stop
    out.put(&[11, 0, 1]);
    out.put(&(text.len() as u32).to_be_bytes());
    out.put(text.as_bytes());
    out.put(&[8, 0, 2]);
    out.put(&kind.to_be_bytes());
    out.put(&[0]);
}

fn compact(name: &[u8], seqid: i32, kind: i32, text: &str, out: &mut Output) {
    out.put(&[0x82, 0x61]);
    out.put(Digits::varint(seqid.cast_unsigned()).as_slice());
    out.put(Digits::varint(name.len() as u32).as_slice());
    out.put(name);
    out.put(&[0x18]);
    out.put(Digits::varint(text.len() as u32).as_slice());
    out.put(text.as_bytes());
    out.put(&[0x15]);
    // Types are small and positive, where zigzag is to double.
    out.put(Digits::varint(kind.cast_unsigned() << 1).as_slice());
    out.put(&[0]);
}

fn in_json(name: &[u8], seqid: i32, kind: i32, text: &str, out: &mut Output) {
    out.put(b"[1,\"");
    // As it came, with its escapes.
    out.put(name);
    out.put(b"\",3,");
    out.put(Digits::decimal(seqid).as_slice());
    out.put(b",{\"1\":{\"str\":\"");
    out.put(json::escape(text).as_bytes());
    out.put(b"\"},\"2\":{\"i32\":");
    out.put(Digits::decimal(kind).as_slice());
    out.put(b"}}]");
}

#[cfg(test)]
mod tests;
