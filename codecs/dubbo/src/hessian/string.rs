//! Hessian2 strings: lengths count UTF-16 units, supplementary characters are two three-byte
//! sequences (CESU-8), and long strings consist of chunks (§ 4.12 of the specification).

use std::ops::Range;

use meltemi_frame::Output;

use crate::cursor::{Bad, Cursor, Text, from_cesu8};

/// The maximum number of units that Java writes in one chunk.
const CHUNK: usize = 0x8000;

/// Reads a string. The cursor must be at the tag of a string.
pub(super) fn text(cursor: &mut Cursor<'_>) -> Result<Text, Bad> {
    let start = cursor.at;
    let mut pieces = 0;
    let mut clean = true;
    loop {
        let (units, last) = chunk_head(cursor)?;
        let from = cursor.at;
        clean &= pass(cursor, units)?;
        pieces += 1;
        if last {
            let exact = |from| std::str::from_utf8(cursor.bytes.get(from..cursor.at)?).ok();
            return Ok(if clean && pieces == 1 && exact(from).is_some() {
                Text::Plain(from..cursor.at)
            } else {
                Text::Coded(start..cursor.at)
            });
        }
    }
}

/// Reads a string of one short ASCII chunk, the common case. `None` for any other value; then the
/// position does not change.
#[inline]
pub(crate) fn plain(cursor: &mut Cursor<'_>) -> Option<Range<usize>> {
    let (tag, rest) = cursor.bytes.get(cursor.at..)?.split_first()?;
    let (head, units) = match *tag {
        0x00..=0x1f => (1, usize::from(*tag)),
        0x30..=0x33 => (
            2,
            usize::from(*tag - 0x30) << 8 | usize::from(*rest.first()?),
        ),
        _ => return None,
    };
    let start = cursor.at + head;
    let text = start..start + units;
    is_ascii(cursor.bytes.get(text.clone())?).then(|| {
        cursor.at = text.end;
        text
    })
}

/// Returns `true` if `text` is ASCII. Short texts, the common case, are checked from both ends at
/// once.
#[inline]
fn is_ascii(text: &[u8]) -> bool {
    if let (Some(front), Some(back)) = (text.first_chunk(), text.last_chunk()) {
        let either = u64::from_le_bytes(*front) | u64::from_le_bytes(*back);
        return either & 0x8080_8080_8080_8080 == 0 && (text.len() <= 16 || text.is_ascii());
    }
    if let (Some(front), Some(back)) = (text.first_chunk(), text.last_chunk()) {
        let either = u32::from_le_bytes(*front) | u32::from_le_bytes(*back);
        return either & 0x8080_8080 == 0;
    }
    text.iter().fold(0, |either, byte| either | byte) < 0x80
}

/// Returns the text of the string value `bytes` that [`text`] has read. Chunks are joined and
/// surrogate pairs merged.
pub(crate) fn rebuild(bytes: &[u8]) -> Vec<u8> {
    from_cesu8(&shortest(&raw(bytes)))
}

/// Returns `true` if every reader gets the same text for the string value `bytes`. Java decodes
/// bytes that are invalid in UTF-8.
pub(crate) fn is_exact(bytes: &[u8]) -> bool {
    units(&raw(bytes)).is_some()
}

/// Returns the joined chunks of the string value `bytes`.
fn raw(bytes: &[u8]) -> Vec<u8> {
    let mut cursor = Cursor::new(bytes, 0);
    let mut raw = Vec::with_capacity(bytes.len());
    while let Ok((units, last)) = chunk_head(&mut cursor) {
        let from = cursor.at;
        if pass(&mut cursor, units).is_err() {
            break;
        }
        raw.extend_from_slice(bytes.get(from..cursor.at).unwrap_or_default());
        if last {
            break;
        }
    }
    raw
}

/// Encodes every character in its shortest form. Decodes as Java does: ignores the bits that UTF-8
/// fixes.
fn shortest(raw: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while !rest.is_empty() {
        let low = |byte: u8| u32::from(byte & 0x3f);
        let (unit, behind) = match *rest {
            [a @ 0xc0..=0xdf, b, ref behind @ ..] => (u32::from(a & 0x1f) << 6 | low(b), behind),
            [a @ 0xe0..=0xef, b, c, ref behind @ ..] => {
                (u32::from(a & 0x0f) << 12 | low(b) << 6 | low(c), behind)
            }
            // ASCII, and characters of four bytes, which Java refuses.
            [other, ref behind @ ..] => {
                text.push(other);
                rest = behind;
                continue;
            }
            [] => break,
        };
        rest = behind;
        if let Some(scalar) = char::from_u32(unit) {
            text.extend_from_slice(scalar.encode_utf8(&mut [0; 4]).as_bytes());
        } else {
            // A surrogate. `from_cesu8` merges it with its other half.
            let byte = |shift: u32| 0x80 | (unit >> shift & 0x3f) as u8;
            text.extend_from_slice(&[0xe0 | (unit >> 12) as u8, byte(6), byte(0)]);
        }
    }
    text
}

