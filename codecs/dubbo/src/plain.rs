//! The fast path for common Hessian2 messages when only their front is needed: requests whose
//! fields before the arguments are short ASCII strings, and responses of status 20. It returns the
//! same messages as `codec`. But `codec` creates a message first and fills it later, and so has to
//! move it.

use std::ops::Range;

use meltemi_frame::{Attributes, Decoded, Head, Kind, Layout, Message, Span};

use crate::cursor::Cursor;
use crate::format::Format;
use crate::header::{self, Header, LENGTH};
use crate::hessian;
use crate::protocol::key;
use crate::response::Outcome;

/// The front of a body.
pub(crate) enum Front {
    Request {
        dubbo: Span,
        path: Span,
        version: Span,
        method: Span,
        types: Span,
    },
    Response(Outcome),
}

/// Returns the front of the body if it has the common form.
#[inline]
pub(crate) fn front(header: Header, wire: &[u8]) -> Option<Front> {
    if header.is_event() || Format::of(header.serialization()) != Some(Format::Hessian2) {
        return None;
    }
    if !header.is_request() {
        if header.status != header::OK {
            return None;
        }
        // An int of one byte. Outcomes have no other form.
        let kind = wire.get(LENGTH)?.checked_sub(0x90)?;
        return Outcome::of(i64::from(kind)).map(Front::Response);
    }
    let mut cursor = Cursor::new(wire, LENGTH);
    let mut next = || {
        let span = |text: Range<usize>| Span::new(text.start, text.end);
        hessian::plain(&mut cursor).map(span)
    };
    Some(Front::Request {
        dubbo: next()?,
        path: next()?,
        version: next()?,
        method: next()?,
        // If there is a count of parameters, it is not a string.
        types: next()?,
    })
}

/// Builds the message of such a front. This is the last step, so that the message is not moved.
#[inline(never)]
pub(crate) fn message<'b, E>(
    front: &Front,
    header: Header,
    wire: &'b [u8],
    (kind, whole): (Kind, bool),
) -> Result<Decoded<'b>, E> {
    const FORMAT: &str = "hessian2";
    let mut head = Head::new(kind, Some(header.id));
    head.end = whole;
    let attributes = match front {
        Front::Response(outcome) => {
            head.status = outcome.status();
            Attributes::of_words([
                (key::SERIALIZATION, FORMAT),
                (key::STATUS, "20"),
                (key::RESULT, outcome.name),
            ])
        }
        Front::Request {
            dubbo,
            path,
            version,
            method,
            types,
        } => {
            let mut attributes = Attributes::of_words([(key::SERIALIZATION, FORMAT)]);
            attributes.set_span(key::INTERFACE, *path);
            attributes.set_span(key::METHOD, *method);
            attributes.set_span(key::VERSION, *version);
            attributes.set_span(key::PATH, *path);
            attributes.set_span(key::TYPES, *types);
            attributes.set_span(key::DUBBO, *dubbo);
            attributes
        }
    };
    let message = Message::of(head, attributes, Layout::default(), wire);
    Ok(Decoded::Message(message, wire.len()))
}

#[cfg(test)]
mod tests {
    use meltemi_frame::{Interest, Limits, Side};

    use super::*;
    use crate::codec::DubboCodec;
    use crate::cursor::Bad;

    /// Tests every sample, complete and truncated, and with every byte changed.
    #[test]
    fn plain_messages_are_told_as_any() {
        let mut plain = 0;
        let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/samples");
        for file in std::fs::read_dir(samples).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_none_or(|end| end != "bin") {
                continue;
            }
            let mut bytes = std::fs::read(path).unwrap();
            bytes.truncate(512);
            plain += usize::from(check(&bytes));
            for at in 2..bytes.len() {
                check(&bytes[..at]);
                let before = bytes[at];
                for byte in [
                    0,
                    before ^ 1,
                    before ^ 0x20,
                    before ^ 0x80,
                    0x30,
                    0x90,
                    0x96,
                    b'S',
                ] {
                    bytes[at] = byte;
                    check(&bytes);
                }
                bytes[at] = before;
            }
        }
        assert!(plain > 30, "{plain}");
    }

    /// Returns `true` if the message is plain.
    fn check(wire: &[u8]) -> bool {
        let Some(header) = Header::read(wire) else {
            return false;
        };
        let Some(front) = front(header, wire) else {
            return false;
        };
        let (side, kind) = match header.is_request() {
            true => (Side::Server, Kind::Request),
            false => (Side::Client, Kind::Response),
        };
        let mut codec = DubboCodec::new(side, Limits::default());
        for whole in [true, false] {
            let told = message::<Bad>(&front, header, wire, (kind, whole)).unwrap();
            let how = (whole, Interest::Route);
            let any = codec.make(header, wire, kind, how, |_, bad| bad).unwrap();
            assert_eq!(format!("{told:?}"), format!("{any:?}"));
        }
        true
    }
}
