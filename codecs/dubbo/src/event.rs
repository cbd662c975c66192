//! Events: heartbeats, and the notice of a server that it is leaving (`HeaderExchangeHandler`,
//! `Request.READONLY_EVENT` of Dubbo 3.3).

use meltemi_frame::Kind;

use crate::cursor::{Bad, Scratch, Text, Value};
use crate::format::{Format, Reader};
use crate::header::{Header, LENGTH};

/// What an event is for.
///
/// A null that asks for an answer is a heartbeat. Named events are never answered, whatever
/// their flags say: `R` (read-only) asks for no further requests, others mean nothing to a proxy.
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
