//! The framing of requests: finds the end of a request incrementally. It must not depend on
//! commands or connections: it sees arrays of bulk strings, and lines.

use meltemi_frame::Span;

use crate::args::FRONT;
use crate::broken::{Broken, INLINE_MAX};
use crate::inline;
use crate::number::{Line, line};

/// The maximum length of a bulk string (`proto-max-bulk-len`). A longer one is refused.
const BULK_MAX: i64 = 512 << 20;
/// The maximum size of a request. It equals the size of a server's buffer for one client
/// (`client-query-buffer-limit`).
pub(crate) const REQUEST_MAX: usize = 1 << 30;
/// The limits of Redis for clients that have not authenticated.
const STRANGER_COUNT: i64 = 10;
const STRANGER_BULK: i64 = 16 << 10;

/// The scan position in a request.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// All bytes before it are scanned; 0 at the start.
    at: usize,
    count: usize,
    pub(crate) seen: usize,
    pub(crate) front: [Span; FRONT],
}

/// The result of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The length of the complete request in bytes.
    Whole(usize),
    /// The scan needs this number of bytes to continue.
    Short(usize),
    /// Bytes that are not a request (`*0`, an empty line).
    Blank(usize),
}

/// The limits for the requests of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// The maximum size of a request in bytes.
    pub(crate) request: usize,
    /// The client has not authenticated.
    pub(crate) stranger: bool,
}

impl Scan {
    /// Returns the number of arguments.
    pub(crate) const fn count(&self) -> usize {
        self.count
    }

    /// Returns `true` if no byte of the request was scanned.
    pub(crate) const fn is_new(&self) -> bool {
        self.at == 0
    }

    /// Continues the scan of a request that is an array.
    pub(crate) fn array(&mut self, input: &[u8], bounds: Bounds) -> Result<Step, Broken> {
        if self.at == 0 {
            match line(input, 1) {
                Line::Short => return Ok(Step::Short(input.len() + 1)),
                Line::Bad => return Err(Broken::Count(-1)),
                Line::Number(count, next) if count <= 0 => return Ok(Step::Blank(next)),
                Line::Number(count, next) => {
                    self.count = count_within(count, bounds)?;
                    self.at = next;
                }
            }
        }
        while self.seen < self.count {
            let (start, end) = match bulk(input, self.at, bounds)? {
                Bulk::Short => return Ok(Step::Short(input.len() + 1)),
                Bulk::At(start, end) => (start, end),
            };
            if end + 2 > bounds.request {
                return Err(Broken::TooLarge {
                    length: end as u64 + 2,
                    limit: bounds.request as u64,
                });
            }
            match input.get(end..end + 2) {
                Some(b"\r\n") => {}
                Some(_) => return Err(Broken::NoEnd),
                None => return Ok(Step::Short(end + 2)),
            }
            if let Some(place) = self.front.get_mut(self.seen) {
                *place = Span::new(start, end);
            }
            self.seen += 1;
            self.at = end + 2;
        }
        Ok(Step::Whole(self.at))
    }

    /// Continues the scan of an inline command. The arguments are found later by walking the line.
    pub(crate) fn line(&mut self, input: &[u8]) -> Result<Step, Broken> {
        let behind = input.get(self.at..).unwrap_or_default();
        let length = match memchr::memchr2(b'\n', 0, behind) {
            // Redis searches the line end as in a C string: after a NUL it would wait forever, and
            // block the requests of all other clients on a shared connection.
            Some(at) if behind.get(at) == Some(&0) => return Err(Broken::Nul),
            Some(at) => self.at + at + 1,
            None => {
                self.at = input.len();
                input.len()
            }
        };
        if length > INLINE_MAX {
            return Err(Broken::LongInline);
        }
        if self.at == input.len() {
            return Ok(Step::Short(input.len() + 1));
        }
        let text = input.get(..length).unwrap_or_default();
        let mut at = 0;
        while let Some((_, end)) = inline::next(text, at).map_err(|_| Broken::Quotes)? {
            self.count += 1;
            at = end;
        }
        Ok(if self.count == 0 {
            Step::Blank(length)
        } else {
            Step::Whole(length)
        })
    }

