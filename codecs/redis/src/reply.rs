//! The framing of what servers send: where one reply of RESP2 or RESP3 ends, found incrementally and
//! without recursion. It knows types, and neither commands nor connections.

use meltemi_frame::Violation;

use crate::number::{Line, line};

/// How far a reply is scanned. The positions count from the front of the input.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    at: usize,
    /// What encloses the next element. It keeps its memory from reply to reply.
    levels: Vec<Level>,
    /// How much of a string is to come, its line end not counted.
    open: Option<u64>,
    /// A line that has not ended was searched up to here.
    searched: usize,
    /// The type byte of the reply proper, and where it stands: behind its attributes.
    proper: Option<(u8, usize)>,
}

#[derive(Clone, Copy, Debug)]
enum Level {
    /// So many elements are to come.
    Items { left: u64, attribute: bool },
    /// Elements until a line of `.`.
    Stream,
    /// Chunks until an empty one.
    Chunks,
}

/// What a scan found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The reply takes so many bytes.
    Whole(usize),
    /// So many bytes bring the scan further.
    Short(usize),
}

impl Scan {
    /// Everything before was scanned and may be passed on.
    pub(crate) const fn at(&self) -> usize {
        self.at
    }

    /// Whether nothing is known of the reply yet.
    pub(crate) const fn is_new(&self) -> bool {
        self.at == 0 && self.searched == 0
    }

    /// The type byte of the reply proper, and where it stands.
    pub(crate) const fn proper(&self) -> Option<(u8, usize)> {
        self.proper
    }

    /// Forgets the reply; keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.levels.clear();
        let levels = std::mem::take(&mut self.levels);
        *self = Self {
            levels,
            ..Self::default()
        };
    }

    /// The bytes before [`Scan::at`] were taken from the input.
    pub(crate) const fn rebase(&mut self) {
        self.searched = self.searched.saturating_sub(self.at);
        self.at = 0;
    }

    /// Scans on.
    pub(crate) fn scan(&mut self, input: &[u8], depth: usize) -> Result<Step, Violation> {
        loop {
            let done = match self.element(input, depth)? {
                Element::Short(need) => return Ok(Step::Short(need.max(input.len() + 1))),
                Element::Opened => false,
                Element::Ended => self.ended(),
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
        let Some(&kind) = input.get(self.at) else {
            return Ok(Element::Short(0));
        };
        match kind {
            _ if kind != b';' && matches!(self.levels.last(), Some(Level::Chunks)) => Err(
                Violation::Invalid("something else than a chunk in a streamed string"),
            ),
            b'+' | b'-' | b':' | b',' | b'#' | b'(' | b'_' => self.line(input, kind),
            b'$' | b'=' | b'!' | b';' | b'*' | b'~' | b'>' | b'%' | b'|' => {
                self.header(input, kind, depth)
            }
            b'.' if matches!(self.levels.last(), Some(Level::Stream)) => {
                match input.get(self.at + 1..self.at + 3) {
                    None => Ok(Element::Short(self.at + 3)),
                    Some(b"\r\n") => {
                        self.at += 3;
                        self.levels.pop();
                        Ok(Element::Ended)
                    }
                    Some(_) => Err(Violation::Invalid("the end of a streamed reply is no line")),
                }
            }
            _ => Err(Violation::magic(
                "redis",
                input.get(self.at..).unwrap_or_default(),
            )),
        }
    }

    /// The contents of a string, of which so many bytes are to come.
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

    /// A reply of one line.
    fn line(&mut self, input: &[u8], kind: u8) -> Result<Element, Violation> {
        let from = self.searched.max(self.at);
        let Some(found) = memchr::memchr(b'\n', input.get(from..).unwrap_or_default()) else {
            self.searched = input.len();
            return Ok(Element::Short(0));
        };
        let end = from + found;
        if end.checked_sub(1).and_then(|before| input.get(before)) != Some(&b'\r') {
            return Err(Violation::Invalid("a line does not end with CRLF"));
        }
        self.starts(kind);
        self.at = end + 1;
        Ok(Element::Ended)
    }

    /// A string or an aggregate: a length or count, and what it says behind it.
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
                Line::Bad => return Err(Violation::Invalid("a length or count is no number")),
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
        let chunks = matches!(self.levels.last(), Some(Level::Chunks));
        if (kind == b';' && !chunks) || (streamed && matches!(kind, b'=' | b'!' | b';' | b'|')) {
            return Err(Violation::Invalid(
                "a chunk outside of a streamed string, or no way to stream",
            ));
        }
        self.starts(kind);
        self.at = next;
        let level = match kind {
            b';' if number == 0 => {
                self.levels.pop();
                return Ok(Element::Ended);
            }
            b'$' if streamed => Level::Chunks,
            b'$' | b'=' | b'!' | b';' => {
                self.open = Some(number);
                return Ok(Element::Opened);
            }
            _ if streamed => Level::Stream,
            b'|' if number == 0 => return Ok(Element::Opened),
            _ if number == 0 => return Ok(Element::Ended),
            b'|' => Level::Items {
                left: number * 2,
                attribute: true,
            },
            b'%' => Level::Items {
                left: number * 2,
                attribute: false,
            },
            _ => Level::Items {
                left: number,
                attribute: false,
            },
        };
        if self.levels.len() >= depth {
            return Err(Violation::Depth { limit: depth });
        }
        self.levels.push(level);
        Ok(Element::Opened)
    }

    fn starts(&mut self, kind: u8) {
        if self.proper.is_none() && self.levels.is_empty() && kind != b'|' {
            self.proper = Some((kind, self.at));
        }
    }

    /// An element ended, and with it perhaps what encloses it. Tells whether the reply did.
    fn ended(&mut self) -> bool {
        loop {
            match self.levels.last_mut() {
                None => return true,
                Some(Level::Stream | Level::Chunks) => return false,
                Some(Level::Items { left, attribute }) => {
                    *left -= 1;
                    if *left > 0 {
                        return false;
                    }
                    // An attribute is no element: what it belongs to follows it.
                    let over = *attribute;
                    self.levels.pop();
                    if over {
                        return false;
                    }
                }
            }
        }
    }
}

