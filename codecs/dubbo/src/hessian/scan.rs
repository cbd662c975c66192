//! Walks Hessian2 values without building them (§ 4 of the specification). The walk is iterative: a
//! nested value needs an entry in the scratch stack, not a stack frame.

use super::{END, MAP, NULL, TYPED_MAP, string};
use crate::cursor::{Bad, Cursor, Open, Scratch, Text, Value};

/// Reads a value without parts. `None` if it has parts; then the position does not change.
pub(crate) fn leaf(cursor: &mut Cursor<'_>) -> Result<Option<Value>, Bad> {
    let tag = cursor.peek()?;
    if matches!(tag, 0x00..=0x1f | 0x30..=0x33 | b'R' | b'S') {
        if let Some(text) = string::plain(cursor) {
            return Ok(Some(Value::Text(Text::Plain(text))));
        }
        return string::text(cursor).map(|text| Some(Value::Text(text)));
    }
    if matches!(tag, 0x20..=0x2f | 0x34..=0x37 | b'A' | b'B') {
        skip_binary(cursor)?;
        return Ok(Some(Value::Opaque));
    }
    if matches!(tag, b'C' | b'H' | b'M' | b'O' | b'Q' | 0x55..=0x58 | 0x60..=0x7f) {
        return Ok(None);
    }
    cursor.at += 1;
    let signed = i64::from(tag);
    let value = match tag {
        NULL => Value::Text(Text::Null),
        b'T' => Value::Bool(true),
        b'F' => Value::Bool(false),
        // int
        0x80..=0xbf => Value::Int(signed - 0x90),
        0xc0..=0xcf => Value::Int(cursor.compact(signed - 0xc8, 1)?),
        0xd0..=0xd7 => Value::Int(cursor.compact(signed - 0xd4, 2)?),
        b'I' => Value::Int(cursor.signed(4)?),
        // long
        0xd8..=0xef => Value::Int(signed - 0xe0),
        0xf0..=0xff => Value::Int(cursor.compact(signed - 0xf8, 1)?),
        0x38..=0x3f => Value::Int(cursor.compact(signed - 0x3c, 2)?),
        b'Y' => Value::Int(cursor.signed(4)?),
        b'L' => Value::Int(cursor.signed(8)?),
        // double, date
        0x5b | 0x5c => Value::Opaque,
        0x5d => opaque(cursor, 1)?,
        0x5e => opaque(cursor, 2)?,
        0x5f | b'K' => opaque(cursor, 4)?,
        b'D' | b'J' => opaque(cursor, 8)?,
        _ => return Err(Bad::Invalid("a reserved Hessian2 tag")),
    };
    Ok(Some(value))
}

/// Skips one value of any depth. Records the class definitions.
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
            Open::Listed => at_end(cursor)?,
            Open::Pairs(key) => {
                // An end mark instead of a value is refused below, because no value starts with
                // this tag.
                *key = !*key;
                *key && at_end(cursor)?
            }
        };
        if done {
            scratch.open.pop();
        } else {
            enter(cursor, scratch, depth)?;
        }
    }
    Ok(())
}

/// Skips the type name of a list or map: a string, or the number of an earlier one.
pub(crate) fn skip_type(cursor: &mut Cursor<'_>) -> Result<(), Bad> {
    match leaf(cursor)? {
        Some(Value::Text(Text::Plain(_) | Text::Coded(_)) | Value::Int(_)) => Ok(()),
        _ => Err(Bad::Invalid("a type name is neither a string nor a number")),
    }
}

/// Reads a value without parts, or opens one with parts.
fn enter(cursor: &mut Cursor<'_>, scratch: &mut Scratch, depth: usize) -> Result<(), Bad> {
    // A class definition may come before any value. It is not a value itself.
    while cursor.peek()? == b'C' {
        cursor.at += 1;
        define(cursor, scratch)?;
    }
    if leaf(cursor)?.is_some() {
        return Ok(());
    }
    let tag = cursor.byte()?;
    let open = match tag {
        MAP => Open::Pairs(false),
        TYPED_MAP => {
            skip_type(cursor)?;
            Open::Pairs(false)
        }
        b'O' => {
            let class = count(cursor)?;
            fields(scratch, class as usize)?
        }
        0x60..=0x6f => fields(scratch, usize::from(tag & 0x0f))?,
        b'Q' => {
            count(cursor)?;
            return Ok(());
        }
        0x55 => {
            skip_type(cursor)?;
            Open::Listed
        }
        0x56 => {
            skip_type(cursor)?;
            Open::Left(count(cursor)?)
        }
        0x57 => Open::Listed,
        0x58 => Open::Left(count(cursor)?),
        0x70..=0x77 => {
            skip_type(cursor)?;
            Open::Left(u32::from(tag & 0x07))
        }
        _ => Open::Left(u32::from(tag & 0x07)),
    };
    if scratch.open.len() >= depth {
        return Err(Bad::Depth);
    }
    scratch.open.push(open);
    Ok(())
}

fn define(cursor: &mut Cursor<'_>, scratch: &mut Scratch) -> Result<(), Bad> {
    name(cursor)?;
    let fields = count(cursor)?;
    for _ in 0..fields {
        name(cursor)?;
    }
    scratch.classes.push(fields);
    Ok(())
}

fn name(cursor: &mut Cursor<'_>) -> Result<(), Bad> {
    match leaf(cursor)? {
        Some(Value::Text(Text::Plain(_) | Text::Coded(_))) => Ok(()),
        _ => Err(Bad::Invalid("a name in a class definition is not a string")),
    }
}

fn fields(scratch: &Scratch, class: usize) -> Result<Open, Bad> {
    let fields = scratch.classes.get(class);
    let fields = fields.ok_or(Bad::Invalid("an object of a class that is not defined"))?;
    Ok(Open::Left(*fields))
}

/// Reads a count or an index: a non-negative int.
fn count(cursor: &mut Cursor<'_>) -> Result<u32, Bad> {
    match leaf(cursor)? {
        Some(Value::Int(number)) => {
            u32::try_from(number).map_err(|_| Bad::Invalid("a count is negative or out of range"))
        }
        _ => Err(Bad::Invalid("a count is not an integer")),
    }
}

fn at_end(cursor: &mut Cursor<'_>) -> Result<bool, Bad> {
    let end = cursor.peek()? == END;
    cursor.at += usize::from(end);
    Ok(end)
}

fn opaque(cursor: &mut Cursor<'_>, length: usize) -> Result<Value, Bad> {
    cursor.take(length)?;
    Ok(Value::Opaque)
}

/// Chunks of bytes may have any size: Java's first chunk is the rest of its buffer.
fn skip_binary(cursor: &mut Cursor<'_>) -> Result<(), Bad> {
    loop {
        let tag = cursor.byte()?;
        let (high, more) = match tag {
            0x20..=0x2f => (tag - 0x20, 0),
            0x34..=0x37 => (tag - 0x34, 1),
            b'A' | b'B' => (0, 2),
            _ => return Err(Bad::Invalid("a chunk of bytes has an invalid start")),
        };
        let length = cursor.compact(i64::from(high), more)?;
        cursor.take(usize::try_from(length).unwrap_or(0))?;
        if tag != b'A' {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests;
