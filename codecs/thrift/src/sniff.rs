//! Detects from the first bytes of a connection if it is Thrift, and if its messages have
//! frames.

use meltemi_frame::{Detect, Violation};

use crate::cursor::{Cursor, Stop};
use crate::dialect::MessageType;
use crate::envelope::{self, MAX_NAME};
use crate::header;

/// Returns the size of a frame in bytes, including its length field, for this length field.
pub(crate) fn frame_size(length: [u8; 4]) -> Result<usize, Violation> {
    let length = i32::from_be_bytes(length);
    match usize::try_from(length) {
        Ok(payload) if payload > 0 => Ok(payload.saturating_add(4)),
        _ => Err(Violation::Length {
            field: "frame length",
            value: i64::from(length),
        }),
    }
}

/// Returns `true` if the first message of a Thrift connection has a frame.
pub(crate) fn framed(input: &[u8]) -> Result<bool, Stop> {
    let mut cursor = Cursor::new(input, 0);
    if matches!(cursor.peek()?, 0x80 | envelope::COMPACT_ID | b'[') {
        return Ok(false);
    }
    let length = cursor.i32()?;
    frame_size(length.to_be_bytes())?;
    match cursor.peek()? {
        // A version, a magic number, JSON, or the high byte of a name's length.
        0x80..=0xff | 0x0f | 0x10 | b'[' | 0 => Ok(true),
        // The first byte of a name, after its length.
        byte if is_name(byte) && length as usize <= MAX_NAME => Ok(false),
        _ => Err(Violation::magic("thrift", input).into()),
    }
}

/// Detects the Thrift protocol from the first bytes of a client.
pub(crate) fn detect(prefix: &[u8]) -> Detect {
    match looks_like_a_call(prefix) {
        Ok(()) => Detect::Yes,
        Err(Stop::Short(need)) => Detect::Need(need),
        Err(Stop::Bad(_)) => Detect::No,
    }
}

/// The number of name bytes to inspect, and the maximum length of a name in a first message. Random
/// lengths in the headers of other protocols are mostly larger.
const NAME_SEEN: usize = 16;
const NAME_LENGTH: usize = 1 << 10;

const NO: Stop = Stop::Bad(Violation::Invalid("not Thrift"));

fn only_if(yes: bool) -> Result<(), Stop> {
    if yes { Ok(()) } else { Err(NO) }
}

fn looks_like_a_call(prefix: &[u8]) -> Result<(), Stop> {
    let mut cursor = Cursor::new(prefix, 0);
    match cursor.peek()? {
        0x80 => strict(cursor, usize::MAX),
        envelope::COMPACT_ID => compact(cursor, usize::MAX),
        b'[' => json(cursor),
        // A frame of less than 16 MiB, or the length of a name. Larger first messages are not
        // recognised, so that the first byte separates text protocols.
        0 => {
            let length = usize::try_from(cursor.i32()?).map_err(|_| NO)?;
            only_if(length > 0)?;
            match cursor.peek()? {
                0x80 => strict(cursor, length),
                envelope::COMPACT_ID => compact(cursor, length),
                b'[' => json(cursor),
                0x0f | 0x10 => headed(cursor, length),
                0 => lax(cursor, length),
                byte if is_name(byte) => lax(Cursor::new(prefix, 0), usize::MAX),
                _ => Err(NO),
            }
        }
        _ => Err(NO),
    }
}

/// Detects `80 01 00`, type, name. The binary protocol of memcached starts with `80 01` too, but
/// has `08` in the position of the name length's high byte.
fn strict(mut cursor: Cursor<'_>, length: usize) -> Result<(), Stop> {
    for expected in [0x80, 0x01, 0x00] {
        only_if(cursor.u8()? == expected)?;
    }
    called(cursor.u8()?)?;
    name_length(&mut cursor)
        .and_then(|name| only_if(name.saturating_add(13) <= length).map(|()| name))
        .and_then(|name| name_seen(&mut cursor, name))
}

/// Detects name, type. Kafka and ZooKeeper have other small numbers in the position of the name
/// length, and no letters after them.
fn lax(mut cursor: Cursor<'_>, length: usize) -> Result<(), Stop> {
    let name = name_length(&mut cursor)?;
    only_if(name.saturating_add(10) <= length)?;
    name_seen(&mut cursor, name)?;
    if name <= NAME_SEEN {
        called(cursor.u8()?)?;
    }
    Ok(())
}

