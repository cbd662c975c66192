//! Dubbo: `String greet(String)` of `demo.Greeter`, in Hessian2.
//!
//! A message is a header of 16 bytes (magic, flags, status, id, length) and a body. Strings of up
//! to 31 characters have a length of one byte in front, strings of up to 1023 characters one of two
//! bytes (Hessian 2.0, section 4.12).

use meltemi_frame::{Message, Spec};

use super::bytes::{Bytes, length};
use super::{Ask, hello};

const MAGIC: [u8; 2] = [0xda, 0xbb];
/// A request, two-way, in Hessian2; a response in Hessian2.
const REQUEST: u8 = 0x80 | 0x40 | 2;
const RESPONSE: u8 = 2;
const HEADER: usize = 16;
const OK: u8 = 20;
/// The Hessian2 integer 1: a value follows.
const VALUE: u8 = 0x91;

pub(super) fn request(id: i64, ask: &Ask) -> Vec<u8> {
    let mut body = Vec::new();
    let fields = [
        "2.0.2",
        "demo.Greeter",
        "0.0.0",
        ask.method,
        "Ljava/lang/String;",
    ];
    for text in fields.into_iter().chain([&*ask.name]) {
        put_string(text, &mut body);
    }
    // The attachments: an untyped map.
    body.push(b'H');
    if let Some((name, value)) = ask.header {
        put_string(name, &mut body);
        put_string(value, &mut body);
    }
    body.push(b'Z');
    message(REQUEST, 0, id, &body)
}

pub(super) fn reply(request: &Message<'_>, _: &Spec, version: &str) -> Option<Vec<u8>> {
    let mut body = vec![VALUE];
    let name = argument(request.wire()).unwrap_or_else(|| "whoever you are".to_owned());
    put_string(&hello(&name, version), &mut body);
    Some(message(RESPONSE, OK, request.head.id?, &body))
}

pub(super) fn text(reply: &[u8]) -> Option<&[u8]> {
    let mut bytes = Bytes(reply);
    let header = bytes.take(HEADER)?;
    let well = header.get(3) == Some(&OK) && bytes.byte() == Some(VALUE);
    if well { string(&mut bytes) } else { None }
}

/// Returns the argument if it is one string.
fn argument(request: &[u8]) -> Option<String> {
    let mut bytes = Bytes(request);
    bytes.take(HEADER)?;
    for _ in ["dubbo version", "path", "version", "method"] {
        string(&mut bytes)?;
    }
    let one = string(&mut bytes)? == b"Ljava/lang/String;";
    let name = string(&mut bytes).filter(|_| one)?;
    Some(String::from_utf8_lossy(name).into_owned())
}

fn message(flags: u8, status: u8, id: i64, body: &[u8]) -> Vec<u8> {
    let mut message = MAGIC.to_vec();
    message.extend([flags, status]);
    message.extend(id.to_be_bytes());
    message.extend(length(body).to_be_bytes());
    message.extend(body);
    message
}

fn put_string(text: &str, out: &mut Vec<u8>) {
    // Lengths count UTF-16 units, and characters outside the BMP have another encoding: they are
    // left out.
    let text: String = text
        .chars()
        .filter(|c| c.len_utf16() == 1)
        .take(1023)
        .collect();
    match text.chars().count() {
        count @ 0..32 => out.push(count as u8),
        count => out.extend([0x30 | (count >> 8) as u8, count as u8]),
    }
    out.extend(text.as_bytes());
}

/// Reads a string in one piece; null becomes an empty string.
fn string<'b>(bytes: &mut Bytes<'b>) -> Option<&'b [u8]> {
    let count = match bytes.byte()? {
        b'N' => 0,
        short @ 0..0x20 => usize::from(short),
        high @ 0x30..0x34 => usize::from(high & 3) << 8 | usize::from(bytes.byte()?),
        b'S' => usize::from(bytes.u16()?),
        _ => return None,
    };
    // The string ends where the character after its last one starts, or where the bytes end.
    let starts = bytes
        .0
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte & 0xc0 != 0x80);
    let end = starts.map(|(at, _)| at).nth(count).unwrap_or(bytes.0.len());
    bytes.take(end)
}
