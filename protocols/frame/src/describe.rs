//! Messages as lines of JSON, as `meltemi decode --format json` prints them and sample files expect
//! them.
//!
//! This module reads messages only through [`Spec`], so it works for every protocol.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::ControlFlow;

use serde_json::{Map, Value, json};

use crate::{
    Codec, DecodeError, Decoded, Interest, KeyId, Kind, Limits, Lookup, MAX_KEYS, Message,
    Protocol, Session, Side, Spec, Status,
};

/// Returns the lines for `bytes`, which `side` has received on one fresh connection.
///
/// ```
/// # use meltemi_frame::{Interest, Limits, Protocol, Side, describe};
/// # fn show(protocol: &dyn Protocol, bytes: &[u8]) {
/// let limits = Limits::default().holding_all();
/// for line in describe::lines(protocol, Side::Server, bytes, &limits, Interest::Headers) {
///     println!("{line}");
/// }
/// # }
/// ```
pub fn lines<'a>(
    protocol: &'a dyn Protocol,
    side: Side,
    bytes: &'a [u8],
    limits: &Limits,
    want: Interest,
) -> Lines<'a> {
    Lines {
        spec: protocol.spec(),
        codec: protocol.codec(side, limits, &Session::default()),
        want,
        bytes,
        offset: 0,
        over: false,
    }
}

/// An iterator over the bytes that were received on one connection. Each item is one line:
///
/// - a message, as [`message`] describes it;
/// - `{"incomplete":{"offset","have","need"}}` if the remaining bytes need more bytes after them;
/// - `{"error":{"scope":"message"|"connection","what","offset"}}` on bad input. The iterator goes
///   on after the error of a message, and ends after the error of a connection.
pub struct Lines<'a> {
    spec: &'a Spec,
    codec: Box<dyn Codec>,
    want: Interest,
    bytes: &'a [u8],
    offset: usize,
    over: bool,
}

impl std::fmt::Debug for Lines<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lines")
            .field("protocol", &self.spec.name)
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}

impl Iterator for Lines<'_> {
    type Item = Value;

    fn next(&mut self) -> Option<Value> {
        loop {
            let input = self.bytes.get(self.offset..).unwrap_or_default();
            if self.over || input.is_empty() {
                return None;
            }
            let offset = self.offset;
            let (line, taken) = match self.codec.decode(input, self.want) {
                Ok(Decoded::Message(found, taken)) => {
                    (Some(message(self.spec, &found, offset, taken)), taken)
                }
                Ok(Decoded::Skip(taken)) => (None, taken),
                Ok(Decoded::Incomplete(need)) => {
                    self.over = true;
                    return Some(incomplete(offset, input.len(), need));
                }
                Err(error) => {
                    let taken = match &error {
                        DecodeError::Message { length, .. } => *length,
                        DecodeError::Connection { .. } => usize::MAX,
                    };
                    (Some(failure(&error, offset)), taken)
                }
            };
            if taken == 0 {
                // A codec that consumes nothing would be called forever.
                self.over = true;
                return Some(json!({ "error": {
                    "scope": "connection", "what": "the codec makes no progress", "offset": offset,
                }}));
            }
            self.offset = offset.saturating_add(taken);
            if line.is_some() {
                return line;
            }
        }
    }
}

/// Describes one message: `{"kind","id","end","status","safety","attributes","offset","length"}`.
/// Adds `"fault"` for a failed response, `"timeout_ms"` if the message carries a timeout, and
/// `"undetermined"` with the names of attributes that the codec could not determine, if there are
/// any. `status` is null except for responses. `attributes` are text (invalid UTF-8 is replaced),
/// or an array if a name has, or may have, several values. `offset` is the start of the message and
/// `length` its length, both in bytes.
pub fn message(spec: &Spec, message: &Message<'_>, offset: usize, length: usize) -> Value {
    let head = &message.head;
    let response = head.kind == Kind::Response;
    let mut line = json!({
        "kind": head.kind.name(),
        "id": head.id,
        "end": head.end,
        "status": response.then(|| head.status.name()),
        "safety": head.safety.name(),
        "attributes": texts(spec, message),
        "offset": offset,
        "length": length,
    });
    if let Some(fields) = line.as_object_mut() {
        if let Status::Failed(fault) = head.status
            && response
        {
            fields.insert("fault".into(), fault.name().into());
        }
        if let Some(timeout) = head.timeout {
            let millis = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
            fields.insert("timeout_ms".into(), millis.into());
        }
        if message.attributes.has_undetermined() {
            fields.insert("undetermined".into(), undetermined(spec, message).into());
        }
    }
    line
}

/// Returns the configuration names of the attributes that the codec could not determine; open ones
/// as `<prefix><name>`.
fn undetermined(spec: &Spec, message: &Message<'_>) -> Vec<String> {
    let attributes = &message.attributes;
    let declared = spec.keys.iter().map(|key| key.name.to_string());
    let declared = declared.filter(|name| {
        let found = spec.lookup(name);
        found.is_some_and(|(lookup, _)| attributes.is_undetermined(&lookup))
    });
    let any = Lookup::Open("".into());
    let open = spec
        .open
        .iter()
        .filter(|_| attributes.is_undetermined(&any));
    let open = open.map(|open| format!("{}<name>", open.prefix));
    declared.chain(open).collect()
}

