//! The arguments of one request by position. They come from an array of bulk strings or from an
//! inline command. It must not depend on commands.

use std::borrow::Cow;

use meltemi_frame::Span;

use crate::inline::{self, Piece};
use crate::number::{Line, line};

/// The number of arguments whose positions are stored. The others are found by walking the request.
pub(crate) const FRONT: usize = 4;

/// The arguments of a scanned request. Only the front of a large request may be present.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Args<'b> {
    wire: &'b [u8],
    /// The number of arguments, including the command name.
    count: usize,
    front: [Span; FRONT],
    /// The number of entries used in `front`.
    known: usize,
}

impl<'b> Args<'b> {
    /// Returns the arguments of a request whose first arguments are at `front`.
    #[inline]
    pub(crate) fn scanned(wire: &'b [u8], count: usize, front: [Span; FRONT], seen: usize) -> Self {
        Self {
            wire,
            count,
            front,
            known: seen.min(FRONT),
        }
    }

    /// Returns the arguments of a request that was scanned before, or of an inline command.
    pub(crate) fn read(wire: &'b [u8]) -> Self {
        let count = match (wire.first(), line(wire, 1)) {
            (Some(b'*'), Line::Number(count, _)) => usize::try_from(count).unwrap_or(0),
            (Some(b'*'), _) => 0,
            _ => Walk::new(wire).count(),
        };
        Self {
            wire,
            count,
            front: [Span::default(); FRONT],
            known: 0,
        }
    }

    /// Returns the position of one argument, if it is stored.
    #[inline]
    pub(crate) fn known(&self, position: usize) -> Option<Span> {
        let span = self.front.get(position)?;
        (position < self.known).then_some(*span)
    }

    /// Returns the number of arguments, including the command name.
    pub(crate) const fn count(&self) -> usize {
        self.count
    }

    /// Returns the bytes that contain the arguments.
    pub(crate) const fn wire(&self) -> &'b [u8] {
        self.wire
    }

    /// Returns one argument. `None` if the request does not have it, or if it has not arrived yet.
    #[inline]
    pub(crate) fn at(&self, position: usize) -> Option<Argument<'b>> {
        if position < self.known {
            return self.front.get(position).map(|span| Argument::Wire(*span));
        }
        self.walked(position)
    }

    #[inline(never)]
    fn walked(&self, position: usize) -> Option<Argument<'b>> {
        self.walk().nth(position)
    }

    /// Returns the bytes of one argument.
    #[inline]
    pub(crate) fn bytes(&self, position: usize) -> Option<Cow<'b, [u8]>> {
        self.at(position)?.bytes(self.wire)
    }

    /// Returns `true` if the argument equals this word. Case is ignored.
    pub(crate) fn is(&self, position: usize, word: &str) -> bool {
        self.bytes(position)
            .is_some_and(|bytes| bytes.eq_ignore_ascii_case(word.as_bytes()))
    }

    /// Returns an iterator over all arguments in order.
    pub(crate) fn walk(&self) -> Walk<'b> {
        Walk::new(self.wire)
    }
}

/// One argument.
#[derive(Debug)]
pub(crate) enum Argument<'b> {
    /// The argument is a part of the wire bytes.
    Wire(Span),
    /// The argument had to be unescaped.
    Built(Cow<'b, [u8]>),
}

impl<'b> Argument<'b> {
    pub(crate) fn bytes(self, wire: &'b [u8]) -> Option<Cow<'b, [u8]>> {
        match self {
            Self::Wire(span) => span.of(wire).map(Cow::Borrowed),
            Self::Built(bytes) => Some(bytes),
        }
    }
}

/// Iterates over the arguments in wire order. It stops at the first argument that is missing or
/// invalid.
pub(crate) struct Walk<'b> {
    wire: &'b [u8],
    at: usize,
    /// The number of arguments left; `None` for an inline command.
    left: Option<i64>,
}

impl<'b> Walk<'b> {
    fn new(wire: &'b [u8]) -> Self {
        if wire.first() != Some(&b'*') {
            return Self {
                wire,
                at: 0,
                left: None,
            };
        }
        match line(wire, 1) {
            Line::Number(count, at) => Self {
                wire,
                at,
                left: Some(count),
            },
            Line::Short | Line::Bad => Self {
                wire,
                at: 0,
                left: Some(0),
            },
        }
    }
}

impl<'b> Iterator for Walk<'b> {
    type Item = Argument<'b>;

    fn next(&mut self) -> Option<Argument<'b>> {
        let Some(left) = &mut self.left else {
            let (piece, end) = inline::next(self.wire, self.at).ok()??;
            self.at = end;
            return Some(match piece {
                Piece::Plain(span) => Argument::Wire(span),
                Piece::Built(bytes) => Argument::Built(bytes),
            });
        };
        if *left <= 0 || self.wire.get(self.at) != Some(&b'$') {
            return None;
        }
        let Line::Number(length, start) = line(self.wire, self.at + 1) else {
            return None;
        };
        let end = start.checked_add(usize::try_from(length).ok()?)?;
        if end > self.wire.len() {
            return None;
        }
        *left -= 1;
        self.at = end.saturating_add(2);
        Some(Argument::Wire(Span::new(start, end)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(wire: &[u8]) -> Vec<Vec<u8>> {
        Args::read(wire)
            .walk()
            .map(|argument| argument.bytes(wire).unwrap().into_owned())
            .collect()
    }

    #[test]
    fn both_forms_give_the_same_arguments() {
        let array = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\n\r\n$1\r\n";
        assert_eq!(all(array), [&b"SET"[..], b"k", b"\r\n$1"]);
        let inline = b"SET \"k\" \"\\r\\n$1\"\n";
        assert_eq!(all(inline), [&b"SET"[..], b"k", b"\r\n$1"]);
        for wire in [&array[..], inline] {
            let args = Args::read(wire);
            assert_eq!(args.count(), 3);
            assert_eq!(args.bytes(1).as_deref(), Some(&b"k"[..]));
            assert!(args.is(0, "set") && !args.is(1, "x") && args.bytes(3).is_none());
        }
    }

    #[test]
    fn what_is_not_there_is_absent() {
        let args = Args::read(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100\r\nabc");
        assert_eq!((args.count(), args.walk().count()), (3, 2));
        assert_eq!(Args::read(b"*x").count(), 0);
        assert_eq!(Args::read(b"*2\r\n:1\r\n").walk().count(), 0);
    }
}
