//! The fast path for common messages: complete, framed, and in the strict binary encoding. It
//! returns the same message as [`crate::front`] and [`crate::present`].

use meltemi_frame::{
    Attributes, DecodeError, Decoded, Head, KeyId, Kind, Layout, Message, Side, Span,
};

use crate::dialect::{Dialect, Encoding, MessageType, Transport};
use crate::envelope::{self, Envelope, MAX_NAME};
use crate::present::FINAGLE_UPGRADE;
use crate::{front, keys, outcome};

/// The start of the name in a framed message in the strict binary encoding.
const NAME_AT: usize = 12;

/// The dialect of such a message.
pub(crate) const BITS: u32 = Dialect::ORDINARY.bits();

/// Returns the front of such a message, if it is on its correct side. `None` if it has another
/// form, or is invalid.
#[inline]
pub(crate) fn envelope(wire: &[u8], side: Side) -> Option<Envelope> {
    let (front, rest) = wire.split_first_chunk::<NAME_AT>()?;
    // The length of the frame, version and type (the byte between them is unused), the length of
    // the name.
    let [_, _, _, _, 0x80, 0x01, _, number, l0, l1, l2, l3] = *front else {
        return None;
    };
    let kind = MessageType::from_wire(i64::from(number))?;
    let request = matches!(kind, MessageType::Call | MessageType::OneWay);
    if request != (side == Side::Server) {
        return None;
    }
    let length = usize::try_from(u32::from_be_bytes([l0, l1, l2, l3])).ok()?;
    if length > MAX_NAME {
        return None;
    }
    let (name, rest) = rest.split_at_checked(length)?;
    let seqid = rest.first_chunk::<4>()?;
    if name == FINAGLE_UPGRADE {
        return None;
    }
    let end = NAME_AT + length;
    Some(Envelope {
        encoding: Encoding::Strict,
        kind,
        seqid: i32::from_be_bytes(*seqid),
        seq: (end, end + 4),
        name: (NAME_AT, end),
        body: end + 4,
    })
}

/// Builds the message of a request with such a front.
#[inline(never)]
pub(crate) fn request<'b>(envelope: &Envelope, wire: &'b [u8]) -> Result<Decoded<'b>, DecodeError> {
    let text = wire.get(NAME_AT..envelope.name.1).unwrap_or_default();
    if envelope::is_simple(text) {
        return call(envelope, wire, envelope.name);
    }
    parted(envelope, wire, text)
}

/// Builds the message of a request whose name has parts, or is read differently by servers.
#[inline(never)]
fn parted<'b>(
    envelope: &Envelope,
    wire: &'b [u8],
    text: &[u8],
) -> Result<Decoded<'b>, DecodeError> {
    let (service, method) = envelope::split_name(wire, envelope.name);
    let mut decoded = call(envelope, wire, method);
    if let Ok(Decoded::Message(message, _)) = &mut decoded {
        if let Some(service) = service {
            message.attributes.set_span(keys::SERVICE, span(service));
        }
        if !envelope::servers_agree(text) {
            message.attributes.set_undetermined(keys::METHOD);
            message.attributes.set_undetermined(keys::SERVICE);
        }
    }
    decoded
}

/// Builds the message of a call of this method. This is the last step, so that the message is not
/// moved.
#[inline(always)]
fn call<'b>(
    envelope: &Envelope,
    wire: &'b [u8],
    method: (usize, usize),
) -> Result<Decoded<'b>, DecodeError> {
    let kind = match envelope.kind {
        MessageType::OneWay => Kind::OneWay,
        _ => Kind::Request,
    };
    let name = span(method);
    let mut attributes = Attributes::of_words(words(envelope.kind));
    attributes.set_span(keys::METHOD, name);
    let head = Head::new(kind, Some(i64::from(envelope.seqid)));
    let message = Message::of(head, attributes, layout(envelope, name), wire);
    Ok(Decoded::Message(message, wire.len()))
}

/// Builds the message of a reply with such a front.
#[inline(never)]
pub(crate) fn reply<'b>(envelope: &Envelope, wire: &'b [u8]) -> Result<Decoded<'b>, DecodeError> {
    let outcome = outcome::read(wire, envelope);
    let mut head = Head::new(Kind::Response, Some(i64::from(envelope.seqid)));
    head.status = outcome.status;
    let [transport, encoding, kind] = words(envelope.kind);
    let mut attributes = match outcome.exception {
        None => Attributes::of_words([transport, encoding, kind]),
        Some(what) => Attributes::of_words([transport, encoding, kind, (keys::EXCEPTION, what)]),
    };
    let name = span(envelope.name);
    attributes.set_span(keys::METHOD, name);
    let message = Message::of(head, attributes, layout(envelope, name), wire);
    Ok(Decoded::Message(message, wire.len()))
}

#[inline]
fn words(kind: MessageType) -> [(KeyId, &'static str); 3] {
    [
        (keys::TRANSPORT, Transport::Framed.name()),
        (keys::PROTOCOL, Encoding::Strict.name()),
        (keys::TYPE, kind.name()),
    ]
}

#[inline]
fn span((start, end): (usize, usize)) -> Span {
    Span::new(start, end)
}

/// Returns the notes that [`crate::present`] makes.
#[inline]
fn layout(envelope: &Envelope, name: Span) -> Layout {
    let seq = span(envelope.seq);
    let bits = BITS | front::one_way(envelope.kind);
    let seqid = envelope.seqid.cast_unsigned();
    [bits, seq.start, seq.end, 0, 0, name.start, name.end, seqid]
}

#[cfg(test)]
mod tests;