/// Returns all attributes of a message by their configuration names, with their values in wire
/// order. A declared key hides open entries of the same name, as it does in rules.
pub fn attributes<'m>(
    spec: &Spec,
    message: &'m Message<'_>,
) -> BTreeMap<String, Vec<Cow<'m, [u8]>>> {
    let mut found: BTreeMap<String, Vec<Cow<'m, [u8]>>> = BTreeMap::new();
    for (at, key) in spec.keys.iter().enumerate() {
        let Some(slot) = slot_of(at, key.many) else {
            continue;
        };
        if let Some(value) = message.attributes.slot(slot, message.wire()) {
            found.insert(key.name.to_string(), vec![Cow::Borrowed(value)]);
        }
    }
    message.attributes.walk(message.wire(), &mut |entry| {
        let name = String::from_utf8_lossy(&entry.name);
        if let Some(name) = open_name(spec, &name) {
            found.entry(name).or_default().push(entry.value);
        }
        ControlFlow::Continue(())
    });
    found
}

/// Returns the same line for a person: `request 7 method=echo length=42 offset=0`.
pub fn text_line(line: &Value) -> String {
    let mut text = String::new();
    if let Some(error) = line.get("error") {
        text.push_str("error");
        pairs(&mut text, error);
    } else if let Some(incomplete) = line.get("incomplete") {
        text.push_str("incomplete");
        pairs(&mut text, incomplete);
    } else {
        text.push_str(line.get("kind").and_then(Value::as_str).unwrap_or("?"));
        for field in ["id", "status", "fault"] {
            if let Some(value) = line.get(field).filter(|value| !value.is_null()) {
                text.push(' ');
                plain(&mut text, value);
            }
        }
        if line.get("end") == Some(&Value::Bool(false)) {
            text.push_str(" unfinished");
        }
        if let Some(safety) = line.get("safety").filter(|safety| *safety != "unknown") {
            text.push(' ');
            plain(&mut text, safety);
        }
        if let Some(attributes) = line.get("attributes") {
            pairs(&mut text, attributes);
        }
        for field in ["undetermined", "timeout_ms", "length", "offset"] {
            if let Some(value) = line.get(field) {
                pair(&mut text, field, value);
            }
        }
    }
    text
}

fn slot_of(at: usize, many: bool) -> Option<KeyId> {
    u8::try_from(at)
        .ok()
        .filter(|_| !many && at < MAX_KEYS)
        .map(KeyId)
}

/// Returns the configuration name of an open entry. `None` if no rule can reach it.
fn open_name(spec: &Spec, name: &str) -> Option<String> {
    let declared = |full: &str| spec.keys.iter().position(|key| key.name == full);
    if let Some(at) = declared(name)
        && slot_of(at, spec.keys.get(at)?.many).is_none()
    {
        return Some(name.to_owned());
    }
    for open in &spec.open {
        let full = format!("{}{name}", open.prefix);
        match spec.lookup(&full)?.0 {
            // Rules read this name from the slot, never from an open entry.
            Lookup::Slot(_) => return None,
            Lookup::Open(found) if *found == *name => return Some(full),
            // A longer prefix gives this name another meaning.
            Lookup::Open(_) => {}
        }
    }
    None
}

fn texts(spec: &Spec, message: &Message<'_>) -> Value {
    let text = |value: Cow<'_, [u8]>| Value::String(String::from_utf8_lossy(&value).into_owned());
    let mut fields = Map::new();
    for (name, mut values) in attributes(spec, message) {
        let many = spec.key(&name).is_some_and(|key| key.many);
        let value = match values.pop() {
            Some(only) if values.is_empty() && !many => text(only),
            last => values.into_iter().chain(last).map(text).collect(),
        };
        fields.insert(name, value);
    }
    Value::Object(fields)
}

fn incomplete(offset: usize, have: usize, need: usize) -> Value {
    let need = need.max(have.saturating_add(1));
    json!({ "incomplete": { "offset": offset, "have": have, "need": need } })
}

fn failure(error: &DecodeError, offset: usize) -> Value {
    let scope = match error {
        DecodeError::Message { .. } => "message",
        DecodeError::Connection { .. } => "connection",
    };
    let what = error.violation().to_string();
    json!({ "error": { "scope": scope, "what": what, "offset": offset } })
}

fn pairs(text: &mut String, fields: &Value) {
    for (name, value) in fields.as_object().into_iter().flatten() {
        pair(text, name, value);
    }
}

fn pair(text: &mut String, name: &str, value: &Value) {
    text.push(' ');
    text.push_str(name);
    text.push('=');
    plain(text, value);
}

/// Appends a single unambiguous word as it is, and any other value as JSON.
fn plain(text: &mut String, value: &Value) {
    let word = |c: char| !c.is_whitespace() && !c.is_control() && !"\"'[]{}=".contains(c);
    match value.as_str() {
        Some(simple) if !simple.is_empty() && simple.chars().all(word) => text.push_str(simple),
        // Writing to a String cannot fail.
        _ => {
            let _ = write!(text, "{value}");
        }
    }
}

#[cfg(test)]
mod tests;
