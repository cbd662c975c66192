//! JSONB strings: Latin-1, UTF-8 or UTF-16, each with a length in bytes. The writer chooses the one
//! that its JVM used for the string.

use meltemi_frame::Output;

use super::scan::length;
use crate::cursor::{Bad, Cursor, Text, Value};

const SHORT: u8 = 0x49;
const SHORT_MAX: u8 = 0x78;
const LATIN1: u8 = 0x79;
const UTF8: u8 = 0x7a;
const UTF16: u8 = 0x7b;
const UTF16LE: u8 = 0x7c;
const UTF16BE: u8 = 0x7d;
const GB18030: u8 = 0x7e;

/// Returns `true` if a string starts with `tag`.
pub(super) const fn starts(tag: u8) -> bool {
    matches!(tag, SHORT..=GB18030)
}

/// Reads a string. The cursor must be at a tag for which [`starts`] is true.
pub(super) fn text(cursor: &mut Cursor<'_>) -> Result<Value, Bad> {
    let start = cursor.at;
    let (tag, bytes) = parts(cursor)?;
    let plain = match tag {
        UTF8 => match std::str::from_utf8(bytes) {
            Ok(text) => is_wide(text.chars()),
            // Readers decode it differently.
            Err(_) => return Ok(Value::Hidden),
        },
        UTF16 | UTF16LE | UTF16BE => false,
        // No known writer uses it, and its tables are large.
        GB18030 => return Ok(Value::Hidden),
        _ => bytes.is_ascii(),
    };
    Ok(Value::Text(if plain {
        Text::Plain(cursor.at - bytes.len()..cursor.at)
    } else {
        Text::Coded(start..cursor.at)
    }))
}

/// Returns `true` if the string value `bytes` equals the same string of any other writer. If
/// Latin-1 would be enough, fastjson2 decodes UTF-8 and little-endian UTF-16 to a string that
/// equals no other. No known writer does this.
pub(crate) fn is_exact(bytes: &[u8]) -> bool {
    match parts(&mut Cursor::new(bytes, 0)) {
        Ok((UTF8, body)) => std::str::from_utf8(body).is_ok_and(|text| is_wide(text.chars())),
        Ok((UTF16LE, body)) => {
            let (pairs, _) = body.as_chunks::<2>();
            pairs.iter().any(|[_, high]| *high != 0)
        }
        Ok(_) => true,
        Err(_) => false,
    }
}

/// Returns `true` if a character is not in Latin-1.
fn is_wide(mut text: impl Iterator<Item = char>) -> bool {
    text.any(|char| char > '\u{ff}')
}

/// Returns the text of the string value `bytes` that [`text`] has read, as UTF-8.
pub(crate) fn rebuild(bytes: &[u8]) -> Vec<u8> {
    let Ok((tag, body)) = parts(&mut Cursor::new(bytes, 0)) else {
        return Vec::new();
    };
    match tag {
        UTF8 => body.to_vec(),
        UTF16LE => from_utf16(body, u16::from_le_bytes),
        UTF16BE => from_utf16(body, u16::from_be_bytes),
        UTF16 => match body {
            [0xff, 0xfe, rest @ ..] => from_utf16(rest, u16::from_le_bytes),
            [0xfe, 0xff, rest @ ..] => from_utf16(rest, u16::from_be_bytes),
            _ => from_utf16(body, u16::from_be_bytes),
        },
        _ => {
            let text: String = body.iter().map(|byte| char::from(*byte)).collect();
            text.into_bytes()
        }
    }
}

/// Appends the string value of `text`. `None` if it is not UTF-8; then no byte is written.
pub(crate) fn put_text(text: &[u8], out: &mut Output) -> Option<()> {
    let chars = std::str::from_utf8(text).ok()?.chars();
    let narrow = !text.is_ascii() && !is_wide(chars.clone());
    let latin: Vec<u8> = match narrow {
        true => chars.filter_map(|char| u8::try_from(char).ok()).collect(),
        false => Vec::new(),
    };
    let written = if narrow { &latin } else { text };
    let count = u32::try_from(written.len())
        .ok()
        .filter(|n| *n <= 0x7fff_ffff)?;
    match u8::try_from(count) {
        Ok(short) if short <= SHORT_MAX - SHORT && text.is_ascii() => out.put(&[SHORT + short]),
        _ => {
            out.put(&[if narrow || text.is_ascii() {
                LATIN1
            } else {
                UTF8
            }]);
            put_length(count, out);
        }
    }
    out.put(written);
    Some(())
}

fn put_length(count: u32, out: &mut Output) {
    let [a, b, c, d] = count.to_be_bytes();
    match count {
        0..=0x2f => out.put(&[d]),
        0x30..=0x7ff => out.put(&[0x38 + c, d]),
        0x800..=0x3_ffff => out.put(&[0x44 + b, c, d]),
        _ => out.put(&[0x48, a, b, c, d]),
    }
}

fn parts<'b>(cursor: &mut Cursor<'b>) -> Result<(u8, &'b [u8]), Bad> {
    let tag = cursor.byte()?;
    let count = match tag {
        SHORT..=SHORT_MAX => usize::from(tag - SHORT),
        LATIN1..=GB18030 => length(cursor)?,
        _ => return Err(Bad::Invalid("a JSONB string has an invalid start")),
    };
    Ok((tag, cursor.take(count)?))
}

fn from_utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Vec<u8> {
    let (pairs, _) = bytes.as_chunks::<2>();
    let units = pairs.iter().map(|pair| unit(*pair));
    let text: String = char::decode_utf16(units)
        .map(|scalar| scalar.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect();
    text.into_bytes()
}