enum Element {
    Short(usize),
    /// A header was read; what it announces follows.
    Opened,
    Ended,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(input: &[u8]) -> Result<Step, Violation> {
        Scan::default().scan(input, 8)
    }

    #[test]
    fn every_type_ends_where_it_ends() {
        for reply in [
            "+OK\r\n",
            "-ERR x\r\n",
            ":-1\r\n",
            "$3\r\na\r\n\r\n",
            "$0\r\n\r\n",
            "$-1\r\n",
            "*-1\r\n",
            "*0\r\n",
            "*2\r\n*1\r\n:1\r\n$1\r\nx\r\n",
            "_\r\n",
            "#t\r\n",
            ",1.5\r\n",
            "(12345678901234567890\r\n",
            "!5\r\nERR x\r\n",
            "=5\r\ntxt:x\r\n",
            "~1\r\n+a\r\n",
            "%1\r\n+a\r\n:1\r\n",
            "%0\r\n",
            ">1\r\n+a\r\n",
            "|1\r\n+ttl\r\n:1\r\n+OK\r\n",
            "|0\r\n+OK\r\n",
            "*2\r\n|1\r\n+a\r\n:1\r\n:1\r\n:2\r\n",
            "$?\r\n;2\r\nab\r\n;1\r\nc\r\n;0\r\n",
            "*?\r\n:1\r\n*0\r\n.\r\n",
            "*1\r\n%?\r\n+a\r\n:1\r\n.\r\n",
        ] {
            let bytes = [reply.as_bytes(), b"+next\r\n"].concat();
            assert_eq!(whole(&bytes), Ok(Step::Whole(reply.len())), "{reply:?}");
            let mut scan = Scan::default();
            for cut in 0..reply.len() {
                let step = scan.scan(&bytes[..cut], 8);
                assert!(
                    matches!(step, Ok(Step::Short(need)) if need > cut && need <= reply.len()),
                    "{reply:?} {cut} {step:?}"
                );
            }
            assert_eq!(scan.scan(&bytes, 8), Ok(Step::Whole(reply.len())));
        }
    }

    #[test]
    fn the_reply_proper_stands_behind_its_attributes() {
        let mut scan = Scan::default();
        scan.scan(b"|1\r\n+a\r\n*1\r\n:1\r\n-ERR\r\n", 8).unwrap();
        assert_eq!(scan.proper(), Some((b'-', 16)));
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            "x\r\n",
            "$-2\r\n",
            "*x\r\n",
            "$1\r\nab\r\n",
            "+a\n",
            "%-1\r\n",
            ";1\r\na\r\n",
            "$?\r\n+a\r\n",
            "$?\r\n$1\r\n",
            ".\r\n",
            "=?\r\n",
            "*?x\r\n",
        ] {
            let result = whole(bad.as_bytes());
            assert!(result.is_err(), "{bad:?} {result:?}");
        }
    }

    #[test]
    fn nesting_is_bounded_and_counts_take_no_memory() {
        assert_eq!(
            whole("*1\r\n".repeat(9).as_bytes()),
            Err(Violation::Depth { limit: 8 })
        );
        let mut scan = Scan::default();
        assert!(matches!(
            scan.scan(b"*2147483647\r\n:1\r\n", 8),
            Ok(Step::Short(_))
        ));
        assert_eq!(scan.levels.len(), 1);
    }
}
