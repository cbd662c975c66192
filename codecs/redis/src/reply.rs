//! The framing of replies: finds the end of one RESP2 or RESP3 reply incrementally. Elements are
//! only counted, so the nesting depth uses neither stack nor memory, and has no limit. It must not
//! depend on commands or connections.

use meltemi_frame::Violation;

use crate::number::{Line, line};

/// In bytes. A longer line is passed on before its end has arrived.
const LONG_LINE: usize = 16 << 10;

/// The scan position in a reply. Positions count from the front of the input.
#[derive(Debug)]
pub(crate) struct Scan {
    at: usize,
    /// The number of elements still due in the innermost streamed aggregate, or in the reply. An
    /// aggregate counts as one element less, plus its own elements. 0 if the next element belongs
    /// to the stream itself.
    left: u64,
    /// The streamed aggregates around the next element. The memory is reused for the next reply.
    streams: Vec<Stream>,
    /// `true` if a part of a long line was passed on.
    in_line: bool,
    /// The number of string bytes still due, without the line end.
    open: Option<u64>,
    /// An incomplete line was searched up to this position.
    searched: usize,
    /// The type byte of the reply and its position, after any attributes.
    proper: Option<(u8, usize)>,
}

/// An aggregate without a count. Servers may send it, but Redis does not.
#[derive(Clone, Copy, Debug)]
struct Stream {
    /// `true` for the chunks of a string, which end with an empty chunk. Otherwise elements, which
    /// end with a line `.`.
    chunks: bool,
    /// The number of elements due after it.
    outside: u64,
}

impl Default for Scan {
    fn default() -> Self {
        Self {
            at: 0,
            left: 1,
            streams: Vec::new(),
            in_line: false,
            open: None,
            searched: 0,
            proper: None,
        }
    }
}

/// The result of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The length of the complete reply in bytes.
    Whole(usize),
    /// The scan needs this number of bytes to continue.
    Short(usize),
}

impl Scan {
    /// Returns the scan position. All bytes before it may be passed on.
    pub(crate) const fn at(&self) -> usize {
        self.at
    }

    /// Returns `true` if no byte of the reply was scanned.
    pub(crate) const fn is_new(&self) -> bool {
        self.at == 0 && self.searched == 0
    }

    /// Returns the type byte of the reply and its position.
    pub(crate) const fn proper(&self) -> Option<(u8, usize)> {
        self.proper
    }

