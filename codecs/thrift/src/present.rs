//! Converts the front of a message to a [`Message`]: its head, its attributes, and the notes for
//! encoding it and for the reply. The attribute slots are those of [`crate::keys`].

use meltemi_frame::{
    Attributes, DecodeError, Decoded, Head, Kind, Layout, Message, Open, ReplyContext, Side, Span,
    Violation,
};

use crate::dialect::{Dialect, Encoding, MessageType, Transport};
use crate::envelope;
use crate::front::{self, Front, Names};
use crate::{header, json, keys};

/// The first call of a Finagle client. It requests another framing on this connection.
pub(crate) const FINAGLE_UPGRADE: &[u8] = b"__can__finagle__trace__v3__";

/// Positions in the layout of a message.
mod note {
    pub(super) const BITS: usize = 0;
    /// The range of the payload's sequence id, if it can be read in place: two positions.
    pub(super) const SEQ: usize = 1;
    /// The start of the header block's entries, and the end of the block.
    pub(super) const HEADER: usize = 3;
    /// The range of the method name as written: two positions.
    pub(super) const NAME: usize = 5;
    pub(super) const INNER_SEQID: usize = 7;
}

/// Fails if this side of a connection must not receive messages of this type.
pub(crate) fn check_side(front: &Front, side: Side) -> Result<(), Violation> {
    let right = match side {
        Side::Server => front.kind.is_none() || front.is_request(),
        Side::Client => front.kind.is_none() || !front.is_request(),
    };
    match front.kind {
        Some(kind) if !right => Err(Violation::WrongSide {
            kind: kind.name(),
            from: side.peer(),
        }),
        _ => Ok(()),
    }
}

/// Writes the message in `wire`, or its first piece, into the caller's place, so that it is not
/// moved.
#[inline(never)]
pub(crate) fn message<'b>(
    front: &Front,
    wire: &'b [u8],
    side: Side,
    end: bool,
) -> Result<Decoded<'b>, DecodeError> {
    let kind = match (side, front.kind) {
        (Side::Client, _) => Kind::Response,
        (Side::Server, Some(MessageType::OneWay)) => Kind::OneWay,
        (Side::Server, _) => Kind::Request,
    };
    let head = Head::new(kind, Some(i64::from(front.seqid())));
    let mut decoded = Ok(Decoded::Message(Message::new(head, wire), wire.len()));
    if let Ok(Decoded::Message(message, _)) = &mut decoded {
        message.head.end = end;
        if side == Side::Client {
            message.head.status = front.outcome.status;
        } else {
            message.head.timeout = front.noted.timeout;
        }
        let names = front.names(wire);
        attributes(message, front, names, side);
        message.layout = notes(front, names);
        if end && is_upgrade(message, front) {
            message.head.kind = Kind::Local;
        }
    }
    decoded
}

/// Returns `true` for a Finagle upgrade. A Finagle client that gets "unknown method" continues in
/// plain Thrift. The upgrade must not reach a server that would accept it: it applies to one
/// connection, and here many clients share one.
fn is_upgrade(message: &Message<'_>, front: &Front) -> bool {
    front.kind == Some(MessageType::Call)
        && front.dialect.transport == Transport::Framed
        && message.attributes.slot(keys::METHOD, message.wire()) == Some(FINAGLE_UPGRADE)
}

fn attributes(message: &mut Message<'_>, front: &Front, names: Names, side: Side) {
    let wire = message.wire();
    let dialect = front.dialect;
    let attributes = &mut message.attributes;
    let name_sure = called(attributes, front, names, wire, side);
    if let Some((start, end)) = front.noted.token {
        attributes.set_span(keys::ACL_TOKEN, Span::new(start, end));
    }
    if side == Side::Server {
        doubts(attributes, front, name_sure);
    }
    attributes.set_static(keys::TRANSPORT, dialect.transport.name());
    if front
        .header
        .as_ref()
        .is_none_or(|header| header.protocol <= 2)
    {
        attributes.set_static(keys::PROTOCOL, dialect.encoding.name());
    }
    if let Some(kind) = front.kind {
        attributes.set_static(keys::TYPE, kind.name());
    }
    if let Some(exception) = front.outcome.exception.filter(|_| side == Side::Client) {
        attributes.set_static(keys::EXCEPTION, exception);
    }
    if let Some(header) = &front.header {
        if let Some(transform) = header.transform.name() {
            attributes.set_static(keys::TRANSFORM, transform);
        }
        if front.entries_checked {
            attributes.set_open(Open::Walk {
                region: Span::new(header.entries, header.end),
                walk: match header.transport {
                    Transport::TtHeader => header::tt_walk,
                    _ => header::walk,
                },
            });
        }
    }
}

