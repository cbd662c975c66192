//! Writes the front and the frame of the proxy's own messages, in any dialect. The caller writes
//! the contents.

use meltemi_frame::Output;

use crate::cursor::Digits;
use crate::dialect::{Dialect, Encoding, MessageType, Transport};

/// Appends a message with this name (in JSON as written, with its escapes) and this struct. In
/// dialects with headers `seqid` is the header's id, and `inner` the payload's.
pub(crate) fn message(
    dialect: Dialect,
    kind: MessageType,
    name: &[u8],
    (seqid, inner): (i32, i32),
    out: &mut Output,
    body: impl FnOnce(&mut Output),
) {
    let frame = (dialect.transport != Transport::Unframed).then(|| out.hole(4));
    if dialect.transport.has_headers() {
        let magic: [u8; 2] = match dialect.transport {
            Transport::TtHeader => [0x10, 0x00],
            _ => [0x0f, 0xff],
        };
        out.put(&magic);
        // No flags. The header has one word: the protocol, no transforms, no entries.
        out.put(&[0, 0]);
        out.put(&seqid.to_be_bytes());
        out.put(&[0, 1, dialect.encoding.header_id(), 0, 0, 0]);
    }
    let inner_frame = dialect.framed_payload.then(|| out.hole(4));
    front(dialect.encoding, kind.number(), name, inner, out);
    body(out);
    if dialect.encoding == Encoding::Json {
        out.put(b"]");
    }
    for hole in [inner_frame, frame].into_iter().flatten() {
        let length = (out.since(&hole) as u32).to_be_bytes();
        out.fill(hole, &length);
    }
}

fn front(encoding: Encoding, kind: u8, name: &[u8], seqid: i32, out: &mut Output) {
    let length = (name.len() as u32).to_be_bytes();
    match encoding {
        Encoding::Strict => {
            out.put(&[0x80, 0x01, 0x00, kind]);
            out.put(&length);
            out.put(name);
            out.put(&seqid.to_be_bytes());
        }
        Encoding::Lax => {
            out.put(&length);
            out.put(name);
            out.put(&[kind]);
            out.put(&seqid.to_be_bytes());
        }
        Encoding::Compact => {
            out.put(&[0x82, kind << 5 | 1]);
            out.put(Digits::varint(seqid.cast_unsigned()).as_slice());
            out.put(Digits::varint(name.len() as u32).as_slice());
            out.put(name);
        }
        Encoding::Json => {
            out.put(b"[1,\"");
            out.put(name);
            out.put(b"\",");
            out.put(&[b'0' + kind, b',']);
            out.put(Digits::decimal(seqid).as_slice());
            out.put(b",");
        }
    }
}
