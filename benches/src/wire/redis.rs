//! RESP2: `GET`, its value, and `BLPOP`. The size of the value stands in the key.

use super::{Ask, BLOCK, Bad, Reply, Served, when};
use crate::payload::{Payload, TAG, hexadecimal, tag_of};

pub(super) fn ask(ask: &Ask<'_>, out: &mut Vec<u8>) {
    let mut key = Vec::with_capacity(48);
    key.extend_from_slice(ask.lane.as_bytes());
    key.push(b':');
    key.extend_from_slice(&hexadecimal(ask.tag));
    key.push(b':');
    key.extend_from_slice(ask.payload.size().to_string().as_bytes());
    let blocks = ask.lane == BLOCK;
    out.extend_from_slice(if blocks {
        b"*3\r\n$5\r\nBLPOP\r\n"
    } else {
        b"*2\r\n$3\r\nGET\r\n"
    });
    bulk(&key, out);
    if blocks {
        bulk(b"0", out);
    }
}

fn bulk(bytes: &[u8], out: &mut Vec<u8>) {
    length(bytes.len(), out);
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

fn length(length: usize, out: &mut Vec<u8>) {
    out.push(b'$');
    out.extend_from_slice(length.to_string().as_bytes());
    out.extend_from_slice(b"\r\n");
}

pub(super) fn reply(input: &[u8]) -> Result<Option<Reply<'_>>, Bad> {
    let Some((first, body)) = line(input) else {
        return Ok(None);
    };
    match first.first() {
        Some(b'-') => Ok(Some(Reply {
            length: body,
            id: None,
            payload: None,
        })),
        Some(b'$') => {
            let size = decimal(&first[1..]).ok_or(Bad("a reply without a value"))?;
            let end = body + size + 2;
            Ok((input.len() >= end).then(|| {
                let payload = Some(&input[body..body + size]);
                Reply {
                    length: end,
                    id: None,
                    payload,
                }
            }))
        }
        _ => Err(Bad("neither a value nor an error")),
    }
}

pub(super) fn serve(input: &[u8], out: &mut Vec<u8>) -> Result<Option<Served>, Bad> {
    let Some((first, mut at)) = line(input) else {
        return Ok(None);
    };
    let count = first
        .strip_prefix(b"*")
        .and_then(decimal)
        .ok_or(Bad("not a command"))?;
    let mut arguments: [&[u8]; 3] = [b""; 3];
    if count == 0 || count > arguments.len() {
        return Err(Bad("more arguments than any command here has"));
    }
    for argument in arguments.iter_mut().take(count) {
        let Some((first, past)) = line(&input[at..]) else {
            return Ok(None);
        };
        let size = first
            .strip_prefix(b"$")
            .and_then(decimal)
            .ok_or(Bad("not an argument"))?;
        let body = at + past;
        let Some(bytes) = input.get(body..body + size) else {
            return Ok(None);
        };
        *argument = bytes;
        at = body + size + 2;
    }
    if input.len() < at {
        return Ok(None);
    }
    let [command, key, _] = arguments;
    let mut parts = key.split(|byte| *byte == b':');
    let lane = parts.next().unwrap_or_default();
    match command {
        b"GET" | b"BLPOP" => {
            let tag = parts
                .next()
                .and_then(tag_of)
                .ok_or(Bad("a key without a tag"))?;
            let size = parts
                .next()
                .and_then(decimal)
                .ok_or(Bad("a key without a size"))?;
            length(size.max(TAG), out);
            put(tag, size, out);
            out.extend_from_slice(b"\r\n");
        }
        b"PING" => out.extend_from_slice(b"+PONG\r\n"),
        // What proxies say when they connect is not measured.
        _ => out.extend_from_slice(b"+OK\r\n"),
    }
    Ok(Some(Served {
        length: at,
        when: when(lane),
    }))
}

/// The payload of a size that only the request knows; the last one is kept.
fn put(tag: u64, size: usize, out: &mut Vec<u8>) {
    use std::cell::RefCell;
    thread_local! {
        static LAST: RefCell<Payload> = RefCell::new(Payload::new(TAG));
    }
    LAST.with_borrow_mut(|last| {
        if last.size() != size.max(TAG) {
            *last = Payload::new(size);
        }
        last.put(tag, out);
    });
}

/// The line at the front, and where the next begins.
fn line(input: &[u8]) -> Option<(&[u8], usize)> {
    let end = input.iter().position(|byte| *byte == b'\n')?;
    let line = &input[..end];
    Some((line.strip_suffix(b"\r").unwrap_or(line), end + 1))
}

fn decimal(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}
