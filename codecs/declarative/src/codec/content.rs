//! Attributes that a server takes from the content: the entry in the header must have the same
//! value.

use meltemi_frame::{Interest, KeyId, Lookup, Message, Span};

use super::attributes::wanted;
use crate::hessian;
use crate::plan::{Content, Variant, View, all_pass};

/// The value of an attribute in the content.
enum Said {
    /// The server does not read the content.
    Nothing,
    /// The server reads the content, but the value is unknown here.
    Unknown,
    Text(Span),
}

/// Compares attributes with the content, if the whole message is inspected. An attribute that is
/// not in the header is taken from the content. An attribute that differs, or cannot be compared,
/// is undetermined.
pub(super) fn compare(
    message: &mut Message<'_>,
    variant: &Variant,
    view: View<'_>,
    section: &dyn Fn(usize) -> Option<Span>,
) {
    let wire = message.wire();
    for key in wanted(variant, message.head.kind, Interest::Body) {
        let Some(content) = &key.content else {
            continue;
        };
        match said(content, wire, view, section) {
            Said::Nothing => {}
            Said::Unknown => message.attributes.set_undetermined(key.id),
            Said::Text(span) => put(message, key.id, span),
        }
    }
}

fn said(
    content: &Content,
    wire: &[u8],
    view: View<'_>,
    section: &dyn Fn(usize) -> Option<Span>,
) -> Said {
    let bytes = |at: usize| section(at)?.of(wire);
    if let Some(at) = content.class_section
        && bytes(at) != Some(&content.class)
    {
        return Said::Nothing;
    }
    let entry = &content.entry_when;
    if entry.as_ref().is_some_and(|tests| all_pass(tests, view)) {
        return Said::Nothing;
    }
    if !all_pass(&content.when, view) {
        return Said::Unknown;
    }
    let start = section(content.section).map_or(0, |span| span.start as usize);
    let object = bytes(content.section).unwrap_or_default();
    match hessian::text_field(object, &content.class, &content.field) {
        Some((from, to)) => Said::Text(Span::new(start + from, start + to)),
        None => Said::Unknown,
    }
}

fn put(message: &mut Message<'_>, key: KeyId, span: Span) {
    let wire = message.wire();
    let entry = message.attributes.slot(key, wire);
    match entry {
        Some(entry) if Some(entry) == span.of(wire) => {}
        Some(_) => message.attributes.set_undetermined(key),
        None if message.attributes.is_undetermined(&Lookup::Slot(key)) => {}
        None => message.attributes.set_span(key, span),
    }
}
