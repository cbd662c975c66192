//! Quill, a company's own protocol: `codecs/declarative/protocols/quill.yaml` describes its layout.

use meltemi_frame::{Message, Spec};

use super::bytes::{Bytes, length};
use super::{Ask, hello};

const CALL: u8 = 1;
const REPLY: u8 = 3;
const HEADER: usize = 24;

pub(super) fn request(id: i64, ask: &Ask) -> Vec<u8> {
    let mut body = Vec::new();
    put_short("ledger", &mut body);
    put_short(ask.method, &mut body);
    let mut metadata = Vec::new();
    if let Some((name, value)) = ask.header {
        put_short(name, &mut metadata);
        metadata.extend((value.len() as u16).to_be_bytes());
        metadata.extend(value.as_bytes());
    }
    body.extend((metadata.len() as u16).to_be_bytes());
    body.extend(metadata);
    body.extend(ask.name.as_bytes());
    frame(CALL, id, &body)
}

pub(super) fn reply(request: &Message<'_>, _: &Spec, version: &str) -> Option<Vec<u8>> {
    let mut bytes = Bytes(request.wire());
    bytes.take(HEADER)?;
    for _ in ["service", "method"] {
        let length = bytes.byte()?;
        bytes.take(length.into())?;
    }
    let length = bytes.u16()?;
    bytes.take(length.into())?;
    let hello = hello(&String::from_utf8_lossy(bytes.0), version);
    // No message for a person, no metadata.
    let body = [&[0; 4], hello.as_bytes()].concat();
    Some(frame(REPLY, request.head.id?, &body))
}

pub(super) fn text(reply: &[u8]) -> Option<&[u8]> {
    let mut bytes = Bytes(reply);
    bytes.take(HEADER)?;
    for _ in ["message", "metadata"] {
        let length = bytes.u16()?;
        bytes.take(length.into())?;
    }
    Some(bytes.0)
}

fn frame(kind: u8, id: i64, body: &[u8]) -> Vec<u8> {
    let version = 0x10;
    let mut frame = vec![0x71, 0x7e, version, kind];
    // The length counts everything after itself, including sixteen bytes of the header.
    frame.extend((16 + length(body)).to_be_bytes());
    frame.extend(id.to_le_bytes());
    // The caller's timeout, the status, the serialization, and an unused byte.
    frame.extend([0; 8]);
    frame.extend(body);
    frame
}

fn put_short(text: &str, out: &mut Vec<u8>) {
    out.push(text.len() as u8);
    out.extend(text.as_bytes());
}
