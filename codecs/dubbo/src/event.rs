//! Events: heartbeats, and the read-only event of a server that shuts down
//! (`HeaderExchangeHandler`, `Request.READONLY_EVENT` of Dubbo 3.3).

use meltemi_frame::Kind;

use crate::cursor::{Bad, Scratch, Text, Value};
use crate::format::{Format, Reader};
use crate::header::{Header, LENGTH};

/// Returns the kind of an event.
///
/// A null that requests a reply is a heartbeat. Named events never get a reply, whatever their
/// flags: `R` (read-only) means that the sender accepts no further requests. A proxy ignores all
/// others.
pub(crate) fn kind(
    header: Header,
    wire: &[u8],
    scratch: &mut Scratch,
    limits: &meltemi_frame::Limits,
) -> Result<Kind, Bad> {
    let heartbeat = if header.is_request() && header.is_two_way() {
        Kind::Ping
    } else {
        Kind::Pong
    };
    let Some(format) = Format::of(header.serialization()) else {
        return Ok(heartbeat);
    };
    if wire.len() <= LENGTH {
        return Ok(heartbeat);
    }
    let mut reader = Reader::new(format, wire, LENGTH, scratch, limits);
    match reader.field()? {
        Some(Value::Text(Text::Null)) => Ok(heartbeat),
        Some(value @ Value::Text(_)) if header.is_request() => {
            let name = format.text(wire, &value);
            Ok(if name.as_deref() == Some(b"R") {
                Kind::GoAway
            } else {
                Kind::Pong
            })
        }
        _ => Err(Bad::Invalid("an event that is neither null nor a name")),
    }
}
