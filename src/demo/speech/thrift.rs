//! Thrift: `string search(1: string name)` and others like it, framed, in the strict binary protocol.
//!
//! A message is its length, the version with its type, the method's name, a sequence id, and a
//! struct (thrift-binary-protocol.md, "Message"; thrift-rpc.md, "Framed vs. unframed transport").

use meltemi_frame::{Message, Spec};

use super::bytes::{Bytes, length};
use super::{Ask, attribute, hello};

const CALL: u32 = 0x8001_0001;
const REPLY: u32 = 0x8001_0002;
const STRING: u8 = 11;
const STOP: u8 = 0;

pub(super) fn request(id: i64, ask: &Ask) -> Vec<u8> {
    framed(&message(CALL, ask.method.as_bytes(), id, 1, &ask.name))
}

pub(super) fn reply(request: &Message<'_>, spec: &Spec, version: &str) -> Option<Vec<u8>> {
    let spoken = ["transport", "protocol"].map(|name| attribute(request, spec, name));
    if spoken != [Some("framed".to_owned()), Some("binary".to_owned())] {
        return None;
    }
    let (method, name) = parts(request.wire().get(4..)?)?;
    let hello = hello(&String::from_utf8_lossy(name), version);
    Some(framed(&message(REPLY, method, request.head.id?, 0, &hello)))
}

pub(super) fn text(reply: &[u8]) -> Option<&[u8]> {
    let (_, text) = parts(reply.get(4..)?)?;
    Some(text)
}

/// Returns the method, and the string in the first field of the struct.
fn parts(message: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut bytes = Bytes(message);
    let kind = bytes.u32()?;
    let method = bytes.behind_u32()?;
    let _seqid = bytes.u32()?;
    let is_string = bytes.byte()? == STRING;
    let _field = bytes.u16()?;
    let text = bytes.behind_u32()?;
    (is_string && matches!(kind, CALL | REPLY)).then_some((method, text))
}

fn message(kind: u32, method: &[u8], id: i64, field: u16, text: &str) -> Vec<u8> {
    let mut message = kind.to_be_bytes().to_vec();
    message.extend(length(method).to_be_bytes());
    message.extend(method);
    message.extend((id as i32).to_be_bytes());
    message.push(STRING);
    message.extend(field.to_be_bytes());
    message.extend(length(text.as_bytes()).to_be_bytes());
    message.extend(text.as_bytes());
    message.push(STOP);
    message
}

fn framed(message: &[u8]) -> Vec<u8> {
    let mut framed = length(message).to_be_bytes().to_vec();
    framed.extend(message);
    framed
}
