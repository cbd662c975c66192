//! Encoding: as it came, with another id, or with edited entries. Only what changed is written anew.

use meltemi_frame::{Edit, EncodeError, Kind, Message, Output};

use super::{Described, note, noted, noted_length};
use crate::checksum;
use crate::number::{MAX_DIGITS, Number};
use crate::plan::{Ending, Entries, Extent, Field, Length, Open, Plan, Section, Variant};

/// Buffers for edits, kept between messages.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    front: Vec<u8>,
    block: Vec<u8>,
    next: Vec<u8>,
}

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
            return Err(refusal.edit("id", "the message is not of this protocol"));
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
            return Ok(data(message, id, checksum, out));
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

/// Where the new id goes, if it is another than came.
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
struct Refusal<'p> {
    plan: &'p Plan,
}

impl Refusal<'_> {
    fn edit(self, name: &str, why: &'static str) -> EncodeError {
        EncodeError::Edit {
            protocol: self.plan.name,
            name: name.to_owned(),
            why,
        }
    }

    fn large(self, what: &'static str) -> EncodeError {
        EncodeError::TooLarge {
            protocol: self.plan.name,
            what,
        }
    }
}

/// The bytes of the id's field with another id in it.
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

/// A piece of the payload. The last one has the checksum in it, which the id in the head is a part of.
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
        // Of the field's other bits nothing is known here; equal bits do not matter to the change.
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

/// The checksum at the end of this message.
fn checksum_of(variant: &Variant, message: &Message<'_>) -> Option<Number> {
    match variant.trailer.as_ref()?.what {
        Ending::Crc32(number) if noted(&message.layout, note::CHECKSUM) == number.size => {
            Some(number)
        }
        Ending::Crc32(_) | Ending::Bytes(_) => None,
    }
}

/// The end of a message, whose checksum (if it has one) changes by so much.
fn put_behind(
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

/// A delimited message with another id: its word is replaced, whatever its length.
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

/// A message whose entries are edited.
struct Edited<'a> {
    plan: &'a Plan,
    variant: &'a Variant,
    message: &'a Message<'a>,
    checksum: Option<Number>,
}

impl Edited<'_> {
    fn encode(
        &self,
        id: Option<(Number, i64)>,
        scratch: &mut Scratch,
        out: &mut Output,
    ) -> Result<(), EncodeError> {
        let refusal = Refusal { plan: self.plan };
        let message = self.message;
        let wire = message.wire();
        let first = message.edits().first().map_or("", Edit::name);
        let (section, entries) = self.editable()?;
        if self.checksum.is_some() && !message.head.end {
            return Err(refusal.edit(first, "its checksum comes after it, in another piece"));
        }
        let (start, end) = (
            noted(&message.layout, note::START),
            noted(&message.layout, note::END),
        );
        let (Some(before), Some(behind)) = (wire.get(..start), wire.get(end..)) else {
            return Err(refusal.edit(first, "the message is not of this protocol"));
        };
        scratch.block.clear();
        scratch
            .block
            .extend_from_slice(wire.get(start..end).unwrap_or_default());
        for edit in message.edits() {
            let name = self.plan.spec.open_name(edit.name()).unwrap_or_default();
            match entries
                .format
                .edit(&scratch.block, name, edit, &mut scratch.next)
            {
                Ok(true) => std::mem::swap(&mut scratch.block, &mut scratch.next),
                Ok(false) => {
                    return Err(
                        refusal.edit(edit.name(), "the message's own entries cannot be read")
                    );
                }
                Err(crate::entries::TooLong) => return Err(refusal.large("an entry")),
            }
        }
        scratch.front.clear();
        scratch.front.extend_from_slice(before);
        let size = Size {
            old: end.saturating_sub(start),
            new: scratch.block.len(),
        };
        self.fix_lengths(&mut scratch.front, section, entries, size, &scratch.block)?;
        if let Some((number, id)) = id {
            number.write(&mut scratch.front, id);
        }
        scratch.front.extend_from_slice(&scratch.block);
        out.put(&scratch.front);
        let sum = self.checksum.map_or(0, |checksum| checksum.size);
        let unchanged = behind.len().saturating_sub(sum) as u64;
        let old = wire.get(..end).unwrap_or_default();
        put_behind(
            behind,
            self.checksum,
            || checksum::change(old, &scratch.front, unchanged),
            out,
        );
        Ok(())
    }

    /// The section with the entries, if this message carries them and they may all be edited.
    fn editable(&self) -> Result<(&Section, Entries), EncodeError> {
        let refusal = Refusal { plan: self.plan };
        let first = self.message.edits().first().map_or("", Edit::name);
        let response = match self.message.head.kind {
            Kind::Request | Kind::OneWay => false,
            Kind::Response => true,
            _ => return Err(refusal.edit(first, "only requests and responses are edited")),
        };
        for edit in self.message.edits() {
            if !self.plan.spec.editable(edit.name(), response) {
                return Err(refusal.edit(
                    edit.name(),
                    "the description does not let it be edited here",
                ));
            }
        }
        let there = noted(&self.message.layout, note::EDITABLE) == 1;
        match &self.variant.open {
            Some(Open::Section {
                section, entries, ..
            }) if there => {
                let section = self.variant.sections.get(*section);
                section
                    .map(|section| (section, *entries))
                    .ok_or_else(|| refusal.edit(first, "there are no entries"))
            }
            _ => Err(refusal.edit(first, "such messages carry no entries")),
        }
    }

    /// Writes what tells lengths and counts anew, all of which lies before the entries.
    fn fix_lengths(
        &self,
        front: &mut [u8],
        section: &Section,
        entries: Entries,
        size: Size,
        block: &[u8],
    ) -> Result<(), EncodeError> {
        let refusal = Refusal { plan: self.plan };
        let mut put = |number: Number, value: u64, what: &'static str| {
            let value = i64::try_from(value).ok().filter(|_| value <= number.max());
            let value = value.ok_or_else(|| refusal.large(what))?;
            number.write(front, value);
            Ok::<(), EncodeError>(())
        };
        let start = noted(&self.message.layout, note::START);
        let counted = entries.count.map_or(0, |count| count.size);
        if let Some(count) = entries.count {
            let at = start.saturating_sub(counted);
            put(
                Number { at, ..count },
                entries.format.count(block) as u64,
                "the number of entries",
            )?;
        }
        let length = (size.new + counted) as u64;
        match section.extent {
            Extent::Field(number) => put(number, length, "the entries")?,
            Extent::Prefix(number) => {
                let at = start.saturating_sub(counted + number.size);
                put(Number { at, ..number }, length, "the entries")?;
            }
            Extent::Counted | Extent::Rest => {}
        }
        let total = noted_length(&self.message.layout)
            .saturating_sub(size.old as u64)
            .saturating_add(size.new as u64);
        if total > self.plan.max_length {
            return Err(refusal.large("the message"));
        }
        if let Length::Total {
            field,
            base,
            counts_trailer,
            ..
        } = &self.variant.length
        {
            let beside = if *counts_trailer {
                0
            } else {
                self.checksum_or_marker()
            };
            let told = total.saturating_sub(beside).saturating_sub_signed(*base);
            put(*field, told, "the message")?;
        }
        Ok(())
    }

    fn checksum_or_marker(&self) -> u64 {
        let view = crate::plan::View::of(self.message.wire());
        self.variant.trailer_length(view) as u64
    }
}

struct Size {
    old: usize,
    new: usize,
}
