//! The outcome of a reply, read from the front of its struct: success, a declared exception, or a
//! `TApplicationException` and its type. No value is stored.

use meltemi_frame::{Fault, Status};

use crate::cursor::{Cursor, Stop, unzigzag};
use crate::dialect::{Encoding, MessageType};
use crate::envelope::Envelope;
use crate::json;

/// More fields than `TApplicationException` has in any library. Further fields are ignored.
const MOST_FIELDS: usize = 8;

/// The outcome of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) status: Status,
    /// The name of the exception, if the call failed.
    pub(crate) exception: Option<&'static str>,
}

impl Outcome {
    pub(crate) const OK: Self = Self {
        status: Status::Ok,
        exception: None,
    };

    pub(crate) const fn failed(fault: Fault, exception: &'static str) -> Self {
        Self {
            status: Status::Failed(fault),
            exception: Some(exception),
        }
    }
}

/// Returns the outcome of the message with the front `envelope`. `bytes` contains its struct, or
/// the front of it. If the deciding bytes are missing, a reply counts as a success, and an
/// exception has an unknown type.
pub(crate) fn read(bytes: &[u8], envelope: &Envelope) -> Outcome {
    match envelope.kind {
        MessageType::Reply => match first_field(bytes, envelope) {
            // The result has field id 0. The declared exceptions of a method count from 1.
            Some(id) if id > 0 => Outcome::failed(Fault::Application, "declared"),
            _ => Outcome::OK,
        },
        MessageType::Exception => application_exception(exception_type(bytes, envelope)),
        MessageType::Call | MessageType::OneWay => Outcome::OK,
    }
}

/// Returns the id of the first field of the struct, if it has one.
fn first_field(bytes: &[u8], envelope: &Envelope) -> Option<i64> {
    let mut cursor = Cursor::new(bytes, envelope.body);
    match envelope.encoding {
        Encoding::Strict | Encoding::Lax => {
            let kind = cursor.u8().ok()?;
            let id = cursor.u16().ok()?.cast_signed();
            (kind != 0).then_some(i64::from(id))
        }
        Encoding::Compact => {
            let header = cursor.u8().ok()?;
            match header >> 4 {
                _ if header == 0 => None,
                0 => cursor.varint32("").ok().map(|id| i64::from(unzigzag(id))),
                delta => Some(i64::from(delta)),
            }
        }
        Encoding::Json => json::first_field(bytes, envelope.body),
    }
}

/// Returns the type of a `TApplicationException` (`thrift-rpc.md`): its second field.
fn exception_type(bytes: &[u8], envelope: &Envelope) -> Option<i32> {
    match envelope.encoding {
        Encoding::Strict | Encoding::Lax => binary_type(Cursor::new(bytes, envelope.body)),
        Encoding::Compact => compact_type(Cursor::new(bytes, envelope.body)).ok()?,
        Encoding::Json => {
            let mut found = None;
            let mut left = MOST_FIELDS;
            let walked = json::fields(bytes, envelope.body, &mut |id, value| {
                if id == 2 {
                    found = json::i32_value(value);
                }
                left -= 1;
                found.is_none() && left > 0
            });
            walked.ok().and(found)
        }
    }
}

fn binary_type(mut cursor: Cursor<'_>) -> Option<i32> {
    for _ in 0..MOST_FIELDS {
        let kind = cursor.u8().ok()?;
        if kind == 0 {
            return None;
        }
        match (kind, cursor.u16().ok()?) {
            (8, 2) => return cursor.i32().ok(),
            (8, _) => drop(cursor.i32().ok()?),
            (11, _) => {
                let length = usize::try_from(cursor.i32().ok()?).ok()?;
                cursor.take(length).ok()?;
            }
            _ => return None,
        }
    }
    None
}

fn compact_type(mut cursor: Cursor<'_>) -> Result<Option<i32>, Stop> {
    let mut id = 0i32;
    for _ in 0..MOST_FIELDS {
        let header = cursor.u8()?;
        if header == 0 {
            return Ok(None);
        }
        id = match header >> 4 {
            0 => unzigzag(cursor.varint32("")?),
            delta => id.saturating_add(i32::from(delta)),
        };
        match header & 0x0f {
            5 => {
                let value = unzigzag(cursor.varint32("")?);
                if id == 2 {
                    return Ok(Some(value));
                }
            }
            8 => {
                let length = cursor.varint32("")?;
                cursor.take(length as usize)?;
            }
            _ => return Ok(None),
        }
    }
    Ok(None)
}

