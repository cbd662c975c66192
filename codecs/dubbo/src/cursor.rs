//! A bounds-checked position in the bytes of one message, and the types of values. It must not
//! depend on Hessian2 or JSONB.

use std::borrow::Cow;
use std::ops::Range;

use meltemi_frame::{Limits, Violation};

/// The reason why a value could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bad {
    /// The bytes end inside the value.
    End,
    /// The values nest deeper than the limit.
    Depth,
    /// There are more metadata entries than the limit.
    Entries,
    /// A form that servers may read, but this codec does not.
    Unread,
    /// The specification forbids it.
    Invalid(&'static str),
}

impl Bad {
    /// Converts the error for a caller. The length of the body is known, so an early end is a
    /// violation.
    pub(crate) fn violation(self, limits: &Limits) -> Violation {
        match self {
            Self::End => Violation::Invalid("the body ends within a value"),
            Self::Depth => Violation::Depth {
                limit: limits.depth,
            },
            Self::Entries => Violation::Entries {
                limit: limits.entries,
            },
            Self::Unread => Violation::Invalid("a value has a form that the codec cannot decode"),
            Self::Invalid(what) => Violation::Invalid(what),
        }
    }
}

/// A string on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Text {
    /// A null instead of a string.
    Null,
    /// These bytes are the text.
    Plain(Range<usize>),
    /// The range of the value. Its text must be rebuilt (chunks, another character encoding).
    Coded(Range<usize>),
    /// A string in an encoding that is not decoded.
    Hidden,
}

/// A value, with the types that routing needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// A string or a null.
    Text(Text),
    /// An integer of any width.
    Int(i64),
    /// A boolean.
    Bool(bool),
    /// Another value without parts: a double, a date, bytes.
    Opaque,
    /// A value that may be a string to its reader, in a form that is not decoded.
    Hidden,
    /// A value with parts, or a reference to another value.
    Structured,
}

/// Reusable buffers for every walk.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// The open values around the position.
    pub(crate) open: Vec<Open>,
    /// Hessian2: the field count of each class definition in the body up to now.
    pub(crate) classes: Vec<u32>,
}

impl Scratch {
    /// Clears the state of the last body. Frees the memory of a rare large one.
    pub(crate) fn reset(&mut self) {
        self.open.clear();
        self.classes.clear();
        self.classes.shrink_to(256);
    }
}

/// A list, map or object that is not complete yet.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Open {
    /// The number of values left.
    Left(u32),
    /// Values up to the end mark.
    Listed,
    /// Keys and values up to the end mark. `true` while a key is read, not a value.
    Pairs(bool),
}

/// A position in the bytes of one message. Offsets count from the first byte of the message.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'b> {
    pub(crate) bytes: &'b [u8],
    pub(crate) at: usize,
}

impl<'b> Cursor<'b> {
    pub(crate) const fn new(bytes: &'b [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    pub(crate) fn peek(&self) -> Result<u8, Bad> {
        self.bytes.get(self.at).copied().ok_or(Bad::End)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Bad> {
        let byte = self.peek()?;
        self.at += 1;
        Ok(byte)
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'b [u8], Bad> {
        let end = self.at.checked_add(count).ok_or(Bad::End)?;
        let bytes = self.bytes.get(self.at..end).ok_or(Bad::End)?;
        self.at = end;
        Ok(bytes)
    }

    /// Reads a big-endian two's complement integer of `count` (at most eight) bytes.
    pub(crate) fn signed(&mut self, count: usize) -> Result<i64, Bad> {
        let bytes = self.take(count)?;
        let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
        let start = if negative { -1 } else { 0 };
        Ok(bytes
            .iter()
            .fold(start, |sum: i64, byte| (sum << 8) | i64::from(*byte)))
    }

    /// Returns `high` followed by `count` unsigned bytes: the compact integers of both
    /// serializations.
    pub(crate) fn compact(&mut self, high: i64, count: usize) -> Result<i64, Bad> {
        let bytes = self.take(count)?;
        Ok(bytes
            .iter()
            .fold(high, |sum: i64, byte| (sum << 8) | i64::from(*byte)))
    }

    /// Returns the number of bytes left.
    pub(crate) const fn left(&self) -> usize {
        self.bytes.len().saturating_sub(self.at)
    }
}

/// Converts CESU-8 to UTF-8: merges surrogate pairs that were written as two three-byte sequences.
/// A lone surrogate stays unchanged (WTF-8), so that no data is lost.
pub(crate) fn from_cesu8(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, behind)) = rest.split_first() {
        if let [
            0xed,
            a @ 0xa0..=0xaf,
            b @ 0x80..=0xbf,
            0xed,
            c @ 0xb0..=0xbf,
            d @ 0x80..=0xbf,
            after @ ..,
        ] = rest
        {
            let high = (u32::from(a & 0x0f) << 6) | u32::from(b & 0x3f);
            let low = (u32::from(c & 0x0f) << 6) | u32::from(d & 0x3f);
            let scalar = char::from_u32(0x1_0000 + (high << 10) + low);
            let mut utf8 = [0; 4];
            text.extend_from_slice(
                scalar
                    .unwrap_or('\u{fffd}')
                    .encode_utf8(&mut utf8)
                    .as_bytes(),
            );
            rest = after;
        } else {
            text.push(first);
            rest = behind;
        }
    }
    text
}

/// Returns the routing text of a value, if it has one.
pub(crate) fn as_text<'b>(
    wire: &'b [u8],
    value: &Value,
    rebuild: fn(&[u8]) -> Vec<u8>,
) -> Option<Cow<'b, [u8]>> {
    Some(match value {
        Value::Text(Text::Null | Text::Hidden)
        | Value::Opaque
        | Value::Hidden
        | Value::Structured => return None,
        Value::Text(Text::Plain(range)) => Cow::Borrowed(wire.get(range.clone())?),
        Value::Text(Text::Coded(range)) => Cow::Owned(rebuild(wire.get(range.clone())?)),
        Value::Int(number) => Cow::Owned(number.to_string().into_bytes()),
        Value::Bool(true) => Cow::Borrowed(b"true"),
        Value::Bool(false) => Cow::Borrowed(b"false"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn surrogate_pairs_merge_and_lone_ones_stay() {
        assert_eq!(
            from_cesu8(b"a\xed\xa0\xbd\xed\xb8\x80b"),
            "a\u{1f600}b".as_bytes()
        );
        assert_eq!(from_cesu8(b"\xed\xa0\xbd."), b"\xed\xa0\xbd.");
        assert_eq!(
            from_cesu8(b"\xed\xb8\x80\xed\xa0\xbd"),
            b"\xed\xb8\x80\xed\xa0\xbd"
        );
        assert_eq!(from_cesu8("é中".as_bytes()), "é中".as_bytes());
    }

    #[test]
    fn integers_keep_their_sign() {
        let mut cursor = Cursor::new(&[0xff, 0xfe, 0x01, 0x02, 0x80], 0);
        assert_eq!(cursor.signed(2), Ok(-2));
        assert_eq!(cursor.compact(-1, 1), Ok(-255));
        assert_eq!(cursor.compact(3, 1), Ok(0x302));
        assert_eq!(cursor.signed(2), Err(Bad::End));
        assert_eq!(cursor.at, 4);
    }
}
