//! The body of a response with status 20: a kind, a value, and optional attachments
//! (`DubboCodec.decodeBody` and `DecodeableRpcResult` of Dubbo 3.3).

use meltemi_frame::{Fault, Limits, Message, Status};

use crate::attachments;
use crate::cursor::Bad;
use crate::format::Reader;
use crate::protocol::key;

/// The contents of a response body, from its first value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The name in configuration.
    pub(crate) name: &'static str,
    /// A value or an exception follows.
    pub(crate) has_value: bool,
    /// Attachments are the last value. A server sends them only if the request has version 2.0.2.
    pub(crate) has_attachments: bool,
}

/// Reads the first value.
pub(crate) fn outcome(reader: &mut Reader<'_, '_>) -> Result<Outcome, Bad> {
    let kind = reader.integer()?;
    let kind = kind.ok_or(Bad::Invalid("the kind of the result is not an integer"))?;
    Outcome::of(kind).ok_or(Bad::Invalid("the result is of an unknown kind"))
}

impl Outcome {
    /// Returns the outcome for a first value with this number.
    pub(crate) const fn of(kind: i64) -> Option<Self> {
        let (name, has_value) = match kind {
            0 | 3 => ("exception", true),
            1 | 4 => ("value", true),
            2 | 5 => ("null", false),
            _ => return None,
        };
        Some(Self {
            name,
            has_value,
            has_attachments: kind >= 3,
        })
    }

    /// Returns the result of the call.
    pub(crate) fn status(self) -> Status {
        match self.name {
            "exception" => Status::Failed(Fault::Application),
            _ => Status::Ok,
        }
    }
}

/// Sets the attributes of the message that the first value contains.
pub(crate) fn publish(outcome: Outcome, message: &mut Message<'_>) {
    message.attributes.set_static(key::RESULT, outcome.name);
    message.head.status = outcome.status();
}

/// Walks the value, and sets the attributes that come after it.
pub(crate) fn publish_rest(
    outcome: Outcome,
    reader: &mut Reader<'_, '_>,
    limits: &Limits,
    message: &mut Message<'_>,
) -> Result<(), Bad> {
    let (format, wire) = (reader.format, message.wire());
    if outcome.has_value {
        reader.skip()?;
    }
    if !outcome.has_attachments {
        return Ok(());
    }
    let found = attachments::publish(reader, wire, limits, &mut message.attributes)?;
    let found = found.ok_or(Bad::Invalid("the body ends before the attachments"))?;
    if let Some(version) = found.dubbo {
        attachments::set(&mut message.attributes, key::DUBBO, format, wire, &version);
    }
    Ok(())
}
