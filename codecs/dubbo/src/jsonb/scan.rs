//! Walks JSONB values without building them. The walk is iterative: a nested value needs an entry
//! in the scratch stack, not a stack frame. The tags are those of `JSONB.Constants` of fastjson2.

use super::{END, MAP, NULL, string};
use crate::cursor::{Bad, Cursor, Open, Scratch, Text, Value};

const CHAR: u8 = 0x90;
const BINARY: u8 = 0x91;
const TYPED: u8 = 0x92;
const REFERENCE: u8 = 0x93;
const ARRAY: u8 = 0xa4;
const SYMBOL: u8 = 0x7f;

/// Reads a value without parts. `None` if it has parts, or if another value may refer to it; then
/// the position does not change.
pub(crate) fn leaf(cursor: &mut Cursor<'_>) -> Result<Option<Value>, Bad> {
    let tag = cursor.peek()?;
    if string::starts(tag) {
        return string::text(cursor).map(Some);
    }
    if matches!(tag, SYMBOL | TYPED..=ARRAY | MAP) {
        return Ok(None);
    }
    cursor.at += 1;
    let signed = i64::from(tag);
    let value = match tag {
        NULL => Value::Text(Text::Null),
        0xb0 => Value::Bool(false),
        0xb1 => Value::Bool(true),
        // int
        0x00..=0x2f => Value::Int(signed),
        0xf0..=0xff => Value::Int(signed - 0x100),
        0x30..=0x3f => Value::Int(cursor.compact(signed - 0x38, 1)?),
        0x40..=0x47 => Value::Int(cursor.compact(signed - 0x44, 2)?),
        0x48 => Value::Int(cursor.signed(4)?),
        // long, short, byte
        0xd8..=0xef => Value::Int(signed - 0xe0),
        0xc8..=0xd7 => Value::Int(cursor.compact(signed - 0xd0, 1)?),
        0xc0..=0xc7 => Value::Int(cursor.compact(signed - 0xc4, 2)?),
        0xbf => Value::Int(cursor.signed(4)?),
        0xbe => Value::Int(cursor.signed(8)?),
        0xbc => Value::Int(cursor.signed(2)?),
        0xbd => Value::Int(cursor.signed(1)?),
        _ => {
            skip_opaque(tag, cursor)?;
            Value::Opaque
        }
    };
    Ok(Some(value))
}

/// Skips one value of any depth.
pub(crate) fn skip(
    cursor: &mut Cursor<'_>,
    scratch: &mut Scratch,
    depth: usize,
) -> Result<(), Bad> {
    scratch.open.clear();
    enter(cursor, scratch, depth)?;
    while let Some(open) = scratch.open.last_mut() {
        let done = match open {
            Open::Left(0) => true,
            Open::Left(left) => {
                *left -= 1;
                false
            }
            Open::Pairs(key) => {
                *key = !*key;
                let end = *key && cursor.peek()? == END;
                cursor.at += usize::from(end);
                end
            }
            // JSONB arrays always have a length.
            Open::Listed => true,
        };
        if done {
            scratch.open.pop();
        } else {
            enter(cursor, scratch, depth)?;
        }
    }
    Ok(())
}

/// Returns `true` if the value at the cursor is a list or a map. `false` for a reference or a name,
/// which may stand for a string.
pub(crate) fn has_parts(cursor: &Cursor<'_>) -> bool {
    let mut cursor = cursor.clone();
    while cursor.peek() == Ok(TYPED) {
        cursor.at += 1;
        if skip_symbol(&mut cursor).is_err() {
            return false;
        }
    }
    matches!(cursor.peek(), Ok(0x94..=ARRAY | MAP))
}

/// Reads a length: a non-negative int.
pub(super) fn length(cursor: &mut Cursor<'_>) -> Result<usize, Bad> {
    let length = integer(cursor)?;
    usize::try_from(length).map_err(|_| Bad::Invalid("a JSONB length is negative"))
}

/// Reads a value without parts, or opens one with parts.
fn enter(cursor: &mut Cursor<'_>, scratch: &mut Scratch, depth: usize) -> Result<(), Bad> {
    // A type name comes before its value.
    while cursor.peek()? == TYPED {
        cursor.at += 1;
        skip_symbol(cursor)?;
    }
    if leaf(cursor)?.is_some() {
        return Ok(());
    }
    let tag = cursor.byte()?;
    let open = match tag {
        SYMBOL => return skip_symbol(cursor),
        REFERENCE => {
            leaf(cursor)?;
            return Ok(());
        }
        MAP => Open::Pairs(false),
        ARRAY => {
            let count = u32::try_from(length(cursor)?);
            Open::Left(count.map_err(|_| Bad::Invalid("a JSONB length is out of range"))?)
        }
        fixed => Open::Left(u32::from(fixed.saturating_sub(0x94))),
    };
    if scratch.open.len() >= depth {
        return Err(Bad::Depth);
    }
    scratch.open.push(open);
    Ok(())
}

/// Skips a name and its new number, or a number alone.
fn skip_symbol(cursor: &mut Cursor<'_>) -> Result<(), Bad> {
    if string::starts(cursor.peek()?) {
        string::text(cursor)?;
    }
    integer(cursor).map(|_| ())
}

fn integer(cursor: &mut Cursor<'_>) -> Result<i64, Bad> {
    match leaf(cursor)? {
        Some(Value::Int(number)) => Ok(number),
        _ => Err(Bad::Invalid("a JSONB integer is missing here")),
    }
}

fn skip_opaque(tag: u8, cursor: &mut Cursor<'_>) -> Result<(), Bad> {
    let (bytes, integers) = match tag {
        CHAR | 0xb4 | 0xb6 | 0xb8 | 0xba => (0, 1),
        // local time, local date-time, local date, zoned date-time
        0xa7 => (3, 1),
        0xa8 | 0xaa => (7, 1),
        0xa9 => (4, 0),
        // timestamps
        0xab => (8, 0),
        0xac | 0xad => (4, 0),
        0xae => (0, 2),
        // floating point
        0xb2 | 0xb3 => (0, 0),
        0xb5 => (8, 0),
        0xb7 => (4, 0),
        BINARY | 0xbb => (length(cursor)?, 0),
        // decimal: a scale, then a number
        0xb9 => (0, 1),
        _ => return Err(Bad::Invalid("a JSONB tag that cannot start a value")),
    };
    cursor.take(bytes)?;
    for _ in 0..integers {
        integer(cursor)?;
    }
    if tag == 0xaa {
        string::text(cursor)?;
    }
    if tag == 0xb9 {
        skip_unscaled(cursor)?;
    }
    Ok(())
}

fn skip_unscaled(cursor: &mut Cursor<'_>) -> Result<(), Bad> {
    match cursor.peek()? {
        0xba => {
            cursor.at += 1;
            integer(cursor).map(|_| ())
        }
        BINARY | 0xbb => {
            cursor.at += 1;
            let count = length(cursor)?;
            cursor.take(count).map(|_| ())
        }
        _ => integer(cursor).map(|_| ()),
    }
}

#[cfg(test)]
mod tests;
