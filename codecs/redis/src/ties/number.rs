//! Replies that the client gets instead of the server's. A client gets its own connection number:
//! the number of a shared upstream connection is useless to it.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};

use meltemi_frame::{Kind, Message, Output, ReplyContext, Status};

use super::{Effect, Ties};
use crate::words::{self, Local};

/// Far above the numbers that a server reaches: a command with a number (`CLIENT KILL`, `UNBLOCK`,
/// `TRACKING REDIRECT`) cannot hit another client. Also exact for clients that read numbers as
/// doubles.
const FIRST: u64 = 1 << 52;

static NEXT: AtomicU64 = AtomicU64::new(FIRST);

/// A number that is unique among the clients of this process. It is assigned on first use.
#[derive(Default)]
pub(super) struct ClientNumber(Option<NonZeroU64>);

impl ClientNumber {
    fn value(&mut self) -> u64 {
        let next = || NonZeroU64::new(NEXT.fetch_add(1, Ordering::Relaxed));
        if self.0.is_none() {
            self.0 = next();
        }
        self.0.map_or(FIRST, NonZeroU64::get)
    }
}

impl Ties {
    /// Writes the client's own reply instead of the server's: its own number instead of that of a
    /// shared connection, or the error for a discarded transaction. Returns `false` if the client
    /// gets the server's reply.
    pub(crate) fn put_own(&mut self, message: &Message<'_>, out: &mut Output) -> bool {
        let head = &message.head;
        if head.kind != Kind::Response || !head.end || head.status != Status::Ok {
            return false;
        }
        match self.pending.front() {
            Some((number, _)) if *number != self.answered + 1 => return false,
            Some((_, Effect::Number)) => {}
            Some((_, Effect::Abort)) => {
                words::own(Local::ExecAbort, &ReplyContext::default(), out);
                return true;
            }
            _ => return false,
        }
        let Some((kind, text)) = numbered(message.wire()) else {
            return false;
        };
        let number = self.number.value();
        if kind == b':' {
            out.put(format!(":{number}\r\n").as_bytes());
            return true;
        }
        let before = match kind {
            b'=' => "txt:id=",
            _ => "id=",
        };
        let front = format!("{before}{number}");
        let length = front.len() + text.len();
        out.put(&[kind]);
        out.put(format!("{length}\r\n{front}").as_bytes());
        out.put(text);
        out.put(b"\r\n");
        true
    }
}

/// Returns the type of a reply that has a number, and the bytes after the number.
fn numbered(wire: &[u8]) -> Option<(u8, &[u8])> {
    let (kind, rest) = wire.split_first()?;
    if *kind == b':' {
        return Some((*kind, b""));
    }
    let start = memchr::memchr(b'\n', rest)? + 1;
    let text = rest.get(start..)?.strip_suffix(b"\r\n")?;
    let text = match kind {
        b'$' => text,
        b'=' => text.strip_prefix(b"txt:")?,
        _ => return None,
    };
    let text = text.strip_prefix(b"id=")?;
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    text.get(digits.count()..).map(|text| (*kind, text))
}
