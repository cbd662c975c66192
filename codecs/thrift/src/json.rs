//! The JSON encoding: the front of a message, its end by counting brackets, the fields of a flat
//! struct, and strings. Values are converted only as far as routing needs them.

use meltemi_frame::Violation;

use crate::cursor::Stop;
use crate::dialect::Encoding;
use crate::envelope::{Envelope, MAX_NAME, bad_version, message_type};
use crate::scan::Progress;

const NOT_JSON: Violation = Violation::Invalid("not Thrift JSON");

/// Reads `[1,"name",type,seqid,` at `at` (`TJSONProtocol`). White space between tokens is allowed.
pub(crate) fn envelope(bytes: &[u8], at: usize) -> Result<Envelope, Stop> {
    let mut tokens = Tokens { bytes, at };
    tokens.expect(b'[')?;
    let (version, _) = tokens.integer()?;
    if version != 1 {
        return Err(bad_version(version));
    }
    tokens.expect(b',')?;
    let name = tokens.string(MAX_NAME)?;
    tokens.expect(b',')?;
    let (number, _) = tokens.integer()?;
    let kind = message_type(number)?;
    tokens.expect(b',')?;
    let (value, seq) = tokens.integer()?;
    let seqid = i32::try_from(value).map_err(|_| Violation::Length {
        field: "sequence id",
        value,
    })?;
    tokens.expect(b',')?;
    Ok(Envelope {
        encoding: Encoding::Json,
        kind,
        seqid,
        seq,
        name,
        body: tokens.at,
    })
}

/// The tokens of a JSON text, from a position on.
struct Tokens<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Tokens<'b> {
    fn short(&self) -> Stop {
        Stop::Short(self.bytes.len().saturating_add(1))
    }

    /// Returns the next byte that is not white space, without skipping it.
    fn peek(&mut self) -> Result<u8, Stop> {
        loop {
            match self.bytes.get(self.at) {
                Some(b' ' | b'\t' | b'\r' | b'\n') => self.at += 1,
                Some(byte) => return Ok(*byte),
                None => return Err(self.short()),
            }
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), Stop> {
        if self.peek()? != byte {
            return Err(NOT_JSON.into());
        }
        self.at += 1;
        Ok(())
    }

    /// Reads an integer. Returns it and its range. It is complete only if another byte follows.
    fn integer(&mut self) -> Result<(i64, (usize, usize)), Stop> {
        self.peek()?;
        let start = self.at;
        let rest = self.bytes.get(start..).unwrap_or_default();
        // An i64 has at most 20 characters.
        let length = rest
            .iter()
            .take(21)
            .take_while(|byte| byte.is_ascii_digit() || **byte == b'-')
            .count();
        if length == rest.len() {
            return Err(self.short());
        }
        let value = rest
            .get(..length)
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| digits.parse().ok())
            .ok_or(NOT_JSON)?;
        self.at = start + length;
        Ok((value, (start, self.at)))
    }

    /// Reads a string of at most `most` bytes. Returns its range without the quotes.
    fn string(&mut self, most: usize) -> Result<(usize, usize), Stop> {
        self.expect(b'"')?;
        let start = self.at;
        let mut escaped = false;
        loop {
            let byte = *self.bytes.get(self.at).ok_or_else(|| self.short())?;
            self.at += 1;
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => return Ok((start, self.at - 1)),
                _ => {}
            }
            if self.at - start > most {
                return Err(Stop::Bad(Violation::TooLarge {
                    length: (self.at - start) as u64,
                    limit: most as u64,
                }));
            }
        }
    }

    /// Skips a value of any kind.
    fn skip(&mut self) -> Result<&'b [u8], Stop> {
        let first = self.peek()?;
        let start = self.at;
        match first {
            b'[' | b'{' => {
                let mut brackets = Brackets::default();
                // A separate depth limit is not needed: the stack is at most as long as the
                // buffered bytes.
                brackets.start(start, usize::MAX);
                match brackets.advance(self.bytes)? {
                    Progress::Done(end) => self.at = end,
                    Progress::More(need) => return Err(Stop::Short(need)),
                }
            }
            b'"' => {
                self.string(usize::MAX)?;
            }
            _ => {
                let plain = |byte: &u8| !matches!(byte, b',' | b']' | b'}');
                let rest = self.bytes.get(start..).unwrap_or_default();
                self.at = start + rest.iter().take_while(|byte| plain(byte)).count();
            }
        }
        Ok(self.bytes.get(start..self.at).unwrap_or_default())
    }
}