    /// Resets the scan for the next reply. Keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.streams.clear();
        let streams = std::mem::take(&mut self.streams);
        *self = Self {
            streams,
            ..Self::default()
        };
    }

    /// Moves the positions after the bytes before [`Scan::at`] were removed from the input.
    pub(crate) const fn rebase(&mut self) {
        self.searched = self.searched.saturating_sub(self.at);
        self.at = 0;
    }

    /// Continues the scan. `depth` is the maximum nesting of streamed aggregates.
    pub(crate) fn scan(&mut self, input: &[u8], depth: usize) -> Result<Step, Violation> {
        loop {
            let done = match self.element(input, depth)? {
                Element::Short(need) => return Ok(Step::Short(need.max(input.len() + 1))),
                Element::Opened => false,
                Element::Ended => self.ended(),
                Element::Closed => self.is_whole(),
            };
            if done {
                return Ok(Step::Whole(self.at));
            }
        }
    }

    fn element(&mut self, input: &[u8], depth: usize) -> Result<Element, Violation> {
        if let Some(left) = self.open {
            return self.contents(input, left);
        }
        if self.in_line {
            return self.long_line(input);
        }
        let Some(&kind) = input.get(self.at) else {
            return Ok(Element::Short(0));
        };
        match kind {
            _ if kind != b';' && self.is_in_chunks() => Err(Violation::Invalid(
                "a streamed string has an element that is not a chunk",
            )),
            b'+' | b'-' | b':' | b',' | b'#' | b'(' | b'_' => self.line(input, kind),
            b'$' | b'=' | b'!' | b';' | b'*' | b'~' | b'>' | b'%' | b'|' => {
                self.header(input, kind, depth)
            }
            b'.' if self.left == 0 && !self.is_in_chunks() => {
                match input.get(self.at + 1..self.at + 3) {
                    None => Ok(Element::Short(self.at + 3)),
                    Some(b"\r\n") => {
                        self.at += 3;
                        Ok(self.close())
                    }
                    Some(_) => Err(Violation::Invalid(
                        "the end of a streamed reply is not a line",
                    )),
                }
            }
            _ => Err(Violation::magic(
                "redis",
                input.get(self.at..).unwrap_or_default(),
            )),
        }
    }

    /// Scans the contents of a string. `left` is the number of bytes still due.
    fn contents(&mut self, input: &[u8], left: u64) -> Result<Element, Violation> {
        let have = input.len().saturating_sub(self.at);
        let take = usize::try_from(left).unwrap_or(usize::MAX).min(have);
        self.at += take;
        let left = left - take as u64;
        self.open = Some(left);
        if left > 0 {
            let more = usize::try_from(left).unwrap_or(usize::MAX);
            return Ok(Element::Short(
                self.at.saturating_add(more).saturating_add(2),
            ));
        }
        match input.get(self.at..self.at + 2) {
            None => Ok(Element::Short(self.at + 2)),
            Some(b"\r\n") => {
                self.at += 2;
                self.open = None;
                Ok(Element::Ended)
            }
            Some(_) => Err(Violation::Invalid("a string does not end with CRLF")),
        }
    }

    /// Scans a reply of one line.
    fn line(&mut self, input: &[u8], kind: u8) -> Result<Element, Violation> {
        let from = self.searched.max(self.at);
        let Some(found) = memchr::memchr(b'\n', input.get(from..).unwrap_or_default()) else {
            self.searched = input.len();
            if input.len() - self.at > LONG_LINE {
                self.starts(kind);
                self.in_line = true;
                return self.long_line(input);
            }
            return Ok(Element::Short(0));
        };
        self.line_ends(input, from + found)?;
        self.starts(kind);
        self.at = from + found + 1;
        Ok(Element::Ended)
    }

    /// Scans a reply of one line whose front was passed on.
    fn long_line(&mut self, input: &[u8]) -> Result<Element, Violation> {
        let from = self.searched.max(self.at);
        let Some(found) = memchr::memchr(b'\n', input.get(from..).unwrap_or_default()) else {
            self.searched = input.len();
            // A CR is kept together with its LF.
            self.at = self
                .at
                .max(input.len() - usize::from(input.ends_with(b"\r")));
            return Ok(Element::Short(0));
        };
        self.line_ends(input, from + found)?;
        self.in_line = false;
        self.at = from + found + 1;
        Ok(Element::Ended)
    }

    /// Fails if there is no CR before the LF at `end`.
    fn line_ends(&self, input: &[u8], end: usize) -> Result<(), Violation> {
        let before = end.checked_sub(1).filter(|before| *before >= self.at);
        if before.and_then(|before| input.get(before)) == Some(&b'\r') {
            return Ok(());
        }
        Err(Violation::Invalid("a line does not end with CRLF"))
    }

    /// Scans the header of a string or an aggregate: its length or count, and the bytes that
    /// follow.
    fn header(&mut self, input: &[u8], kind: u8, depth: usize) -> Result<Element, Violation> {
        let streamed = input.get(self.at + 1) == Some(&b'?');
        let (number, next) = if streamed {
            match input.get(self.at + 2..self.at + 4) {
                None => return Ok(Element::Short(self.at + 4)),
                Some(b"\r\n") => (0, self.at + 4),
                Some(_) => return Err(Violation::Invalid("a streamed reply has no line end")),
            }
        } else {
            match line(input, self.at + 1) {
                Line::Short => return Ok(Element::Short(0)),
                Line::Bad => return Err(Violation::Invalid("a length or count is not a number")),
                Line::Number(number, next) => (number, next),
            }
        };
        let Ok(number) = u64::try_from(number) else {
            if number == -1 && matches!(kind, b'$' | b'*') {
                self.starts(kind);
                self.at = next;
                return Ok(Element::Ended);
            }
            return Err(Violation::Length {
                field: "the length of a reply",
                value: number,
            });
        };
        let chunks = self.is_in_chunks();
        if (kind == b';' && !chunks) || (streamed && matches!(kind, b'=' | b'!' | b';' | b'|')) {
            return Err(Violation::Invalid(
                "a chunk outside a streamed string, or an invalid streamed type",
            ));
        }
        self.starts(kind);
        self.at = next;
        match kind {
            b';' if number == 0 => Ok(self.close()),
            b'$' | b'=' | b'!' | b';' if !streamed => {
                self.open = Some(number);
                Ok(Element::Opened)
            }
            _ if streamed => {
                if self.streams.len() >= depth {
                    return Err(Violation::Depth { limit: depth });
                }
                self.streams.push(Stream {
                    chunks: kind == b'$',
                    outside: self.left.saturating_sub(1),
                });
                self.left = 0;
                Ok(Element::Opened)
            }
            // An attribute is not an element. The element that it describes follows.
            b'|' => self.opens(self.left, number, 2),
            b'%' => self.opens(self.left.saturating_sub(1), number, 2),
            _ => self.opens(self.left.saturating_sub(1), number, 1),
        }
    }

    /// Starts an aggregate with this number of elements. `behind` is the number of elements due
    /// after it.
    fn opens(&mut self, behind: u64, number: u64, each: u64) -> Result<Element, Violation> {
        let inside = number.checked_mul(each);
        let left = inside.and_then(|inside| behind.checked_add(inside));
        self.left = left.ok_or(Violation::Invalid("a reply has too many elements to count"))?;
        Ok(if self.left == 0 {
            Element::Closed
        } else {
            Element::Opened
        })
    }

    /// Ends a streamed aggregate.
    fn close(&mut self) -> Element {
        let ended = self.streams.pop();
        self.left = ended.map_or(0, |ended| ended.outside);
        if self.left == 0 {
            Element::Closed
        } else {
            Element::Opened
        }
    }

    fn is_in_chunks(&self) -> bool {
        self.streams.last().is_some_and(|stream| stream.chunks)
    }

    fn starts(&mut self, kind: u8) {
        if self.proper.is_none() && self.left == 1 && self.streams.is_empty() && kind != b'|' {
            self.proper = Some((kind, self.at));
        }
    }

    /// Ends an element. Returns `true` if the reply ends too.
    const fn ended(&mut self) -> bool {
        self.left = self.left.saturating_sub(1);
        self.is_whole()
    }

    const fn is_whole(&self) -> bool {
        self.left == 0 && self.streams.is_empty()
    }
}

enum Element {
    Short(usize),
    /// A header was read. Its contents follow.
    Opened,
    Ended,
    /// The element has ended and is already counted.
    Closed,
}

#[cfg(test)]
mod tests;
