//! Reads the type and the error of a reply, and the address that a redirect names. It must not
//! depend on connections: it sees single frames.

use meltemi_frame::{Fault, Redirect, Span, Status};

/// Returns `true` for a line of `MONITOR`: `+1339518083.107412 [0 127.0.0.1:60866] "keys" "*"`
pub(crate) fn is_monitored(line: &[u8]) -> bool {
    let text = line.get(1..).unwrap_or_default();
    let digits = text
        .iter()
        .take_while(|byte| byte.is_ascii_digit() || **byte == b'.')
        .count();
    digits > 0 && text.get(digits..digits + 2) == Some(b" [")
}

pub(crate) fn type_name(kind: u8, proper: &[u8]) -> &'static str {
    match kind {
        b'+' => "simple",
        b'-' | b'!' => "error",
        b':' => "integer",
        b'$' | b'*' if proper.get(1) == Some(&b'-') => "null",
        b'$' => "bulk",
        b'*' => "array",
        b'_' => "null",
        b'#' => "bool",
        b',' => "double",
        b'(' => "bignum",
        b'=' => "verbatim",
        b'~' => "set",
        b'%' => "map",
        _ => "push",
    }
}

/// Returns the code of the error at `at`, and its status.
pub(crate) fn failure(wire: &[u8], at: usize) -> (Span, Status) {
    let text = wire.get(at + 1..).unwrap_or_default();
    // The length of a blob error is on its own line.
    let skip = match wire.get(at) {
        Some(b'!') => memchr::memchr(b'\n', text).map_or(text.len(), |end| end + 1),
        _ => 0,
    };
    let start = at + 1 + skip;
    let text = text.get(skip..).unwrap_or_default();
    let end = text
        .iter()
        .position(|byte| matches!(byte, b' ' | b'\r' | b'\n'))
        .unwrap_or(text.len());
    let code = text.get(..end).unwrap_or_default();
    let status = match code {
        b"MOVED" | b"ASK" => match address(text) {
            Some((from, to)) => Status::Redirect(Redirect {
                address: Span::new(start + from, start + to),
                once: code == b"ASK",
            }),
            None => Status::Failed(Fault::BadResponse),
        },
        b"LOADING" | b"CLUSTERDOWN" | b"TRYAGAIN" | b"BUSY" | b"MASTERDOWN" | b"MISCONF"
        | b"NOREPLICAS" | b"READONLY" => Status::Failed(Fault::Server),
        b"NOAUTH" | b"WRONGPASS" | b"NOPERM" => Status::Failed(Fault::Denied),
        b"OOM" => Status::Failed(Fault::Overload),
        _ => Status::Failed(Fault::Application),
    };
    (Span::new(start, start + end), status)
}

/// Returns the position of `host:port` in `MOVED 3999 host:port`. An empty host, or `?` (the server
/// does not know it), means the same host.
fn address(text: &[u8]) -> Option<(usize, usize)> {
    let line = text.get(..memchr::memchr(b'\r', text)?)?;
    let slot = memchr::memchr(b' ', line)? + 1;
    let start = slot + memchr::memchr(b' ', line.get(slot..)?)? + 1;
    let end = line
        .get(start..)?
        .iter()
        .position(|byte| *byte == b' ')
        .map_or(line.len(), |end| start + end);
    let address = line.get(start..end)?;
    let port = address.get(memchr::memrchr(b':', address)? + 1..)?;
    if port.is_empty() || !port.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let start = if address.starts_with(b"?:") {
        start + 1
    } else {
        start
    };
    Some((start, end))
}
