//! Attributes of a message: spans on the wire, or static words for numbers.

use meltemi_frame::{Attributes, Interest, Kind, Limits, MAX_KEYS, Message, Span, Violation};

use crate::entries::Format;
use crate::intern::decimal;
use crate::plan::{Field, Key, Source, Test, Variant, View};

/// Returns the attributes of these messages at this depth of inspection.
pub(super) fn wanted(variant: &Variant, kind: Kind, want: Interest) -> impl Iterator<Item = &Key> {
    let response = matches!(kind, Kind::Response | Kind::Push | Kind::Pong);
    variant.keys.iter().filter(move |key| {
        key.interest <= want
            && if response {
                key.responses
            } else {
                key.requests
            }
    })
}

/// Sets the attributes that are fields and sections.
pub(super) fn fill(
    message: &mut Message<'_>,
    variant: &Variant,
    view: View<'_>,
    want: Interest,
    section: &dyn Fn(usize) -> Option<Span>,
) {
    for key in wanted(variant, message.head.kind, want) {
        match &key.source {
            Source::Field { field, words } => {
                set_field(&mut message.attributes, key, *field, words, view);
            }
            Source::Section(at) => {
                if let Some(span) = section(*at) {
                    message.attributes.set_span(key.id, span);
                }
            }
            Source::Entry(_) => {}
        }
    }
}

fn set_field(
    to: &mut Attributes,
    key: &Key,
    field: Field,
    words: &[(Test, &'static str)],
    view: View<'_>,
) {
    if let Some((_, word)) = words.iter().find(|(test, _)| test.passes(view)) {
        to.set_static(key.id, word);
    } else if !field.is_numeric() {
        if let Some(span) = field.span(view) {
            to.set_span(key.id, span);
        }
    } else if let Some(number) = field.number(view) {
        match decimal(number) {
            Some(text) => to.set_static(key.id, text),
            None => to.set_kept(key.id, number.to_string().into_bytes()),
        }
    }
}

/// Sets the attributes that are entries of the open metadata, in one walk over it.
///
/// The walk ends at an invalid entry. The message is then routed by the entries before it, unless
/// all of it must be checked. The attributes after that entry are undetermined. An attribute with
/// two values is undetermined too: servers use the first or the last.
pub(super) fn entries(
    message: &mut Message<'_>,
    variant: &Variant,
    format: Format,
    region: Span,
    want: Interest,
    limits: &Limits,
) -> Result<(), Violation> {
    let kind = message.head.kind;
    let named = |key: &Key| matches!(key.source, Source::Entry(_));
    if want == Interest::Route && !wanted(variant, kind, want).any(named) {
        return Ok(());
    }
    // For each key, the index of the best of its names found up to now, plus one.
    let mut best = [0usize; MAX_KEYS];
    let wire = message.wire();
    let (mut at, end) = (region.start as usize, region.end as usize);
    let mut count = 0;
    while at < end {
        let Some(found) = format.entry(wire, at, end) else {
            if want == Interest::Body {
                return Err(Violation::Invalid("its metadata cannot be read to the end"));
            }
            for key in wanted(variant, kind, want).filter(|key| named(key)) {
                message.attributes.set_undetermined(key.id);
            }
            message.attributes.set_open_undetermined();
            return Ok(());
        };
        count += 1;
        if count > limits.entries {
            return Err(Violation::Entries {
                limit: limits.entries,
            });
        }
        let name = found.name.of(wire).unwrap_or_default();
        for key in wanted(variant, kind, want) {
            let Source::Entry(names) = &key.source else {
                continue;
            };
            let rank = names
                .iter()
                .position(|other| **other == *name)
                .map(|rank| rank + 1);
            let (Some(rank), Some(best)) = (rank, best.get_mut(usize::from(key.id.0))) else {
                continue;
            };
            if *best != 0 && message.attributes.slot(key.id, wire) != found.value.of(wire) {
                message.attributes.set_undetermined(key.id);
            }
            if *best == 0 || rank < *best {
                *best = rank;
                message.attributes.set_span(key.id, found.value);
            }
        }
        at = found.end;
    }
    Ok(())
}
