//! Finds the end of a struct in the binary and compact encodings. The scan continues as bytes
//! arrive, and is not recursive. It must not store values: it implements only their grammar.

use meltemi_frame::Violation;

use crate::cursor::{Cursor, Stop};
use crate::dialect::Encoding;
use crate::json::Brackets;

/// The progress of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The end of the struct: the first offset after it.
    Done(usize),
    /// The input must have at least this many bytes before the next call.
    More(usize),
}

/// Finds the end of a message's struct in any encoding. Offsets count from the front of the input,
/// which [`Scanner::consumed`] moves.
#[derive(Debug, Default)]
pub(crate) struct Scanner {
    json: bool,
    brackets: Brackets,
    walk: Walk,
}

impl Scanner {
    /// Starts at `at`: the first byte of a struct, or the opening bracket of a JSON text.
    pub(crate) fn start(&mut self, encoding: Encoding, at: usize, depth: usize) {
        self.json = encoding == Encoding::Json;
        if self.json {
            // A struct is `{"1":{"rec":{`, a list `{"lst":[`: two brackets per level, and the
            // message's own.
            let brackets = depth.saturating_mul(2).saturating_add(2);
            self.brackets.start(at, brackets);
        } else {
            self.walk.start(encoding == Encoding::Compact, at, depth);
        }
    }

    /// Returns the scan position. It may be after the end of the input, if the length of a value is
    /// known.
    pub(crate) const fn at(&self) -> usize {
        if self.json {
            self.brackets.at()
        } else {
            self.walk.at
        }
    }

    /// Adjusts the positions after the caller removed `count` bytes from the front.
    pub(crate) const fn consumed(&mut self, count: usize) {
        self.brackets.consumed(count);
        self.walk.at = self.walk.at.saturating_sub(count);
    }

    /// Continues as far as `input` allows.
    pub(crate) fn advance(&mut self, input: &[u8]) -> Result<Progress, Violation> {
        if self.json {
            return self.brackets.advance(input);
        }
        match self.walk.advance(input) {
            Ok(end) => Ok(Progress::Done(end)),
            Err(Stop::Short(need)) => Ok(Progress::More(need.max(input.len().saturating_add(1)))),
            Err(Stop::Bad(violation)) => Err(violation),
        }
    }
}

/// A value that the walk is inside.
#[derive(Clone, Copy, Debug)]
enum Level {
    Struct,
    /// A number of values with alternating types: key and value of a map, or twice the same type.
    Values {
        types: [u8; 2],
        left: u64,
    },
}

#[derive(Debug, Default)]
struct Walk {
    compact: bool,
    at: usize,
    depth: usize,
    levels: Vec<Level>,
    /// The type of the next value to read.
    pending: Option<u8>,
}

/// The kind of a value that was read.
enum Value {
    /// The number of bytes from here.
    Bytes(usize),
    Struct,
    Values {
        types: [u8; 2],
        count: u64,
    },
}

impl Walk {
    fn start(&mut self, compact: bool, at: usize, depth: usize) {
        self.compact = compact;
        self.at = at;
        self.depth = depth;
        self.levels.clear();
        self.levels.push(Level::Struct);
        self.pending = None;
    }

    /// Finds the end of the struct. The bytes up to `self.at` are finished, so it can be called
    /// again.
    fn advance(&mut self, input: &[u8]) -> Result<usize, Stop> {
        loop {
            if let Some(kind) = self.pending {
                let mut cursor = Cursor::new(input, self.at);
                let value = if self.compact {
                    compact_value(&mut cursor, kind)?
                } else {
                    binary_value(&mut cursor, kind)?
                };
                self.at = cursor.at();
                self.pending = None;
                self.enter(value)?;
                continue;
            }
            let Some(level) = self.levels.last_mut() else {
                return Ok(self.at);
            };
            match level {
                Level::Values { left: 0, .. } => {
                    self.levels.pop();
                }
                Level::Values {
                    types: [key, value],
                    left,
                } => {
                    self.pending = Some(if *left % 2 == 0 { *key } else { *value });
                    *left -= 1;
                }
                Level::Struct => {
                    let mut cursor = Cursor::new(input, self.at);
                    let kind = if self.compact {
                        compact_field(&mut cursor)?
                    } else {
                        binary_field(&mut cursor)?
                    };
                    self.at = cursor.at();
                    match kind {
                        Field::Stop => {
                            self.levels.pop();
                        }
                        Field::Empty => {}
                        Field::Of(kind) => self.pending = Some(kind),
                    }
                }
            }
        }
    }

    fn enter(&mut self, value: Value) -> Result<(), Violation> {
        let level = match value {
            Value::Bytes(count) => {
                self.at = self.at.checked_add(count).ok_or(Violation::Length {
                    field: "size of a value",
                    value: i64::MAX,
                })?;
                return Ok(());
            }
            Value::Struct => Level::Struct,
            Value::Values { types, count } => Level::Values { types, left: count },
        };
        if self.levels.len() >= self.depth {
            return Err(Violation::Depth { limit: self.depth });
        }
        self.levels.push(level);
        Ok(())
    }
}

enum Field {
    Stop,
    /// The header contains the value (a compact boolean).
    Empty,
    Of(u8),
}

