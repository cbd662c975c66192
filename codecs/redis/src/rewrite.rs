//! Requests that change on their way: another key, another cursor, or no credentials. It must not
//! depend on connections: it sees the notes of `layout`.

use std::borrow::Cow;

use meltemi_frame::{Edit, EncodeError, Kind, Message, Output};

use crate::args::Args;
use crate::cursor;
use crate::layout;
use crate::spec;
use crate::state::{Hello, write};

/// Writes a `HELLO` with its options in order, and without credentials that were not for the
/// upstream.
pub(crate) fn put_hello(message: &Message<'_>, out: &mut Output) {
    let Ok(Some(mut hello)) = Hello::read(&Args::read(message.wire())) else {
        // Decode has already parsed it.
        return out.put(message.wire());
    };
    if message.layout[layout::NOTE] == layout::HELLO_STRIPPED {
        hello.auth = None;
    }
    let mut bytes = Vec::new();
    hello.write(&mut bytes);
    out.put(&bytes);
}

/// Writes the request with another key, or with its cursor as the server wrote it.
pub(crate) fn put_edited(message: &Message<'_>, out: &mut Output) -> Result<(), EncodeError> {
    let mut key = None;
    for edit in message.edits() {
        match edit {
            Edit::Set(name, value) if &**name == "key" => key = Some(value),
            Edit::Add(name, _) | Edit::Remove(name) if &**name == "key" => {
                return Err(spec::refused(
                    edit,
                    "a key can be set, but not added or removed",
                ));
            }
            _ => return Err(spec::refused(edit, "only `key` can be changed")),
        }
        let why = match (message.head.kind, message.layout[layout::KEYS]) {
            (Kind::Request, layout::KEY_ONE) => continue,
            (Kind::Request, layout::KEY_NONE) => "the command has no key",
            (Kind::Request, _) => "the command has several keys",
            _ => "it is not a request",
        };
        return Err(spec::refused(edit, why));
    }
    let args = Args::read(message.wire());
    let cursor = cursor::unmarked(message, &args);
    match (key, cursor) {
        (None, None) => out.put(message.wire()),
        (Some(key), None) if message.wire().first() == Some(&b'*') => put_key(message, key, out),
        (key, cursor) => {
            // An inline command cannot represent every key without quotes: the request is sent as
            // an array.
            let key_at = message.layout[layout::KEY_AT] as usize;
            let words: Vec<Cow<'_, [u8]>> = args
                .walk()
                .enumerate()
                .filter_map(|(at, argument)| match (key, &cursor) {
                    (Some(key), _) if at == key_at => Some(Cow::Borrowed(&**key)),
                    (_, Some((place, cursor))) if at == *place => Some(Cow::Borrowed(&**cursor)),
                    _ => argument.bytes(message.wire()),
                })
                .collect();
            let words: Vec<&[u8]> = words.iter().map(|word| &**word).collect();
            let mut bytes = Vec::new();
            write(&mut bytes, &words);
            out.put(&bytes);
        }
    }
    Ok(())
}

/// Writes an array with another key.
fn put_key(message: &Message<'_>, key: &[u8], out: &mut Output) {
    let wire = message.wire();
    let (start, end) = (
        message.layout[layout::KEY_START] as usize,
        message.layout[layout::KEY_END] as usize,
    );
    // `$length\r\n`: the length was parsed strictly, so its number of digits is known.
    let header = end.saturating_sub(start).to_string().len() + 3;
    out.put(wire.get(..start.saturating_sub(header)).unwrap_or_default());
    put_bulk(key, out);
    out.put(wire.get(end + 2..).unwrap_or_default());
}

fn put_bulk(bytes: &[u8], out: &mut Output) {
    out.put(format!("${}\r\n", bytes.len()).as_bytes());
    out.put(bytes);
    out.put(b"\r\n");
}