    /// Ends the scan with the bytes up to `cut`. The rest of the request is passed through.
    pub(crate) fn cut(
        &self,
        input: &[u8],
        cut: usize,
        bounds: Bounds,
    ) -> Result<(usize, Rest), Broken> {
        let rest = Rest {
            left: self.count - self.seen,
            open: None,
            total: 0,
        };
        let (end, open) = match bulk(input, self.at, bounds)? {
            // Never cut between an argument and its line end: the line end is checked when it
            // arrives.
            Bulk::At(start, end) if start <= cut => (cut.min(end), Some(end - cut.min(end))),
            _ => (self.at, None),
        };
        Ok((
            end,
            Rest {
                open,
                total: end,
                ..rest
            },
        ))
    }
}

/// The part of a large request that is passed through.
#[derive(Debug)]
pub(crate) struct Rest {
    /// The number of arguments that have not ended.
    left: usize,
    /// The number of bytes still due for the current argument; `None` before its header.
    open: Option<usize>,
    /// The bytes of this request up to now.
    total: usize,
}

impl Rest {
    /// Returns the number of bytes of `input` that belong to the request, and `true` if the request
    /// ends with them.
    pub(crate) fn take(&mut self, input: &[u8], bounds: Bounds) -> Result<(usize, bool), Broken> {
        let mut at = 0;
        while self.left > 0 {
            let due = match self.open {
                Some(due) => due,
                None => match bulk(input, at, bounds)? {
                    Bulk::Short => break,
                    Bulk::At(start, end) => {
                        let total = self.total.saturating_add(end + 2);
                        if total > bounds.request {
                            return Err(Broken::TooLarge {
                                length: total as u64,
                                limit: bounds.request as u64,
                            });
                        }
                        at = start;
                        end - start
                    }
                },
            };
            let have = input.len().saturating_sub(at);
            if have < due {
                at += have;
                self.open = Some(due - have);
                break;
            }
            at += due;
            self.open = Some(0);
            match input.get(at..at + 2) {
                Some(b"\r\n") => {}
                Some(_) => return Err(Broken::NoEnd),
                None => break,
            }
            at += 2;
            self.left -= 1;
            self.open = None;
        }
        self.total += at;
        Ok((at, self.left == 0))
    }
}

enum Bulk {
    Short,
    /// The start and the end of the contents.
    At(usize, usize),
}

/// Reads the header of an argument at `at`.
fn bulk(input: &[u8], at: usize, bounds: Bounds) -> Result<Bulk, Broken> {
    match input.get(at) {
        None => return Ok(Bulk::Short),
        Some(b'$') => {}
        Some(found) => return Err(Broken::NoDollar(*found)),
    }
    match line(input, at + 1) {
        Line::Short => Ok(Bulk::Short),
        Line::Bad => Err(Broken::Bulk(-1)),
        Line::Number(length, _) if !(0..=BULK_MAX).contains(&length) => Err(Broken::Bulk(length)),
        Line::Number(length, _) if bounds.stranger && length > STRANGER_BULK => {
            Err(Broken::StrangerBulk)
        }
        // At most 512 MiB: checked above.
        Line::Number(length, start) => Ok(Bulk::At(
            start,
            start + usize::try_from(length).unwrap_or(0),
        )),
    }
}