fn compact(mut cursor: Cursor<'_>, length: usize) -> Result<(), Stop> {
    cursor.u8()?;
    let mixed = cursor.u8()?;
    only_if(mixed & 0x1f == 1)?;
    called(mixed >> 5)?;
    cursor.varint32("")?;
    let name = cursor.varint32("")? as usize;
    only_if((1..=NAME_LENGTH).contains(&name) && name < length)?;
    name_seen(&mut cursor, name)
}

fn json(mut cursor: Cursor<'_>) -> Result<(), Stop> {
    for expected in *b"[1,\"" {
        only_if(cursor.u8()? == expected)?;
    }
    Ok(())
}

/// Detects a header. Tars has `10 01`, `10 02` or `10 03` in the position of `TTHeader`'s `10 00`.
fn headed(mut cursor: Cursor<'_>, length: usize) -> Result<(), Stop> {
    let magic = cursor.u16()?.to_be_bytes();
    only_if(header::transport_of(magic).is_some())?;
    cursor.u16()?;
    cursor.i32()?;
    let words = usize::from(cursor.u16()?);
    only_if(words > 0 && words * 4 + 10 <= length)
}

fn called(number: u8) -> Result<(), Stop> {
    let kind = MessageType::from_wire(i64::from(number));
    only_if(matches!(
        kind,
        Some(MessageType::Call | MessageType::OneWay)
    ))
}

fn name_length(cursor: &mut Cursor<'_>) -> Result<usize, Stop> {
    // The high bytes are checked first, so that detection does not wait for more bytes of another
    // protocol.
    only_if(cursor.peek()? == 0)?;
    let length = usize::try_from(cursor.i32()?).map_err(|_| NO)?;
    only_if((1..=NAME_LENGTH).contains(&length)).map(|()| length)
}

fn name_seen(cursor: &mut Cursor<'_>, length: usize) -> Result<(), Stop> {
    for _ in 0..length.min(NAME_SEEN) {
        only_if(is_name(cursor.u8()?))?;
    }
    Ok(())
}

/// Returns `true` for letters, digits and separators in the names of methods and services.
const fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b':' | b'-' | b'/' | b'$')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dialect_is_recognised_from_its_front() {
        let cases: [&[u8]; 9] = [
            b"\x80\x01\x00\x01\x00\x00\x00\x03add",
            b"\x82\x21\x00\x03add",
            b"[1,\"",
            b"\x00\x00\x00\x03add\x01",
            b"\x00\x00\x00\x20\x80\x01\x00\x04\x00\x00\x00\x03add",
            b"\x00\x00\x00\x0c\x82\x21\x00\x03add",
            b"\x00\x00\x00\x11[1,\"",
            b"\x00\x00\x00\x1b\x00\x00\x00\x03add\x01",
            b"\x00\x00\x00\x20\x0f\xff\x00\x00\x00\x00\x00\x01\x00\x01",
        ];
        for bytes in cases {
            for length in 1..bytes.len() {
                let found = detect(&bytes[..length]);
                assert!(
                    matches!(found, Detect::Need(need) if need > length),
                    "{bytes:02x?}"
                );
            }
            assert_eq!(detect(bytes), Detect::Yes, "{bytes:02x?}");
        }
    }

    #[test]
    fn other_protocols_are_left_to_others() {
        let cases: [&[u8]; 12] = [
            b"*1\r\n$4\r\nPING\r\n",
            b"PRI * HTTP/2.0\r\n",
            b"GET / HTTP/1.1\r\n",
            b"\xda\xbb\xc2\x00",
            // memcached binary: SET, with a key of one byte
            b"\x80\x01\x00\x01\x08\x00\x00\x00",
            // Kafka: ApiVersions, Metadata
            b"\x00\x00\x00\x23\x00\x12\x00\x03\x00\x00\x00\x01",
            b"\x00\x00\x00\x23\x00\x03\x00\x01\x00\x00\x00\x01\x00\x05rdkaf",
            // Kafka: Produce v3
            b"\x00\x00\x00\x23\x00\x00\x00\x03\x00\x00\x00\x01\x00\x05rdkaf",
            // ZooKeeper
            b"\x00\x00\x00\x2d\x00\x00\x00\x00\x00\x00\x00\x00",
            // Tars
            b"\x00\x00\x00\x57\x10\x01\x2c\x3c",
            // MQTT: SUBSCRIBE with the remaining length of a compact call
            b"\x82\x21\x00\x01\x00\x00\x1c",
            // an empty frame
            b"\x00\x00\x00\x00\x00",
        ];
        for bytes in cases {
            assert_eq!(detect(bytes), Detect::No, "{bytes:02x?}");
        }
    }
}
