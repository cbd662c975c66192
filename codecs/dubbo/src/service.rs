//! The service that a provider looks up. The attachments `path`, `version` and `group` override the
//! fields of the body. The provider builds one key from the three, `group/path:version`
//! (`DubboProtocol.getInvoker` and `serviceKey` of Dubbo 2.7 and 3.3).

use meltemi_frame::{Attributes, Span};

use crate::attachments::{self, Found};
use crate::cursor::{Text, Value};
use crate::format::Format;
use crate::protocol::key;
use crate::request::Fields;

/// The version that Dubbo treats as no version.
const NO_VERSION: &str = "0.0.0";

/// Sets the service that the provider looks up.
pub(crate) fn publish(
    fields: &Fields,
    found: &Found,
    format: Format,
    wire: &[u8],
    attributes: &mut Attributes,
) {
    let or = |value: &Option<Value>, field: &Text| match value {
        Some(value) => value.clone(),
        None => Value::Text(field.clone()),
    };
    let path = or(&found.path, &fields.path);
    let version = or(&found.version, &fields.version);
    let group = or(&found.group, &Text::Null);

    match &path {
        Value::Text(Text::Plain(range)) => {
            let span = Span::new(range.start, range.end);
            attributes.set_span(key::INTERFACE, span);
            attributes.set_span(key::PATH, span);
        }
        Value::Text(Text::Coded(_)) => {
            attachments::set(attributes, key::INTERFACE, format, wire, &path);
            attachments::set(attributes, key::PATH, format, wire, &path);
        }
        // A provider refuses most of these.
        _ => hide_path(attributes),
    }
    match (&version, format.text(wire, &version)) {
        (Value::Text(Text::Plain(range)), _) if !range.is_empty() => {
            attributes.set_span(key::VERSION, Span::new(range.start, range.end));
        }
        (Value::Text(Text::Null), _) => attributes.set_static(key::VERSION, NO_VERSION),
        (Value::Text(_), Some(text)) if text.is_empty() => {
            attributes.set_static(key::VERSION, NO_VERSION);
        }
        (Value::Text(_), Some(_)) => {
            attachments::set(attributes, key::VERSION, format, wire, &version);
        }
        _ => attributes.set_undetermined(key::VERSION),
    }
    let group_text = format.text(wire, &group);
    match (&group, &group_text) {
        (Value::Text(Text::Null), _) => {}
        (Value::Text(_), Some(_)) => {
            attachments::set(attributes, key::GROUP, format, wire, &group);
        }
        _ => attributes.set_undetermined(key::GROUP),
    }
    let path = format.text(wire, &path).unwrap_or_default();
    ambiguous(&path, &group_text.unwrap_or_default(), attributes);
    if found.stub {
        attributes.set_undetermined(key::VERSION);
    }
    if found.unsure {
        hide(attributes, false);
    }
}

/// Marks the attributes if one key of a provider is ambiguous: `a/b` is the path `b` in the group
/// `a`, or the path `a/b`. With a group only the path is undetermined: a provider may have a context
/// path with the name of the group.
fn ambiguous(path: &[u8], group: &[u8], attributes: &mut Attributes) {
    // Finds both in one pass without an early exit: paths are short.
    let (slash, colon) = path.iter().fold((false, false), |(slash, colon), byte| {
        (slash | (*byte == b'/'), colon | (*byte == b':'))
    });
    let mixed = |byte: &u8| matches!(byte, b'/' | b':');
    if colon || group.iter().any(mixed) || (slash && !group.is_empty()) {
        hide_path(attributes);
        attributes.set_undetermined(key::GROUP);
        attributes.set_undetermined(key::VERSION);
    } else if slash {
        hide_path(attributes);
        attributes.set_undetermined(key::GROUP);
    } else if !group.is_empty() {
        attributes.set_undetermined(key::PATH);
    }
}

fn hide_path(attributes: &mut Attributes) {
    attributes.set_undetermined(key::INTERFACE);
    attributes.set_undetermined(key::PATH);
}

/// Marks all attributes that attachments can change. Values already set stay as the best guess.
pub(crate) fn hide(attributes: &mut Attributes, generic: bool) {
    hide_path(attributes);
    attributes.set_undetermined(key::VERSION);
    attributes.set_undetermined(key::GROUP);
    attributes.set_open_undetermined();
    if generic {
        attributes.set_undetermined(key::GENERIC_METHOD);
    }
}