/// Returns the number of arguments, if a request with that number can be within the limit.
fn count_within(count: i64, bounds: Bounds) -> Result<usize, Broken> {
    if count > i64::from(i32::MAX) {
        return Err(Broken::Count(count));
    }
    if bounds.stranger && count > STRANGER_COUNT {
        return Err(Broken::StrangerCount);
    }
    // An argument needs at least six bytes: `$0\r\n\r\n`.
    let least = count.unsigned_abs().saturating_mul(6);
    if least > bounds.request as u64 {
        return Err(Broken::TooLarge {
            length: least,
            limit: bounds.request as u64,
        });
    }
    Ok(usize::try_from(count).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        request: 1 << 20,
        stranger: false,
    };

    fn scan(input: &[u8]) -> Result<Step, Broken> {
        let mut scan = Scan::default();
        if input.first() == Some(&b'*') {
            scan.array(input, BOUNDS)
        } else {
            scan.line(input)
        }
    }

    #[test]
    fn ends_are_found() {
        assert_eq!(scan(b"*1\r\n$4\r\nPING\r\n*1"), Ok(Step::Whole(14)));
        assert_eq!(scan(b"PING\nPING"), Ok(Step::Whole(5)));
        for (blank, length) in [
            (&b"*0\r\nx"[..], 4),
            (b"*-1\r\n", 5),
            (b"\r\n", 2),
            (b"\n", 1),
            (b"  \t\r\nx", 5),
        ] {
            assert_eq!(scan(blank), Ok(Step::Blank(length)), "{blank:?}");
        }
        assert_eq!(scan(b"*1\r\n$4\r\nPI"), Ok(Step::Short(14)));
        assert_eq!(scan(b"*1"), Ok(Step::Short(3)));
        assert_eq!(scan(b"PING"), Ok(Step::Short(5)));
    }

    #[test]
    fn what_redis_refuses_is_refused_in_its_words() {
        let text = |input: &[u8]| Broken::text(scan(input).unwrap_err().code()).unwrap().0;
        assert_eq!(text(b"*2147483648\r\n"), "invalid multibulk length");
        assert_eq!(text(b"*x\r\n"), "invalid multibulk length");
        assert_eq!(text(b"*1\r\n$-5\r\n"), "invalid bulk length");
        assert_eq!(text(b"*1\r\n$536870913\r\n"), "invalid bulk length");
        assert_eq!(text(b"*1\r\n:1\r\n"), "expected '$', got ");
        assert_eq!(text(b"*1\r\n$1\r\nabc"), "expected CRLF after bulk");
        assert_eq!(text(b"GET \"a\r\n"), "unbalanced quotes in request");
        assert_eq!(text(&[b'a'; INLINE_MAX + 1]), "too big inline request");
        assert_eq!(text(b"GET a\0b\r\n"), "invalid inline request");
        assert_eq!(text(b"*2000000000\r\n"), "too big request");
        assert_eq!(text(b"*1\r\n$2000000\r\n"), "too big request");
    }

    #[test]
    fn strangers_are_kept_short() {
        let bounds = Bounds {
            stranger: true,
            ..BOUNDS
        };
        assert_eq!(
            Scan::default().array(b"*11\r\n", bounds),
            Err(Broken::StrangerCount)
        );
        assert_eq!(
            Scan::default().array(b"*1\r\n$16385\r\n", bounds),
            Err(Broken::StrangerBulk)
        );
    }

    #[test]
    fn the_rest_of_a_large_request_is_found_however_it_is_cut() {
        let bytes = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$20\r\n01234567890123456789\r\n";
        for cut in 21..bytes.len() {
            for size in 1..bytes.len() {
                let mut scan = Scan::default();
                assert!(matches!(
                    scan.array(&bytes[..cut], BOUNDS),
                    Ok(Step::Short(_))
                ));
                let (mut at, mut rest) = scan.cut(&bytes[..cut], cut, BOUNDS).unwrap();
                let mut have = at;
                loop {
                    have = (have + size).min(bytes.len());
                    let (taken, end) = rest.take(&bytes[at..have], BOUNDS).unwrap();
                    at += taken;
                    if end {
                        break;
                    }
                    assert!(have < bytes.len());
                }
                assert_eq!(at, bytes.len());
            }
        }
    }
}
