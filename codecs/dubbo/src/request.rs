//! The body of a request: Dubbo version, path, service version, method, parameter descriptor,
//! arguments, attachments (`DecodeableRpcInvocation` of Dubbo 3.3).

use std::ops::Range;

use meltemi_frame::{Limits, Message, Open, Span};

use crate::attachments;
use crate::cursor::{Bad, Text, Value};
use crate::format::{FirstOfList, Format, Reader};
use crate::generic;
use crate::protocol::key;
use crate::service;

/// The fields before the arguments.
#[derive(Debug)]
pub(crate) struct Fields {
    dubbo: Text,
    pub(crate) path: Text,
    pub(crate) version: Text,
    pub(crate) method: Text,
    types: Text,
    /// The range of the field with the method name.
    pub(crate) method_at: Range<usize>,
}

/// Reads the fields before the arguments.
pub(crate) fn fields(reader: &mut Reader<'_, '_>) -> Result<Fields, Bad> {
    let dubbo = reader.text("the Dubbo version is not a string")?;
    let path = reader.text("the path is not a string")?;
    let version = reader.text("the service version is not a string")?;
    let start = reader.at();
    let method = reader.text("the method is not a string")?;
    let method_at = start..reader.at();
    // Dubbox (and dubbo2.js for it) writes a count of parameters here, or -1.
    reader.integer()?;
    let types = reader.text("the parameter types are not a string")?;
    Ok(Fields {
        dubbo,
        path,
        version,
        method,
        types,
        method_at,
    })
}

/// Sets the attributes of the message that the fields contain.
pub(crate) fn publish(fields: &Fields, reader: &Reader<'_, '_>, message: &mut Message<'_>) {
    let (format, wire) = (reader.format, message.wire());
    for (key, text) in [
        (key::INTERFACE, &fields.path),
        (key::METHOD, &fields.method),
        (key::VERSION, &fields.version),
        (key::PATH, &fields.path),
        (key::TYPES, &fields.types),
        (key::DUBBO, &fields.dubbo),
    ] {
        if let Text::Plain(range) = text {
            message
                .attributes
                .set_span(key, Span::new(range.start, range.end));
        } else {
            let value = Value::Text(text.clone());
            attachments::set(&mut message.attributes, key, format, wire, &value);
        }
    }
}

/// The arguments that a generic call needs.
#[derive(Debug, Default)]
pub(crate) struct Arguments {
    /// The first one, if it has no parts.
    pub(crate) first: Option<Value>,
    /// The first element of the second one, if it is a list.
    pub(crate) types: Option<FirstOfList>,
}

/// Skips the arguments.
pub(crate) fn skip_arguments(
    fields: &Fields,
    reader: &mut Reader<'_, '_>,
    wire: &[u8],
) -> Result<Arguments, Bad> {
    if fields.types == Text::Hidden {
        return Err(Bad::Unread);
    }
    let types = Value::Text(fields.types.clone());
    let types = reader.format.text(wire, &types).unwrap_or_default();
    let count = argument_count(&types).ok_or(Bad::Invalid("the parameter types are malformed"))?;
    let mut arguments = Arguments::default();
    for position in 0..count {
        if position == 0 {
            arguments.first = reader.field()?;
            if arguments.first.is_some() {
                continue;
            }
        } else if position == 1 {
            arguments.types = reader.first_of_list();
        }
        reader.skip()?;
    }
    Ok(arguments)
}

/// Walks the arguments, and sets the attributes that come after them. If a body is too deep, too
/// large or not decodable, the provider must refuse it: its attributes are undetermined.
pub(crate) fn publish_rest(
    fields: &Fields,
    reader: &mut Reader<'_, '_>,
    limits: &Limits,
    message: &mut Message<'_>,
) -> Result<(), Bad> {
    match walk_rest(fields, reader, limits, message) {
        Err(Bad::Depth | Bad::Entries | Bad::Unread) => {
            let format = reader.format;
            message.attributes.set_open(Open::None);
            let generic = is_generic(fields, format, message.wire());
            service::hide(&mut message.attributes, generic);
            Ok(())
        }
        result => result,
    }
}

fn walk_rest(
    fields: &Fields,
    reader: &mut Reader<'_, '_>,
    limits: &Limits,
    message: &mut Message<'_>,
) -> Result<(), Bad> {
    let (format, wire) = (reader.format, message.wire());
    let arguments = skip_arguments(fields, reader, wire)?;
    let found = attachments::publish(reader, wire, limits, &mut message.attributes)?;
    // Every Dubbo server refuses a body that ends here (2.7 and 3.3 reply with status 40).
    let found = found.ok_or(Bad::Invalid("the body ends before the attachments"))?;
    message.head.timeout = found.timeout;
    service::publish(fields, &found, format, wire, &mut message.attributes);
    if is_generic(fields, format, wire) {
        generic::publish(&arguments, format, wire, &mut message.attributes);
    }
    Ok(())
}

/// Returns `true` if the call is generic: its first argument is the real method.
pub(crate) fn is_generic(fields: &Fields, format: Format, wire: &[u8]) -> bool {
    let method = format.text(wire, &Value::Text(fields.method.clone()));
    matches!(method.as_deref(), Some(b"$invoke" | b"$invokeAsync"))
}

/// Returns the number of parameters of a descriptor (`Ljava/lang/String;[I` has two), if it is
/// valid (JVM specification § 4.3.2).
fn argument_count(types: &[u8]) -> Option<usize> {
    let mut rest = types;
    let mut count = 0;
    while let Some((&first, behind)) = rest.split_first() {
        rest = behind;
        match first {
            b'[' if !behind.is_empty() => continue,
            b'L' => {
                let end = rest.iter().position(|byte| *byte == b';')?;
                rest = rest.get(end + 1..)?;
            }
            b'B' | b'C' | b'D' | b'F' | b'I' | b'J' | b'S' | b'Z' | b'V' => {}
            _ => return None,
        }
        count += 1;
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use super::argument_count;

    #[test]
    fn descriptors_are_counted() {
        for (types, count) in [
            ("", Some(0)),
            ("I", Some(1)),
            ("II", Some(2)),
            ("Ljava/lang/String;[I", Some(2)),
            ("[[Ljava/lang/Object;J[Z", Some(3)),
            ("[", None),
            ("Ljava/lang/String", None),
            ("x", None),
        ] {
            assert_eq!(argument_count(types.as_bytes()), count, "{types}");
        }
    }
}