/// Visits the fields of the struct at `at`, until `visit` returns `false`: their ids, and their
/// values as written (`{"i32":6}`).
pub(crate) fn fields(
    bytes: &[u8],
    at: usize,
    visit: &mut dyn FnMut(i64, &[u8]) -> bool,
) -> Result<(), Stop> {
    let mut tokens = Tokens { bytes, at };
    tokens.expect(b'{')?;
    if tokens.peek()? == b'}' {
        return Ok(());
    }
    loop {
        let (start, end) = tokens.string(16)?;
        let id = bytes
            .get(start..end)
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| digits.parse().ok())
            .ok_or(NOT_JSON)?;
        tokens.expect(b':')?;
        let value = tokens.skip()?;
        if !visit(id, value) || tokens.peek()? != b',' {
            return Ok(());
        }
        tokens.at += 1;
    }
}

/// Returns the id of the first field of the struct at `at`, without skipping its value.
pub(crate) fn first_field(bytes: &[u8], at: usize) -> Option<i64> {
    let mut tokens = Tokens { bytes, at };
    tokens.expect(b'{').ok()?;
    let (start, end) = tokens.string(16).ok()?;
    std::str::from_utf8(bytes.get(start..end)?)
        .ok()?
        .parse()
        .ok()
}

/// Returns the number in `{"i32":6}`.
pub(crate) fn i32_value(value: &[u8]) -> Option<i32> {
    let mut tokens = Tokens {
        bytes: value,
        at: 0,
    };
    tokens.expect(b'{').ok()?;
    tokens.string(16).ok()?;
    tokens.expect(b':').ok()?;
    let (number, _) = tokens.integer().ok()?;
    i32::try_from(number).ok()
}

/// Finds the end of a JSON text by its brackets. The scan continues as bytes arrive.
#[derive(Debug, Default)]
pub(crate) struct Brackets {
    at: usize,
    depth: usize,
    open: Vec<u8>,
    in_string: bool,
    escaped: bool,
}

impl Brackets {
    /// Starts at `at`, at an opening bracket. `depth` is the maximum nesting of brackets.
    pub(crate) fn start(&mut self, at: usize, depth: usize) {
        self.at = at;
        self.depth = depth;
        self.open.clear();
        self.in_string = false;
        self.escaped = false;
    }

    pub(crate) const fn at(&self) -> usize {
        self.at
    }

    /// Adjusts the positions after the caller removed `count` bytes from the front.
    pub(crate) const fn consumed(&mut self, count: usize) {
        self.at = self.at.saturating_sub(count);
    }

    /// Continues to the end of `bytes` or of the text.
    pub(crate) fn advance(&mut self, bytes: &[u8]) -> Result<Progress, Violation> {
        for byte in bytes.get(self.at..).unwrap_or_default() {
            self.at += 1;
            match *byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_string => self.escaped = true,
                b'"' => self.in_string = !self.in_string,
                _ if self.in_string => {}
                b'[' | b'{' => {
                    if self.open.len() >= self.depth {
                        return Err(Violation::Depth { limit: self.depth });
                    }
                    // The codes of `[` and `]`, and of `{` and `}`, differ by two in ASCII.
                    self.open.push(byte + 2);
                }
                b']' | b'}' => {
                    if self.open.pop() != Some(*byte) {
                        return Err(NOT_JSON);
                    }
                    if self.open.is_empty() {
                        return Ok(Progress::Done(self.at));
                    }
                }
                _ => {}
            }
        }
        Ok(Progress::More(self.at.saturating_add(1)))
    }
}

