//! The front of a message in any encoding: its type, sequence id and name. It must not read the
//! bytes after the front, or the bytes before the message.

use meltemi_frame::Violation;

use crate::cursor::{Cursor, Digits, Stop};
use crate::dialect::{Encoding, MessageType};
use crate::json;

/// The maximum length of a name in bytes. The specifications have no limit. But a name is buffered
/// even if the message streams through, so a limit is needed.
pub(crate) const MAX_NAME: usize = 64 << 10;

/// The first byte of a compact message (`thrift-compact-protocol.md`, "Message").
pub(crate) const COMPACT_ID: u8 = 0x82;

/// The front of a message. Offsets count from byte 0 of the bytes that it was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Envelope {
    pub(crate) encoding: Encoding,
    pub(crate) kind: MessageType,
    pub(crate) seqid: i32,
    /// The range of the sequence id.
    pub(crate) seq: (usize, usize),
    /// The range of the name as written (in JSON without its quotes, but with its escapes).
    pub(crate) name: (usize, usize),
    /// The start of the struct.
    pub(crate) body: usize,
}

/// Returns the encoding of a message that starts with `first`, if there is one.
pub(crate) const fn encoding_of(first: u8) -> Option<Encoding> {
    match first {
        COMPACT_ID => Some(Encoding::Compact),
        // The sign bit marks the version word (`thrift-binary-protocol.md`, "Message").
        0x80..=0xff => Some(Encoding::Strict),
        b'[' => Some(Encoding::Json),
        // The length of a name. Names longer than `MAX_NAME` are refused.
        0 => Some(Encoding::Lax),
        _ => None,
    }
}

/// Reads the front of the message at `at`, in any encoding.
pub(crate) fn read(bytes: &[u8], at: usize) -> Result<Envelope, Stop> {
    let cursor = Cursor::new(bytes, at);
    match encoding_of(cursor.peek()?) {
        Some(Encoding::Compact) => compact(cursor),
        Some(Encoding::Strict) => strict(cursor),
        Some(Encoding::Lax) => lax(cursor),
        Some(Encoding::Json) => json::envelope(bytes, at),
        None => {
            let rest = bytes.get(at..).unwrap_or_default();
            Err(Violation::magic("thrift", rest).into())
        }
    }
}

/// Returns the message type with this number.
pub(crate) fn message_type(number: i64) -> Result<MessageType, Stop> {
    MessageType::from_wire(number).ok_or(Stop::Bad(Violation::Length {
        field: "message type",
        value: number,
    }))
}

/// Returns the error for an unknown version.
pub(crate) const fn bad_version(value: i64) -> Stop {
    Stop::Bad(Violation::Length {
        field: "protocol version",
        value,
    })
}

/// Reads `80 01 00 tt`, name, sequence id (`thrift-binary-protocol.md`, "Message").
fn strict(mut cursor: Cursor<'_>) -> Result<Envelope, Stop> {
    let version = cursor.u16()?;
    if version != 0x8001 {
        return Err(bad_version(i64::from(version)));
    }
    // The byte between version and type is unused.
    let [_, number] = cursor.u16()?.to_be_bytes();
    let kind = message_type(i64::from(number))?;
    let length = cursor.i32()?;
    let name = cursor.span(i64::from(length), "length of the method name", MAX_NAME)?;
    let seq = cursor.at();
    let seqid = cursor.i32()?;
    Ok(Envelope {
        encoding: Encoding::Strict,
        kind,
        seqid,
        seq: (seq, cursor.at()),
        name,
        body: cursor.at(),
    })
}

/// Reads name, type, sequence id (`thrift-binary-protocol.md`, "older encoding").
fn lax(mut cursor: Cursor<'_>) -> Result<Envelope, Stop> {
    let length = cursor.i32()?;
    let name = cursor.span(i64::from(length), "length of the method name", MAX_NAME)?;
    let kind = message_type(i64::from(cursor.u8()?))?;
    let seq = cursor.at();
    let seqid = cursor.i32()?;
    Ok(Envelope {
        encoding: Encoding::Lax,
        kind,
        seqid,
        seq: (seq, cursor.at()),
        name,
        body: cursor.at(),
    })
}

/// Reads `82`, type and version in one byte, sequence id, name (`thrift-compact-protocol.md`,
/// "Message").
fn compact(mut cursor: Cursor<'_>) -> Result<Envelope, Stop> {
    cursor.u8()?;
    let mixed = cursor.u8()?;
    if mixed & 0x1f != 1 {
        return Err(bad_version(i64::from(mixed & 0x1f)));
    }
    let kind = message_type(i64::from(mixed >> 5))?;
    let start = cursor.at();
    let seqid = cursor.varint32("sequence id")?.cast_signed();
    let seq = (start, cursor.at());
    let name = cursor.varint_bytes("length of the method name", MAX_NAME)?;
    Ok(Envelope {
        encoding: Encoding::Compact,
        kind,
        seqid,
        seq,
        name,
        body: cursor.at(),
    })
}

/// Encodes a sequence id in `encoding`.
pub(crate) fn seqid_digits(encoding: Encoding, seqid: i32) -> Digits {
    match encoding {
        Encoding::Strict | Encoding::Lax => Digits::word(seqid.to_be_bytes()),
        Encoding::Compact => Digits::varint(seqid.cast_unsigned()),
        Encoding::Json => Digits::decimal(seqid),
    }
}

