//! The attachment map at the end of a body: its position, and its entries as attributes.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::ControlFlow;
use std::time::Duration;

use meltemi_frame::{Attributes, KeyId, Limits, Open, Span};

use crate::cursor::{Bad, Cursor, Text, Value};
use crate::format::{Form, Format, RawEntry, Reader};
use crate::walk;

/// The position of the attachments in a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) form: Form,
    /// The start of the field.
    pub(crate) start: usize,
    /// The start of the first entry.
    pub(crate) first: usize,
    /// The position of the end mark.
    pub(crate) close: usize,
    /// The end of the field.
    pub(crate) end: usize,
}

/// Reads the attachments, which are the last field. Passes each entry to `each`.
pub(crate) fn read<E: From<Bad>>(
    reader: &mut Reader<'_, '_>,
    limits: &Limits,
    mut each: impl FnMut(&RawEntry) -> Result<(), E>,
) -> Result<Place, E> {
    let start = reader.at();
    let form = reader.open_map()?;
    let first = reader.at();
    let mut place = Place {
        form,
        start,
        first,
        close: first,
        end: reader.map_end(),
    };
    if form != Form::Map {
        return Ok(place);
    }
    let mut entries = 0;
    while let Some(entry) = reader.entry()? {
        entries += 1;
        if entries > limits.entries {
            return Err(Bad::Entries.into());
        }
        place.close = entry.end;
        each(&entry)?;
    }
    place.end = reader.map_end();
    Ok(place)
}

/// The attachments that a message head or a slot needs. The last entry of a name counts, as in a
/// map.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The caller's timeout.
    pub(crate) timeout: Option<Duration>,
    pub(crate) path: Option<Value>,
    pub(crate) version: Option<Value>,
    pub(crate) group: Option<Value>,
    pub(crate) dubbo: Option<Value>,
    /// `true` if the call may be of a stub. Then a provider looks up the service without its port.
    pub(crate) stub: bool,
    /// `true` if another reader may get other entries.
    pub(crate) unsure: bool,
}

impl Found {
    fn note(&mut self, name: &[u8], format: Format, wire: &[u8], value: &Value) {
        let place = match name {
            b"path" => &mut self.path,
            b"version" => &mut self.version,
            b"group" => &mut self.group,
            b"dubbo" => &mut self.dubbo,
            b"timeout" => {
                self.timeout = timeout(format, wire, value);
                return;
            }
            b"dubbo.stub.event" => {
                self.stub = format
                    .text(wire, value)
                    .is_none_or(|value| *value == *b"true");
                return;
            }
            _ => return,
        };
        *place = Some(value.clone());
    }
}

/// An entry that must be copied from the wire; `None` if its value has no text.
type Listed = (Vec<u8>, Option<Vec<u8>>);

/// Reads the attachments and makes them available in `attributes` on demand. Collects the entries
/// that the caller needs in the same pass.
pub(crate) fn publish(
    reader: &mut Reader<'_, '_>,
    wire: &[u8],
    limits: &Limits,
    attributes: &mut Attributes,
) -> Result<Option<Found>, Bad> {
    let format = reader.format;
    let mut found = Found::default();
    let mut listed: Option<Vec<Listed>> = None;
    let mut first = None;
    let mut names = Names::default();
    let place = read::<Bad>(reader, limits, |entry| {
        let first = *first.get_or_insert(entry.start);
        // The common case: an entry of two plain strings, with a new name.
        if let (Value::Text(Text::Plain(name)), Value::Text(Text::Plain(_)), None) =
            (&entry.key, &entry.value, &listed)
        {
            let name = wire.get(name.clone()).unwrap_or_default();
            if !names.again(name) || !is_in(format, wire, Span::new(first, entry.start), name) {
                found.note(name, format, wire, &entry.value);
                return Ok(());
            }
        }
        let name = format.text(wire, &entry.key);
        // A key that is not a string is not a name. It may be one if its form is not decoded.
        found.unsure |= matches!(entry.key, Value::Hidden | Value::Structured)
            || entry.value == Value::Hidden
            || [&entry.key, &entry.value].map(|value| exact(format, wire, value)) != [true; 2];
        let before = Span::new(first, entry.start);
        if listed.is_none()
            && (entry.is_structured()
                || name
                    .as_deref()
                    .is_some_and(|name| names.again(name) && is_in(format, wire, before, name)))
        {
            listed = Some(listing(format, wire, before));
        }
        let Some(name) = name else {
            return Ok(());
        };
        found.note(&name, format, wire, &entry.value);
        if let Some(list) = &mut listed {
            let value = format.text(wire, &entry.value).map(Cow::into_owned);
            list.push((name.into_owned(), value));
        }
        Ok(())
    })?;
    found.unsure |= reader.odd_map;
    match (place.form, listed) {
        (Form::Missing, _) => return Ok(None),
        (Form::Null, _) => {}
        (Form::Map, None) => attributes.set_open(Open::Walk {
            region: Span::new(place.first, place.close),
            walk: walk::of(format),
        }),
        (Form::Map, Some(list)) => attributes.set_open(Open::Listed(Box::new(effective(list)))),
    }
    if found.unsure {
        attributes.set_open_undetermined();
    }
    Ok(Some(found))
}