/// Decodes a string between quotes. Returns its bytes, and `true` if every server reads the same.
/// Bytes that are not UTF-8, unknown escapes and halves of a surrogate pair are replaced here.
pub(crate) fn unescape(raw: &[u8]) -> (Vec<u8>, bool) {
    let text = String::from_utf8_lossy(raw);
    let mut sure = matches!(text, std::borrow::Cow::Borrowed(_));
    let decode = |units: &[u16], sure: &mut bool| {
        *sure &= char::decode_utf16(units.iter().copied()).all(|char| char.is_ok());
        String::from_utf16_lossy(units)
    };
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    let mut units: Vec<u16> = Vec::new();
    while let Some(char) = chars.next() {
        let escape = if char == '\\' { chars.next() } else { None };
        if escape == Some('u') {
            let digits: String = chars.by_ref().take(4).collect();
            let unit = u16::from_str_radix(&digits, 16).ok();
            sure &= unit.is_some() && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            sure &= digits.len() == 4;
            units.push(unit.unwrap_or(0xfffd));
            continue;
        }
        // Surrogates are two escapes in a row, so units are collected until another byte follows.
        out.push_str(&decode(&units, &mut sure));
        units.clear();
        out.push(match escape {
            None => char,
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some(other) => {
                sure &= matches!(other, '"' | '\\' | '/');
                other
            }
        });
    }
    out.push_str(&decode(&units, &mut sure));
    (out.into_bytes(), sure)
}

/// Encodes `text` for use between quotes.
pub(crate) fn escape(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            char if char < ' ' => {
                // Writing to a `String` cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(char));
            }
            char => out.push(char),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_found_through_strings_and_escapes() {
        let text = br#"[1,"a]\"}",1,0,{"1":{"lst":["str",1,"x\\"]}}]"#;
        let mut brackets = Brackets::default();
        brackets.start(0, 8);
        for length in 0..text.len() {
            assert_eq!(
                brackets.advance(&text[..length]),
                Ok(Progress::More(length + 1))
            );
        }
        assert_eq!(brackets.advance(text), Ok(Progress::Done(text.len())));
    }

    #[test]
    fn brackets_must_match_and_may_not_nest_too_deep() {
        let mut brackets = Brackets::default();
        brackets.start(0, 4);
        assert_eq!(brackets.advance(b"[}"), Err(NOT_JSON));
        brackets.start(0, 4);
        assert_eq!(
            brackets.advance(b"[[[[["),
            Err(Violation::Depth { limit: 4 })
        );
    }

    #[test]
    fn strings_survive_escaping() {
        for text in ["plain", "q\"b\\n\nt\tc\u{1}", "h\u{e9} \u{1f600}"] {
            let plain = (text.as_bytes().to_vec(), true);
            assert_eq!(unescape(escape(text).as_bytes()), plain);
        }
        let pair = ("\u{1f600}x".as_bytes().to_vec(), true);
        assert_eq!(unescape(br"\ud83d\ude00x"), pair);
        for odd in [&br"\ud83dx"[..], br"\q", br"\u+03a", br"\u3a", b"\\n\xff"] {
            assert!(!unescape(odd).1, "{}", odd.escape_ascii());
        }
    }

    #[test]
    fn fields_are_visited() {
        let text = br#"{"1":{"str":"a}"},"2":{"i32":6}}"#;
        let mut found = Vec::new();
        fields(text, 0, &mut |id, value| {
            found.push((id, i32_value(value)));
            true
        })
        .unwrap();
        assert_eq!(found, [(1, None), (2, Some(6))]);
        assert_eq!(first_field(text, 0), Some(1));
        assert_eq!(first_field(b"{}", 0), None);
    }
}