/// The ranges of a service, if there is one, and of a method.
pub(crate) type Split = (Option<(usize, usize)>, (usize, usize));

/// Splits `Service:method`, the form of `TMultiplexedProtocol`, at the first colon.
#[inline]
pub(crate) fn split_name(bytes: &[u8], name: (usize, usize)) -> Split {
    let (start, end) = name;
    let text = bytes.get(start..end).unwrap_or_default();
    match text.iter().position(|byte| *byte == b':') {
        Some(length) => (Some((start, start + length)), (start + length + 1, end)),
        None => (None, name),
    }
}

/// Returns `true` if a name has one part that all servers read in the same way, as most names do.
/// It needs only one pass, because every request calls it.
#[inline]
pub(crate) fn is_simple(name: &[u8]) -> bool {
    // No colon, no zero, and only ASCII.
    name.iter()
        .all(|byte| *byte != b':' && (1..0x80).contains(byte))
}

/// Returns `true` if the processors of all servers read the same service and method from this name.
///
/// Servers differ if there is more than one colon or an empty part. Java, Python, Go and most
/// others split at the first colon. Node uses the first two of all parts. C++ drops empty parts: it
/// reads `:add` and `add:` as calls of the service without a name. A zero byte ends the name for
/// servers in C. Some servers replace bytes that are not UTF-8, and others refuse them.
pub(crate) fn servers_agree(name: &[u8]) -> bool {
    let mut parts = name.split(|byte| *byte == b':');
    let whole = match (parts.next(), parts.next(), parts.next()) {
        (Some(service), Some(method), None) => !service.is_empty() && !method.is_empty(),
        (_, None, _) => true,
        _ => false,
    };
    whole && !name.contains(&0) && std::str::from_utf8(name).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_call_is_read_in_every_encoding() {
        let cases: [(&[u8], Encoding); 4] = [
            (
                b"\x80\x01\x00\x01\x00\x00\x00\x03add\x00\x00\x00\x07\x00",
                Encoding::Strict,
            ),
            (
                b"\x00\x00\x00\x03add\x01\x00\x00\x00\x07\x00",
                Encoding::Lax,
            ),
            (b"\x82\x21\x07\x03add\x00", Encoding::Compact),
            (b"[1,\"add\",1,7,{}]", Encoding::Json),
        ];
        for (bytes, encoding) in cases {
            let envelope = read(bytes, 0).unwrap();
            assert_eq!(
                (envelope.encoding, envelope.kind),
                (encoding, MessageType::Call)
            );
            assert_eq!(envelope.seqid, 7);
            assert_eq!(&bytes[envelope.name.0..envelope.name.1], b"add");
            let seq = &bytes[envelope.seq.0..envelope.seq.1];
            assert_eq!(seq, seqid_digits(encoding, 7).as_slice());
            for length in 0..envelope.body {
                assert!(
                    matches!(read(&bytes[..length], 0), Err(Stop::Short(need)) if need > length)
                );
            }
        }
    }

    #[test]
    fn versions_types_and_lengths_are_checked() {
        let cases: [&[u8]; 7] = [
            b"\x80\x02\x00\x01",
            b"\x80\x01\x00\x09\x00\x00\x00\x00\x00\x00\x00\x00",
            b"\x80\x01\x00\x01\x7f\xff\xff\xffadd",
            b"\x80\x01\x00\x01\xff\xff\xff\xffadd",
            b"\x82\x22\x07\x03add",
            b"\x82\x21\x07\xff\xff\xff\xff\x0f",
            b"GET / HTTP/1.1",
        ];
        for bytes in cases {
            assert!(matches!(read(bytes, 0), Err(Stop::Bad(_))), "{bytes:02x?}");
        }
    }

    #[test]
    fn a_multiplexed_name_is_split_at_its_first_colon() {
        let split = |name: &[u8]| {
            let (service, method) = split_name(name, (0, name.len()));
            (service, method, servers_agree(name))
        };
        assert_eq!(split(b"Demo:add"), (Some((0, 4)), (5, 8), true));
        assert_eq!(split(b"add"), (None, (0, 3), true));
        assert_eq!(
            split("D\u{e9}:add".as_bytes()),
            (Some((0, 3)), (4, 7), true)
        );
        assert_eq!(split(b"a:b:c"), (Some((0, 1)), (2, 5), false));
    }

    #[test]
    fn simple_names_are_whole_and_sure() {
        for name in [&b"add"[..], b"", b"a:b", b":", b"a\0", b"\xc3\xa9"] {
            let whole = split_name(name, (0, name.len())).0.is_none() && servers_agree(name);
            assert_eq!(
                is_simple(name),
                whole && name.is_ascii(),
                "{}",
                name.escape_ascii()
            );
        }
    }

    #[test]
    fn names_that_servers_split_differently_are_not_sure() {
        let names: [&[u8]; 9] = [
            b"Calc::secret",
            b"Calc:secret:",
            b"::Admin:add",
            b":secret",
            b"secret:",
            b":",
            b"secret\0",
            b"Calc:secret\0x",
            b"secr\xffet",
        ];
        for name in names {
            assert!(!servers_agree(name), "{}", name.escape_ascii());
        }
    }
}