fn unknown_type(kind: u8) -> Violation {
    Violation::Length {
        field: "type of a value",
        value: i64::from(kind),
    }
}

fn size(value: i32) -> Result<usize, Violation> {
    usize::try_from(value).map_err(|_| Violation::Length {
        field: "size of a value",
        value: i64::from(value),
    })
}

/// Returns `count` values of these types. They are skipped at once if their sizes are fixed.
fn values(types: [u8; 2], fixed: [Option<usize>; 2], count: usize, map: bool) -> Value {
    if let [Some(key), Some(value)] = fixed {
        let each = if map { key.saturating_add(value) } else { key };
        return Value::Bytes(count.saturating_mul(each));
    }
    let count = count as u64;
    Value::Values {
        types,
        count: if map { count.saturating_mul(2) } else { count },
    }
}

/// Reads a field (`thrift-binary-protocol.md`, "Struct").
fn binary_field(cursor: &mut Cursor<'_>) -> Result<Field, Stop> {
    let kind = cursor.u8()?;
    if kind == 0 {
        return Ok(Field::Stop);
    }
    cursor.take(2)?;
    Ok(Field::Of(kind))
}

const fn binary_fixed(kind: u8) -> Option<usize> {
    match kind {
        2 | 3 => Some(1),
        6 => Some(2),
        8 => Some(4),
        4 | 10 => Some(8),
        16 => Some(16),
        _ => None,
    }
}

fn binary_known(kind: u8) -> Result<(), Violation> {
    match kind {
        2..=4 | 6 | 8 | 10..=16 => Ok(()),
        _ => Err(unknown_type(kind)),
    }
}

fn binary_value(cursor: &mut Cursor<'_>, kind: u8) -> Result<Value, Stop> {
    if let Some(bytes) = binary_fixed(kind) {
        return Ok(Value::Bytes(bytes));
    }
    match kind {
        11 => Ok(Value::Bytes(size(cursor.i32()?)?)),
        12 => Ok(Value::Struct),
        13 => {
            let types = [cursor.u8()?, cursor.u8()?];
            let count = size(cursor.i32()?)?;
            binary_values(types, count, true)
        }
        14 | 15 => {
            let element = cursor.u8()?;
            let count = size(cursor.i32()?)?;
            binary_values([element; 2], count, false)
        }
        _ => Err(unknown_type(kind).into()),
    }
}

fn binary_values(types: [u8; 2], count: usize, map: bool) -> Result<Value, Stop> {
    if count == 0 {
        // Writers use any types for an empty container.
        return Ok(Value::Bytes(0));
    }
    for kind in types {
        binary_known(kind)?;
    }
    Ok(values(types, types.map(binary_fixed), count, map))
}

/// Reads a field (`thrift-compact-protocol.md`, "Struct").
fn compact_field(cursor: &mut Cursor<'_>) -> Result<Field, Stop> {
    let header = cursor.u8()?;
    if header == 0 {
        return Ok(Field::Stop);
    }
    if header >> 4 == 0 {
        cursor.varint32("field id")?;
    }
    Ok(match header & 0x0f {
        1 | 2 => Field::Empty,
        kind => Field::Of(kind),
    })
}

const fn compact_fixed(kind: u8) -> Option<usize> {
    match kind {
        1..=3 => Some(1),
        7 => Some(8),
        13 => Some(16),
        _ => None,
    }
}

fn compact_known(kind: u8) -> Result<(), Violation> {
    match kind {
        1..=13 => Ok(()),
        _ => Err(unknown_type(kind)),
    }
}

fn compact_value(cursor: &mut Cursor<'_>, kind: u8) -> Result<Value, Stop> {
    if let Some(bytes) = compact_fixed(kind) {
        return Ok(Value::Bytes(bytes));
    }
    match kind {
        4..=6 => {
            // An i64 has at most ten bytes.
            for _ in 0..10 {
                if cursor.u8()? & 0x80 == 0 {
                    return Ok(Value::Bytes(0));
                }
            }
            Err(Violation::Invalid("an integer of more than 64 bits").into())
        }
        8 => Ok(Value::Bytes(size(
            cursor.varint32("size of a value")?.cast_signed(),
        )?)),
        9 | 10 => {
            let header = cursor.u8()?;
            let count = match header >> 4 {
                15 => size(cursor.varint32("size of a value")?.cast_signed())?,
                short => usize::from(short),
            };
            compact_values([header & 0x0f; 2], count, false)
        }
        11 => {
            let count = size(cursor.varint32("size of a value")?.cast_signed())?;
            if count == 0 {
                // An empty map has no byte for its types.
                return Ok(Value::Bytes(0));
            }
            let types = cursor.u8()?;
            compact_values([types >> 4, types & 0x0f], count, true)
        }
        12 => Ok(Value::Struct),
        _ => Err(unknown_type(kind).into()),
    }
}

fn compact_values(types: [u8; 2], count: usize, map: bool) -> Result<Value, Stop> {
    if count == 0 {
        return Ok(Value::Bytes(0));
    }
    for kind in types {
        compact_known(kind)?;
    }
    Ok(values(types, types.map(compact_fixed), count, map))
}

#[cfg(test)]
mod tests;
