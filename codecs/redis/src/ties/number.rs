//! Replies that a client gets in the place of the server's. The number that it is told is its own: that
//! of an upstream connection says nothing of a client that shares it.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};

use meltemi_frame::{Kind, Message, Output, Status};

use super::{Effect, Ties};
use crate::words::EXEC_ABORT;

/// Far above what a server counts to, so that no command that takes a number (`CLIENT KILL`, `UNBLOCK`,
/// `TRACKING REDIRECT`) meets somebody else; and exact where a client takes numbers for doubles.
const FIRST: u64 = 1 << 52;

static NEXT: AtomicU64 = AtomicU64::new(FIRST);

/// A number that no other client of this process has, taken when it is asked for.
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
    /// Appends what the client gets in the place of a reply: its own number in that of a connection that
    /// is not the client's, or that a transaction was discarded. Returns `false` if it gets the reply.
    pub(crate) fn put_own(&mut self, message: &Message<'_>, out: &mut Output) -> bool {
        let head = &message.head;
        if head.kind != Kind::Response || !head.end || head.status != Status::Ok {
            return false;
        }
        match self.pending.front() {
            Some((number, _)) if *number != self.answered + 1 => return false,
            Some((_, Effect::Number)) => {}
            Some((_, Effect::Abort)) => {
                out.put(EXEC_ABORT.as_bytes());
                out.put(b"\r\n");
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

/// The type of a reply that has a number, and what follows the number.
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
