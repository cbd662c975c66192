//! The fields at the front of bodies whose serialization is not decoded. Most serializations write
//! these strings plainly. The bytes after them are undetermined, and so are the attributes that
//! attachments override.
//!
//! Reading stops at a string that is not short ASCII in the serialization's own form. The forms are
//! those of the `ObjectOutput`s of Dubbo 2.7.

use std::ops::Range;

use meltemi_frame::{Attributes, KeyId, Span};

use crate::cursor::Cursor;
use crate::hessian;
use crate::protocol::key;
use crate::service;

/// The form of a string in a serialization.
#[derive(Clone, Copy)]
enum Form {
    /// `java.io.ObjectOutputStream`, with or without a character count before the string.
    Java { counted: bool },
    /// The last character has its high bit set. Other strings have a length.
    Kryo,
    /// A length of one byte.
    Fst,
    /// A length of four bytes.
    Protostuff,
    /// A zigzag length.
    Avro,
    /// A tag with the length.
    Msgpack,
    /// A line of JSON.
    Json,
    /// Hessian2 of another library.
    Hessian,
}

impl Form {
    const fn of(serialization: u8) -> Option<Self> {
        Some(match serialization {
            3 | 4 => Self::Java { counted: true },
            7 => Self::Java { counted: false },
            8 | 25 => Self::Kryo,
            9 => Self::Fst,
            10 => Self::Hessian,
            11 => Self::Avro,
            12 => Self::Protostuff,
            6 | 16 | 21 => Self::Json,
            27 => Self::Msgpack,
            _ => return None,
        })
    }

    /// Reads the next string. Returns its range, and `true` if its last byte is marked.
    fn next(self, cursor: &mut Cursor<'_>) -> Option<(Range<usize>, bool)> {
        let length = match self {
            Self::Hessian => return hessian::plain(cursor).map(|text| (text, false)),
            Self::Kryo => return kryo(cursor),
            Self::Json => return json(cursor).map(|text| (text, false)),
            Self::Java { counted } => {
                if counted {
                    cursor.signed(4).ok().filter(|count| *count >= 0)?;
                }
                cursor.compact(0, 2).ok()?
            }
            Self::Fst => i64::from(cursor.byte().ok().filter(|length| *length < 0x80)?),
            Self::Protostuff => cursor.signed(4).ok()?,
            Self::Avro => match cursor.compact(0, 1).ok()? {
                short @ 0..=0x7f if short & 1 == 0 => short >> 1,
                low if low & 1 == 0 => {
                    let high = cursor.compact(0, 1).ok().filter(|high| *high < 0x80)?;
                    (low & 0x7f | high << 7) >> 1
                }
                _ => return None,
            },
            Self::Msgpack => match cursor.byte().ok()? {
                tag @ 0xa0..=0xbf => i64::from(tag & 0x1f),
                0xd9 => cursor.compact(0, 1).ok()?,
                _ => return None,
            },
        };
        let start = cursor.at;
        let text = cursor.take(usize::try_from(length).ok()?).ok()?;
        text.is_ascii().then_some((start..cursor.at, false))
    }
}

/// Sets the attributes of a request that its front contains.
pub(crate) fn publish(serialization: u8, wire: &[u8], at: usize, attributes: &mut Attributes) {
    let mut generic = true;
    let mut read = Form::of(serialization).and_then(|form| Some((form, open(form, wire, at)?)));
    for keys in [
        &[key::DUBBO] as &[KeyId],
        &[key::INTERFACE, key::PATH],
        &[key::VERSION],
        &[key::METHOD],
        &[key::TYPES],
    ] {
        let found = read.as_mut().and_then(|(form, cursor)| form.next(cursor));
        let Some((range, marked)) = found else {
            read = None;
            for key in keys {
                attributes.set_undetermined(*key);
            }
            continue;
        };
        let mut kept = None;
        if marked {
            let text = wire.get(range.clone()).unwrap_or_default();
            kept = Some(text.iter().map(|byte| byte & 0x7f).collect::<Vec<u8>>());
        }
        for key in keys {
            match &kept {
                Some(text) => attributes.set_kept(*key, text.clone()),
                None => attributes.set_span(*key, Span::new(range.start, range.end)),
            }
        }
        if keys == [key::METHOD] {
            let method = attributes.slot(key::METHOD, wire);
            generic = matches!(method, Some(b"$invoke" | b"$invokeAsync"));
        }
    }
    service::hide(attributes, generic);
}

/// Returns the start of the first string. The cursor ends where strings may end.
fn open(form: Form, wire: &[u8], at: usize) -> Option<Cursor<'_>> {
    let mut cursor = Cursor::new(wire, at);
    if !matches!(form, Form::Java { .. }) {
        return Some(cursor);
    }
    // The stream header, then a block of data. Reading stops at a block that ends inside the
    // fields.
    let head = cursor.take(4).ok()?;
    let length = match cursor.byte().ok()? {
        0x77 => cursor.compact(0, 1).ok()?,
        0x7a => cursor.signed(4).ok()?,
        _ => return None,
    };
    let end = cursor.at.checked_add(usize::try_from(length).ok()?)?;
    let block = wire.get(..end.min(wire.len()))?;
    (head == b"\xac\xed\x00\x05").then_some(Cursor::new(block, cursor.at))
}

fn kryo(cursor: &mut Cursor<'_>) -> Option<(Range<usize>, bool)> {
    let start = cursor.at;
    let first = cursor.byte().ok()?;
    match first {
        0..=0x7f => {
            let rest = cursor.bytes.get(cursor.at..)?;
            let last = rest.iter().position(|byte| *byte >= 0x80)?;
            cursor.at += last + 1;
            Some((start..cursor.at, true))
        }
        0x81..=0xbf => {
            let length = usize::from(first & 0x3f) - 1;
            let from = cursor.at;
            let text = cursor.take(length).ok()?;
            text.is_ascii().then_some((from..cursor.at, false))
        }
        _ => None,
    }
}

fn json(cursor: &mut Cursor<'_>) -> Option<Range<usize>> {
    let rest = cursor.bytes.get(cursor.at..)?;
    let line = rest.iter().position(|byte| *byte == b'\n')?;
    let text = rest.get(..line)?.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    let start = cursor.at + 1;
    cursor.at += line + 1;
    text.iter().all(plain).then_some(start..start + text.len())
}
