//! Encoding: unchanged, with another id, or with edited entries. Only the changed bytes are
//! rewritten.

use meltemi_frame::{Edit, EncodeError, Kind, Message, Output};

use super::edit::Edited;
use super::{Described, note, noted, noted_length};
use crate::checksum;
use crate::number::{MAX_DIGITS, Number};
use crate::plan::{Ending, Field, Plan, Variant};

impl Described {
    pub(super) fn encode_message(
        &mut self,
        message: &Message<'_>,
        out: &mut Output,
    ) -> Result<(), EncodeError> {
        let wire = message.wire();
        if message.is_unedited() {
            out.put(wire);
            return Ok(());
        }
        let Self { plan, scratch, .. } = self;
        let at = noted(&message.layout, note::VARIANT);
        let refusal = Refusal { plan };
        let Some(variant) = plan.variants.get(at) else {
            return Err(refusal.edit("id", "the message has another protocol"));
        };
        let id = changed_id(plan, variant, message)?;
        if plan.line.is_some() {
            return line(plan, message, id.map(|(_, id)| id), out);
        }
        let id = match id {
            Some((Field::Number(number), id)) => Some((number, id)),
            _ => None,
        };
        let checksum = checksum_of(variant, message);
        if message.head.kind == Kind::Data {
            if !message.edits().is_empty() {
                let name = message.edits().first().map_or("", Edit::name);
                return Err(refusal.edit(name, "it is a piece of the payload"));
            }
            data(message, id, checksum, out);
            return Ok(());
        }
        if message.edits().is_empty() {
            if let Some((number, id)) = id {
                with_id(message, number, id, checksum, out);
            }
            return Ok(());
        }
        let edited = Edited {
            plan,
            variant,
            message,
            checksum,
        };
        edited.encode(id, scratch, out)
    }
}

/// Returns the position of the new id, if it differs from the received one.
fn changed_id(
    plan: &Plan,
    variant: &Variant,
    message: &Message<'_>,
) -> Result<Option<(Field, i64)>, EncodeError> {
    let Some(id) = message.id().filter(|_| message.id_changed()) else {
        return Ok(None);
    };
    let refusal = Refusal { plan };
    let Some(field) = variant.id.filter(|_| message.head.id.is_some()) else {
        return Err(refusal.edit("id", "the message has no id"));
    };
    let fits = match field {
        Field::Number(number) => Number {
            signed: false,
            ..number
        }
        .fits(id),
        Field::Word { .. } | Field::Text { .. } => id >= 0,
    };
    if fits {
        Ok(Some((field, id)))
    } else {
        Err(refusal.large("the id"))
    }
}

#[derive(Clone, Copy)]
pub(super) struct Refusal<'p> {
    pub plan: &'p Plan,
}

impl Refusal<'_> {
    pub(super) fn edit(self, name: &str, why: &'static str) -> EncodeError {
        EncodeError::Edit {
            protocol: self.plan.name,
            name: name.to_owned(),
            why,
        }
    }

    pub(super) fn large(self, what: &'static str) -> EncodeError {
        EncodeError::TooLarge {
            protocol: self.plan.name,
            what,
        }
    }
}

/// Returns the bytes of the id's field with another id.
fn id_bytes(number: Number, old: &[u8], id: i64, buffer: &mut [u8; MAX_DIGITS]) -> usize {
    let size = number.size.min(buffer.len());
    for (to, from) in buffer.iter_mut().zip(old) {
        *to = *from;
    }
    Number { at: 0, ..number }.write(buffer, id);
    size
}

fn with_id(
    message: &Message<'_>,
    number: Number,
    id: i64,
    checksum: Option<Number>,
    out: &mut Output,
) {
    let wire = message.wire();
    let (before, rest) = wire.split_at_checked(number.at).unwrap_or((wire, &[]));
    let (old, behind) = rest.split_at_checked(number.size).unwrap_or((rest, &[]));
    let mut buffer = [0; MAX_DIGITS];
    let size = id_bytes(number, old, id, &mut buffer);
    let new = buffer.get(..size).unwrap_or_default();
    out.put(before);
    out.put(new);
    let sum = checksum.map_or(0, |checksum| checksum.size);
    let behind_id = noted_length(&message.layout).saturating_sub((number.end() + sum) as u64);
    let checksum = checksum.filter(|_| message.head.end);
    put_behind(
        behind,
        checksum,
        || checksum::change(old, new, behind_id),
        out,
    );
}

/// Writes a piece of the payload. The last piece contains the checksum, which also covers the id in
/// the head.
fn data(
    message: &Message<'_>,
    id: Option<(Number, i64)>,
    checksum: Option<Number>,
    out: &mut Output,
) {
    let changed = id.zip(message.head.id);
    let change = || {
        let Some(((number, new), old)) = changed else {
            return 0;
        };
        // The other bits of the field are unknown here. Equal bits do not affect the difference.
        let bytes = |id: i64| {
            let mut bytes = [0; MAX_DIGITS];
            Number { at: 0, ..number }.write(&mut bytes, id);
            bytes
        };
        let (old, new) = (bytes(old), bytes(new));
        let field =
            |bytes: &'_ [u8; MAX_DIGITS]| bytes.get(..number.size).unwrap_or_default().to_vec();
        checksum::change(&field(&old), &field(&new), noted_length(&message.layout))
    };
    put_behind(message.wire(), checksum, change, out);
}

/// Returns the checksum at the end of this message.
fn checksum_of(variant: &Variant, message: &Message<'_>) -> Option<Number> {
    match variant.trailer.as_ref()?.what {
        Ending::Crc32(number) if noted(&message.layout, note::CHECKSUM) == number.size => {
            Some(number)
        }
        Ending::Crc32(_) | Ending::Bytes(_) => None,
    }
}

/// Writes the end of a message. Its checksum, if it has one, changes by this difference.
pub(super) fn put_behind(
    bytes: &[u8],
    checksum: Option<Number>,
    change: impl FnOnce() -> u32,
    out: &mut Output,
) {
    let cut =
        checksum.and_then(|checksum| Some((checksum, bytes.len().checked_sub(checksum.size)?)));
    let Some((checksum, (body, sum))) =
        cut.and_then(|(checksum, cut)| Some((checksum, bytes.split_at_checked(cut)?)))
    else {
        out.put(bytes);
        return;
    };
    let mut new = [0; 4];
    let old = checksum.read(sum).unwrap_or_default();
    checksum.write(&mut new, old ^ i64::from(change()));
    out.put(body);
    out.put(&new);
}

/// Writes a delimited message with another id: its word is replaced, whatever its length.
fn line(
    plan: &Plan,
    message: &Message<'_>,
    id: Option<i64>,
    out: &mut Output,
) -> Result<(), EncodeError> {
    if let Some(edit) = message.edits().first() {
        return Err(
            Refusal { plan }.edit(edit.name(), "words of a delimited message cannot be edited")
        );
    }
    let wire = message.wire();
    let (start, end) = (
        noted(&message.layout, note::START),
        noted(&message.layout, note::END),
    );
    out.put(wire.get(..start).unwrap_or_default());
    if let Some(id) = id {
        out.put(id.to_string().as_bytes());
    }
    out.put(wire.get(end..).unwrap_or_default());
    Ok(())
}