/// Appends the string value of `text`: UTF-8, or WTF-8 with lone surrogates. `None` if it is
/// neither; then no byte is written.
pub(crate) fn put_text(text: &[u8], out: &mut Output) -> Option<()> {
    let mut rest = text;
    if units(text)? == 0 {
        out.put(&[0]);
        return Some(());
    }
    while !rest.is_empty() {
        let (bytes, units) = chunk_of(rest);
        if bytes == 0 {
            return None;
        }
        let (chunk, behind) = rest.split_at_checked(bytes)?;
        let [high, low] = u16::try_from(units).ok()?.to_be_bytes();
        match (behind.is_empty(), high) {
            (true, 0) if low < 0x20 => out.put(&[low]),
            (true, 0..=3) => out.put(&[0x30 | high, low]),
            (true, _) => out.put(&[b'S', high, low]),
            (false, _) => out.put(&[b'R', high, low]),
        }
        put_cesu8(chunk, out);
        rest = behind;
    }
    Some(())
}

/// Reads the head of a chunk. Returns its length in units, and `true` if it is the last chunk.
fn chunk_head(cursor: &mut Cursor<'_>) -> Result<(usize, bool), Bad> {
    let tag = cursor.byte()?;
    let (high, more, last) = match tag {
        0x00..=0x1f => (tag, 0, true),
        0x30..=0x33 => (tag - 0x30, 1, true),
        b'S' => (0, 2, true),
        b'R' => (0, 2, false),
        _ => return Err(Bad::Invalid("a chunk of a string has an invalid start")),
    };
    let units = cursor.compact(i64::from(high), more)?;
    Ok((usize::try_from(units).unwrap_or(0), last))
}

/// Skips `units` UTF-16 units. Returns `true` if the bytes are the text without conversion.
///
/// Four-byte UTF-8, which Java refuses and other writers send, counts as two units.
fn pass(cursor: &mut Cursor<'_>, units: usize) -> Result<bool, Bad> {
    let front = cursor.at.checked_add(units).ok_or(Bad::End)?;
    if let Some(bytes) = cursor.bytes.get(cursor.at..front)
        && bytes.is_ascii()
    {
        cursor.at = front;
        return Ok(true);
    }
    // Every unit needs at least one byte.
    if cursor.left() < units {
        return Err(Bad::End);
    }
    let mut clean = true;
    let mut left = units;
    while left > 0 {
        let (length, width) = width_of(cursor.peek()?)
            .ok_or(Bad::Invalid("a character of a string has an invalid start"))?;
        let bytes = cursor.take(length)?;
        clean &= !matches!(bytes, [0xed, 0xa0..=0xbf, _]);
        left = left.checked_sub(width).ok_or(Bad::Invalid(
            "a string ends within a supplementary character",
        ))?;
    }
    Ok(clean)
}

/// Returns the number of bytes and of UTF-16 units of a character, from its first byte.
const fn width_of(first: u8) -> Option<(usize, usize)> {
    match first {
        0x00..=0x7f => Some((1, 1)),
        0xc0..=0xdf => Some((2, 1)),
        0xe0..=0xef => Some((3, 1)),
        0xf0..=0xf7 => Some((4, 2)),
        _ => None,
    }
}

/// Returns the number of UTF-16 units of `text`, if it is UTF-8 or WTF-8.
fn units(text: &[u8]) -> Option<usize> {
    if let Ok(text) = std::str::from_utf8(text) {
        return Some(text.chars().map(char::len_utf16).sum());
    }
    let mut units = 0;
    for chunk in text.utf8_chunks() {
        units += chunk.valid().chars().map(char::len_utf16).sum::<usize>();
    }
    // Invalid UTF-8 may only be surrogates. The standard library reports one surrogate as three
    // invalid chunks of one byte each, so they are counted in the bytes.
    let mut rest = text;
    let mut surrogates = 0;
    while let Some((_, behind)) = rest.split_first() {
        if let [0xed, 0xa0..=0xbf, 0x80..=0xbf, after @ ..] = rest {
            surrogates += 1;
            rest = after;
        } else {
            rest = behind;
        }
    }
    let invalid: usize = text.utf8_chunks().map(|chunk| chunk.invalid().len()).sum();
    (invalid == surrogates * 3).then_some(units + surrogates)
}

/// Returns the size of the next chunk of `text`, in bytes and in units. A chunk never splits a
/// pair.
fn chunk_of(text: &[u8]) -> (usize, usize) {
    let (mut bytes, mut units) = (0, 0);
    while let Some((length, width)) = text.get(bytes).and_then(|first| width_of(*first)) {
        if units + width > CHUNK {
            break;
        }
        bytes += length;
        units += width;
    }
    (bytes.min(text.len()), units)
}

/// Appends UTF-8 with supplementary characters as surrogate pairs of three bytes each.
fn put_cesu8(text: &[u8], out: &mut Output) {
    let mut rest = text;
    while !rest.is_empty() {
        let plain = rest
            .iter()
            .position(|byte| *byte >= 0xf0)
            .unwrap_or(rest.len());
        let (before, from) = rest.split_at_checked(plain).unwrap_or((rest, &[]));
        out.put(before);
        let Some((four, behind)) = from.split_at_checked(4) else {
            return;
        };
        for scalar in std::str::from_utf8(four).unwrap_or_default().chars() {
            for unit in scalar.encode_utf16(&mut [0; 2]) {
                let low = |shift: u32| 0x80 | (*unit >> shift & 0x3f) as u8;
                out.put(&[0xe0 | (*unit >> 12) as u8, low(6), low(0)]);
            }
        }
        rest = behind;
    }
}

#[cfg(test)]
mod tests;
