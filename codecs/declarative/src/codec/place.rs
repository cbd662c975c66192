//! The positions of the sections after a header.

use meltemi_frame::{Limits, Span, Violation};

use crate::plan::{Entries, Extent, MAX_SECTIONS, Variant, View, all_pass};

/// The positions of the sections. `None`: the section does not exist, or was not searched.
pub(super) type Sections = [Option<Span>; MAX_SECTIONS];

/// The reason why sections could not be located.
pub(super) enum Cut {
    /// At least this many bytes are needed.
    Need(usize),
    Bad(Violation),
}

/// The bytes after a header.
pub(super) struct Body<'p, 'b> {
    pub variant: &'p Variant,
    pub view: View<'b>,
    /// The start of the trailer, if there is one. Otherwise the end of the message.
    pub end: usize,
}

impl Body<'_, '_> {
    /// Locates the first `count` sections. Returns the end of the last one.
    pub(super) fn place(
        &self,
        wire: &[u8],
        count: usize,
        limits: &Limits,
        places: &mut Sections,
    ) -> Result<usize, Cut> {
        let body_end = self.end;
        let mut at = self.variant.header;
        for (section, place) in self.variant.sections.iter().take(count).zip(places) {
            if !all_pass(&section.when, self.view) {
                continue;
            }
            let bad = |value: i64| {
                Cut::Bad(Violation::Length {
                    field: section.name,
                    value,
                })
            };
            let (start, length) = match section.extent {
                Extent::Field(number) => (at, number.read(wire).unwrap_or(-1)),
                Extent::Prefix(mut number) => {
                    number.at = at;
                    if number.end() > body_end {
                        return Err(bad(-1));
                    }
                    let Some(length) = number.read(wire) else {
                        return Err(Cut::Need(number.end()));
                    };
                    (number.end(), length)
                }
                Extent::Counted => {
                    let end = self.counted(section.entries, wire, at, limits)?;
                    (at, i64::try_from(end.saturating_sub(at)).unwrap_or(-1))
                }
                Extent::Rest => (at, i64::try_from(body_end.saturating_sub(at)).unwrap_or(-1)),
            };
            let end = usize::try_from(length)
                .ok()
                .and_then(|length| start.checked_add(length));
            let Some(end) = end.filter(|end| *end <= body_end) else {
                return Err(bad(length));
            };
            *place = Some(Span::new(start, end));
            at = end;
        }
        if wire.len() < at {
            Err(Cut::Need(at))
        } else {
            Ok(at)
        }
    }

    /// Returns the end of a section that is given by its number of entries.
    fn counted(
        &self,
        entries: Option<Entries>,
        wire: &[u8],
        at: usize,
        limits: &Limits,
    ) -> Result<usize, Cut> {
        let broken = || Cut::Bad(Violation::Invalid("a counted section is cut off"));
        let entries = entries.ok_or_else(broken)?;
        let mut count = entries.count.ok_or_else(broken)?;
        count.at = at;
        let body_end = self.end.min(wire.len());
        let number = count
            .read(wire.get(..body_end).unwrap_or_default())
            .ok_or_else(broken)?;
        if usize::try_from(number).unwrap_or(usize::MAX) > limits.entries {
            return Err(Cut::Bad(Violation::Entries {
                limit: limits.entries,
            }));
        }
        let mut at = count.end();
        for _ in 0..number {
            at = entries
                .format
                .entry(wire, at, body_end)
                .ok_or_else(broken)?
                .end;
        }
        Ok(at)
    }
}
