//! Edited entries: rewrites their block, and every length, count and checksum that depends on it.

use meltemi_frame::{Edit, EncodeError, Kind, Message, Output};

use super::encode::{Refusal, put_behind};
use super::{note, noted, noted_length};
use crate::checksum;
use crate::entries::TooLong;
use crate::number::Number;
use crate::plan::{Entries, Extent, Length, Open, Plan, Section, Variant, View};

/// Buffers that are reused for every message.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    front: Vec<u8>,
    block: Vec<u8>,
    next: Vec<u8>,
}

/// A message whose entries are edited.
pub(super) struct Edited<'a> {
    pub plan: &'a Plan,
    pub variant: &'a Variant,
    pub message: &'a Message<'a>,
    pub checksum: Option<Number>,
}

impl Edited<'_> {
    pub(super) fn encode(
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
            return Err(refusal.edit(first, "its checksum is in a later piece"));
        }
        let (start, end) = (
            noted(&message.layout, note::START),
            noted(&message.layout, note::END),
        );
        let (Some(before), Some(behind)) = (wire.get(..start), wire.get(end..)) else {
            return Err(refusal.edit(first, "the message has another protocol"));
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
                Err(TooLong) => return Err(refusal.large("an entry")),
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

    /// Returns the section with the entries, if this message has them and all of them may be
    /// edited.
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
            _ => Err(refusal.edit(first, "such messages have no entries")),
        }
    }

    /// Rewrites the lengths and counts. All of them come before the entries.
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
        let view = View::of(self.message.wire());
        self.variant.trailer_length(view) as u64
    }
}

struct Size {
    old: usize,
    new: usize,
}
