//! Redis: `GET`, and just enough other commands for a user's `redis-cli` (RESP2).

use meltemi_frame::{Message, Spec};

use super::{Ask, attribute, hello};

pub(super) fn request(_: i64, ask: &Ask) -> Vec<u8> {
    let mut request = b"*2\r\n".to_vec();
    put_bulk(ask.method, &mut request);
    put_bulk(&ask.name, &mut request);
    request
}

pub(super) fn reply(request: &Message<'_>, spec: &Spec, version: &str) -> Option<Vec<u8>> {
    match &*attribute(request, spec, "command")? {
        "get" => {
            let key = attribute(request, spec, "key").unwrap_or_default();
            let mut reply = Vec::new();
            put_bulk(&hello(&key, version), &mut reply);
            Some(reply)
        }
        "set" => Some(b"+OK\r\n".to_vec()),
        "ping" => Some(b"+PONG\r\n".to_vec()),
        _ => None,
    }
}

pub(super) fn text(reply: &[u8]) -> Option<&[u8]> {
    let rest = reply.strip_prefix(b"$")?.strip_suffix(b"\r\n")?;
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    rest.get(end + 1..)
}

fn put_bulk(text: &str, out: &mut Vec<u8>) {
    out.extend(format!("${}\r\n{text}\r\n", text.len()).as_bytes());
}