/// Returns the outcome for a type of `TApplicationException` (apache `TApplicationException.h`; 11
/// and 12 fbthrift).
fn application_exception(kind: Option<i32>) -> Outcome {
    let (fault, name) = match kind {
        Some(1) => (Fault::NoRoute, "unknown_method"),
        Some(2) => (Fault::Malformed, "invalid_message_type"),
        Some(3) => (Fault::BadResponse, "wrong_method_name"),
        Some(4) => (Fault::BadResponse, "bad_sequence_id"),
        Some(5) => (Fault::Application, "missing_result"),
        Some(6) => (Fault::Application, "internal_error"),
        Some(7) => (Fault::Malformed, "protocol_error"),
        Some(8) => (Fault::Malformed, "invalid_transform"),
        Some(9) => (Fault::Malformed, "invalid_protocol"),
        Some(10) => (Fault::Malformed, "unsupported_client_type"),
        Some(11) => (Fault::Overload, "loadshedding"),
        Some(12) => (Fault::Timeout, "timeout"),
        _ => (Fault::Server, "unknown"),
    };
    Outcome::failed(fault, name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope;

    fn outcome(bytes: &[u8]) -> Outcome {
        read(bytes, &envelope::read(bytes, 0).unwrap())
    }

    #[test]
    fn replies_tell_success_from_declared_exceptions() {
        let cases: [(&[u8], bool); 9] = [
            (b"\x80\x01\x00\x02\x00\x00\x00\x01a\x00\x00\x00\x00\x00", true),
            (b"\x80\x01\x00\x02\x00\x00\x00\x01a\x00\x00\x00\x00\x08\x00\x00\x00\x00\x00\x03\x00", true),
            (b"\x80\x01\x00\x02\x00\x00\x00\x01a\x00\x00\x00\x00\x0c\x00\x01\x00\x00", false),
            (b"\x82\x41\x00\x01a\x00", true),
            (b"\x82\x41\x00\x01a\x05\x00\x06\x00", true),
            (b"\x82\x41\x00\x01a\x1c\x00\x00", false),
            (b"[1,\"a\",2,0,{}]", true),
            (b"[1,\"a\",2,0,{\"0\":{\"i32\":3}}]", true),
            (b"[1,\"a\",2,0,{\"1\":{\"rec\":{}}}]", false),
        ];
        for (bytes, ok) in cases {
            assert_eq!(outcome(bytes) == Outcome::OK, ok, "{bytes:02x?}");
        }
    }

    #[test]
    fn application_exceptions_tell_their_type() {
        let cases: [&[u8]; 3] = [
            b"\x80\x01\x00\x03\x00\x00\x00\x01a\x00\x00\x00\x00\x0b\x00\x01\x00\x00\x00\x01x\x08\x00\x02\x00\x00\x00\x01\x00",
            b"\x82\x61\x00\x01a\x18\x01x\x15\x02\x00",
            b"[1,\"a\",3,0,{\"1\":{\"str\":\"}\"},\"2\":{\"i32\":1}}]",
        ];
        for bytes in cases {
            let expected = Outcome::failed(Fault::NoRoute, "unknown_method");
            assert_eq!(outcome(bytes), expected, "{bytes:02x?}");
            for length in 0..bytes.len() {
                if let Ok(envelope) = envelope::read(&bytes[..length], 0) {
                    assert_ne!(read(&bytes[..length], &envelope).status, Status::Ok);
                }
            }
        }
    }

    #[test]
    fn an_exception_without_a_type_may_be_anything() {
        // The npm library 0.24 sends this for an unknown method, and for an exception of the
        // method.
        let bytes = b"\x80\x01\x00\x03\x00\x00\x00\x04nope\x00\x00\x00\x07\x0b\x00\x01\x00\x00\x00\x15Unknown function nope\x00";
        assert_eq!(outcome(bytes), Outcome::failed(Fault::Server, "unknown"));
    }
}
