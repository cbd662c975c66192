//! The map of attachments at the end of a body: where it lies, and its entries as attributes.

use std::ops::ControlFlow;
use std::time::Duration;

use meltemi_frame::{Attributes, KeyId, Limits, Open, Span};

use crate::cursor::{Bad, Text, Value};
use crate::format::{Form, Format, RawEntry, Reader};

/// Where the attachments lie in a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) form: Form,
    /// Where the field starts.
    pub(crate) start: usize,
    /// Where the first entry starts.
    pub(crate) first: usize,
    /// Where the end mark stands.
    pub(crate) close: usize,
    /// Where the field ends.
    pub(crate) end: usize,
}

/// Reads the attachments, which are the last field, and shows each entry to `each`.
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

/// What of the attachments a message head or a slot wants to know.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// How long the caller waits.
    pub(crate) timeout: Option<Duration>,
    /// The value of the attachment that has a slot.
    pub(crate) slot: Option<Value>,
}

/// Reads the attachments and leaves them open in `attributes`; what stands under `slot` is
/// found on the way.
pub(crate) fn publish(
    reader: &mut Reader<'_, '_>,
    wire: &[u8],
    limits: &Limits,
    slot: &[u8],
    attributes: &mut Attributes,
) -> Result<Option<Found>, Bad> {
    let format = reader.format;
    let mut found = Found::default();
    let mut listed: Option<Vec<(Vec<u8>, Vec<u8>)>> = None;
    let mut first = None;
    let place = read::<Bad>(reader, limits, |entry| {
        let first = *first.get_or_insert(entry.start);
        if entry.is_structured() && listed.is_none() {
            listed = Some(listing(format, wire, Span::new(first, entry.start)));
        }
        let Some(name) = format.text(wire, &entry.key) else {
            return Ok(());
        };
        if *name == *slot {
            found.slot = Some(entry.value.clone());
        } else if *name == *b"timeout" {
            found.timeout = timeout(format, wire, &entry.value);
        }
        if let Some(list) = &mut listed
            && let Some(value) = format.text(wire, &entry.value)
        {
            list.push((name.into_owned(), value.into_owned()));
        }
        Ok(())
    })?;
    match (place.form, listed) {
        (Form::Missing, _) => return Ok(None),
        (Form::Null, _) => {}
        (Form::Map, None) => attributes.set_open(Open::Walk {
            region: Span::new(place.first, place.close),
            walk: format.walk(),
        }),
        (Form::Map, Some(list)) => attributes.set_open(Open::Listed(Box::new(list))),
    }
    Ok(Some(found))
}

/// Puts a string of the wire into a slot.
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
}

/// The entries that were walked before one came that a walk without tables cannot pass.
fn listing(format: Format, wire: &[u8], region: Span) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut list = Vec::new();
    format.walk()(wire, region, &mut |entry| {
        list.push((entry.name.into_owned(), entry.value.into_owned()));
        ControlFlow::Continue(())
    });
    list
}

fn timeout(format: Format, wire: &[u8], value: &Value) -> Option<Duration> {
    let millis = match value {
        Value::Int(millis) => u64::try_from(*millis).ok()?,
        other => digits(&format.text(wire, other)?)?,
    };
    (millis > 0).then(|| Duration::from_millis(millis))
}

fn digits(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}