/// Sets service and method. Returns `false` if servers read them differently.
fn called(
    attributes: &mut Attributes,
    front: &Front,
    names: Names,
    wire: &[u8],
    side: Side,
) -> bool {
    let place = front.envelope.as_ref().map(|envelope| envelope.name);
    let inflated = front.inflated.as_ref().map(|inflated| &*inflated.name);
    let written = inflated.or_else(|| wire.get(place?.0..place?.1));
    let escaped = front.dialect.encoding == Encoding::Json
        && written.is_some_and(|name| name.contains(&b'\\'));
    let noted = front.noted.service.filter(|_| side == Side::Server);
    let mut service_of = |span: Option<(usize, usize)>| {
        if let Some((start, end)) = span {
            attributes.set_span(keys::SERVICE, Span::new(start, end));
        }
    };
    let Some(name) = written.filter(|_| escaped || inflated.is_some()) else {
        // The name is in the bytes of the message.
        let request = side == Side::Server && front.is_request();
        service_of(names.service.filter(|_| side == Side::Server));
        if let Some((start, end)) = names.method {
            attributes.set_span(keys::METHOD, Span::new(start, end));
        }
        let agreed = |name: &[u8]| envelope::is_simple(name) || envelope::servers_agree(name);
        return !request || written.is_none_or(agreed);
    };
    let (name, sure) = if escaped {
        json::unescape(name)
    } else {
        (name.to_vec(), true)
    };
    service_of(noted);
    if side == Side::Client {
        attributes.set_kept(keys::METHOD, name);
        return true;
    }
    let (service, method) = envelope::split_name(&name, (0, name.len()));
    let part = |(start, end): (usize, usize)| name.get(start..end).unwrap_or_default().to_vec();
    if let Some(service) = service {
        attributes.set_kept(keys::SERVICE, part(service));
    }
    attributes.set_kept(keys::METHOD, part(method));
    sure && envelope::servers_agree(&name)
}

/// Marks the attributes that a server may read differently.
fn doubts(attributes: &mut Attributes, front: &Front, name_sure: bool) {
    if !front.payload_sure || !name_sure {
        attributes.set_undetermined(keys::METHOD);
        attributes.set_undetermined(keys::SERVICE);
    }
    if !front.payload_sure {
        attributes.set_undetermined(keys::TYPE);
    }
    if front.noted.service_twice {
        attributes.set_undetermined(keys::SERVICE);
    }
    if front.noted.token_twice {
        attributes.set_undetermined(keys::ACL_TOKEN);
    }
    if !front.entries_sure {
        attributes.set_open_undetermined();
    }
}

fn notes(front: &Front, names: Names) -> Layout {
    let place = |span: Option<(usize, usize)>| match span {
        Some((start, end)) => Span::new(start, end),
        None => Span::default(),
    };
    let seq = place(front.envelope.as_ref().map(|envelope| envelope.seq));
    let header = place(
        front
            .header
            .as_ref()
            .map(|header| (header.entries, header.end)),
    );
    let name = place(names.method);
    let mut layout = Layout::default();
    layout[note::BITS] = front.bits();
    [layout[note::SEQ], layout[note::SEQ + 1]] = [seq.start, seq.end];
    [layout[note::HEADER], layout[note::HEADER + 1]] = [header.start, header.end];
    [layout[note::NAME], layout[note::NAME + 1]] = [name.start, name.end];
    layout[note::INNER_SEQID] = front.inner_seqid().cast_unsigned();
    layout
}

fn noted(message: &Message<'_>, at: usize) -> u32 {
    message.layout.get(at).copied().unwrap_or_default()
}

fn noted_span(message: &Message<'_>, at: usize) -> Option<(usize, usize)> {
    let span = (noted(message, at) as usize, noted(message, at + 1) as usize);
    (span.1 != 0).then_some(span)
}

/// Returns the framing of the message.
pub(crate) fn transport(message: &Message<'_>) -> Transport {
    dialect(message).transport
}

pub(crate) fn dialect(message: &Message<'_>) -> Dialect {
    Dialect::from_bits(noted(message, note::BITS))
}

/// Returns the range of the payload's sequence id, if it can be read in place.
pub(crate) fn inner_seq(message: &Message<'_>) -> Option<(usize, usize)> {
    noted_span(message, note::SEQ)
}

/// Returns the start of the header block's entries, and the end of the block.
pub(crate) fn header_span(message: &Message<'_>) -> Option<(usize, usize)> {
    noted_span(message, note::HEADER)
}

/// Returns the receipt of a request.
pub(crate) fn receipt(request: &Message<'_>) -> ReplyContext {
    let wire = request.wire();
    let name = match noted_span(request, note::NAME) {
        // As written: JSON keeps its escapes.
        Some((start, end)) => wire.get(start..end),
        None => request.attributes.slot(keys::METHOD, wire),
    };
    let escaped;
    let name = match name {
        // An inflated name is already unescaped.
        Some(name)
            if noted_span(request, note::NAME).is_none()
                && dialect(request).encoding == Encoding::Json =>
        {
            escaped = json::escape(&String::from_utf8_lossy(name));
            Some(escaped.as_bytes())
        }
        name => name,
    };
    let seqid = request.head.id.unwrap_or_default() as i32;
    let inner = noted(request, note::INNER_SEQID).cast_signed();
    front::receipt(
        seqid,
        noted(request, note::BITS),
        inner,
        name.unwrap_or_default(),
    )
}
