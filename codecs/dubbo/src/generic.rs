//! The method of a generic call, found as `GenericFilter` does: the first argument, trimmed.
//!
//! Dubbo 2.7 stores a method under its name and its parameter types in one string,
//! `secretjava.lang.String`. A client may split that string at another position. If that is
//! possible the method is undetermined.

use meltemi_frame::{Attributes, Span};

use crate::attachments;
use crate::cursor::{Text, Value};
use crate::format::{FirstOfList, Format};
use crate::protocol::key;
use crate::request::Arguments;

/// Types without a package.
const PRIMITIVES: [&[u8]; 9] = [
    b"int", b"long", b"boolean", b"byte", b"char", b"short", b"float", b"double", b"void",
];

/// Sets the method of the message.
pub(crate) fn publish(
    arguments: &Arguments,
    format: Format,
    wire: &[u8],
    attributes: &mut Attributes,
) {
    let key = key::GENERIC_METHOD;
    let Some(value @ Value::Text(text)) = &arguments.first else {
        return attributes.set_undetermined(key);
    };
    let Some(name) = format.text(wire, value) else {
        return attributes.set_undetermined(key);
    };
    let name = trimmed(&name);
    if let Text::Plain(range) = text {
        let whole = wire.get(range.clone()).unwrap_or_default();
        let before = whole.iter().position(|byte| *byte > b' ');
        let start = range.start + before.unwrap_or(whole.len());
        attributes.set_span(key, Span::new(start, start + name.len()));
    } else {
        attributes.set_kept(key, name.to_vec());
    }
    let root = attributes
        .slot(key::INTERFACE, wire)
        .map(|interface| root(interface).to_vec());
    let certain = name.iter().all(|byte| is_part_of_name(*byte))
        && attachments::exact(format, wire, value)
        && match &arguments.types {
            None => false,
            Some(FirstOfList::Empty | FirstOfList::Other) => true,
            Some(FirstOfList::Null) => {
                format == Format::Fastjson2 || !PRIMITIVES.iter().any(|end| name.ends_with(end))
            }
            Some(FirstOfList::Text(range)) => {
                let class = wire.get(range.clone()).unwrap_or_default();
                is_plain_type(class, root.as_deref())
            }
        };
    if !certain {
        attributes.set_undetermined(key);
    }
}

/// Returns `true` for a type that cannot start with a part of a method name: a type in Java's
/// packages or in the interface's own, a primitive, or an array.
fn is_plain_type(class: &[u8], interface: Option<&[u8]>) -> bool {
    let first = root(class);
    let packaged = first.len() < class.len();
    PRIMITIVES.contains(&class)
        || class.starts_with(b"[")
        || (packaged && (matches!(first, b"java" | b"javax") || Some(first) == interface))
}

/// Returns the first part of a class name, up to the first dot.
fn root(class: &[u8]) -> &[u8] {
    class.split(|byte| *byte == b'.').next().unwrap_or_default()
}

const fn is_part_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | 0x80..)
}

/// Trims the text as Java does: without spaces and control characters at its ends.
fn trimmed(text: &[u8]) -> &[u8] {
    let start = text
        .iter()
        .position(|byte| *byte > b' ')
        .unwrap_or(text.len());
    let end = text
        .iter()
        .rposition(|byte| *byte > b' ')
        .map_or(start, |last| last + 1);
    text.get(start..end).unwrap_or_default()
}