/// A bloom filter of names: a name that is not in it is new.
#[derive(Default)]
struct Names([u64; 8]);

impl Names {
    /// Adds a name. Returns `true` if it may already be present.
    #[inline]
    fn again(&mut self, name: &[u8]) -> bool {
        // The ends and the length differ for most names.
        let ends = if let (Some(front), Some(back)) = (name.first_chunk(), name.last_chunk()) {
            u64::from_le_bytes(*front) ^ u64::from_le_bytes(*back).rotate_left(29)
        } else if let (Some(front), Some(back)) = (name.first_chunk(), name.last_chunk()) {
            u64::from(u32::from_le_bytes(*front)) << 32 | u64::from(u32::from_le_bytes(*back))
        } else {
            name.iter()
                .fold(0, |ends, byte| ends << 8 | u64::from(*byte))
        };
        let mixed = (ends ^ name.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let bit = 1 << (mixed >> 58);
        self.0
            .get_mut((mixed >> 55 & 7) as usize)
            .is_some_and(|word| {
                let before = *word & bit != 0;
                *word |= bit;
                before
            })
    }
}

/// Returns `true` if the region has an entry with this name. Its entries have no parts.
fn is_in(format: Format, wire: &[u8], region: Span, name: &[u8]) -> bool {
    walk_all(format, wire, region, |key, _| *key != *name).is_break()
}

/// Returns the last entry of each name, as a map does.
fn effective(list: Vec<Listed>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut seen = HashSet::new();
    let mut last: Vec<_> = list
        .iter()
        .rev()
        .filter(|(name, _)| seen.insert(name))
        .filter_map(|(name, value)| Some((name.clone(), value.clone()?)))
        .collect();
    last.reverse();
    last
}

/// Returns `true` if every reader gets the same text for a value.
pub(crate) fn exact(format: Format, wire: &[u8], value: &Value) -> bool {
    let Value::Text(Text::Coded(range)) = value else {
        return true;
    };
    wire.get(range.clone())
        .is_some_and(|value| format.is_exact(value))
}

/// Sets a slot to a string of the wire.
pub(crate) fn set(
    attributes: &mut Attributes,
    key: KeyId,
    format: Format,
    wire: &[u8],
    value: &Value,
) {
    if let Value::Text(Text::Plain(range)) = value {
        attributes.set_span(key, Span::new(range.start, range.end));
    } else if let Some(text) = format.text(wire, value) {
        attributes.set_kept(key, text.into_owned());
    }
    if matches!(value, Value::Text(Text::Hidden)) || !exact(format, wire, value) {
        attributes.set_undetermined(key);
    }
}

/// Returns the entries before the first one that a walk without tables cannot pass.
fn listing(format: Format, wire: &[u8], region: Span) -> Vec<Listed> {
    let mut list = Vec::new();
    let _ = walk_all(format, wire, region, |name, value| {
        list.push((name.to_vec(), value.map(<[u8]>::to_vec)));
        true
    });
    list
}

/// Visits all entries with a name while `visit` returns `true`. This includes entries whose value
/// has no text.
fn walk_all(
    format: Format,
    wire: &[u8],
    region: Span,
    mut visit: impl FnMut(&[u8], Option<&[u8]>) -> bool,
) -> ControlFlow<()> {
    let bytes = wire.get(..region.end as usize).unwrap_or_default();
    let mut cursor = Cursor::new(bytes, region.start as usize);
    while cursor.left() > 0 {
        let (Ok(Some(key)), Ok(Some(value))) = (format.leaf(&mut cursor), format.leaf(&mut cursor))
        else {
            break;
        };
        if let Some(name) = format.text(wire, &key)
            && !visit(&name, format.text(wire, &value).as_deref())
        {
            return ControlFlow::Break(());
        }
    }
    ControlFlow::Continue(())
}

fn timeout(format: Format, wire: &[u8], value: &Value) -> Option<Duration> {
    let millis = match value {
        Value::Int(millis) => u64::try_from(*millis).ok()?,
        other => digits(&format.text(wire, other)?)?,
    };
    (millis > 0).then(|| Duration::from_millis(millis))
}

/// Parses a text as a number.
fn digits(text: &[u8]) -> Option<u64> {
    let text = text.strip_prefix(b"+").unwrap_or(text);
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}
