//! Inline commands: arguments separated by spaces, quoted as in Redis (`sdssplitargs`). It must not
//! depend on commands: it sees one line.

use std::borrow::Cow;

use meltemi_frame::Span;

/// One argument of an inline command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'b> {
    /// The argument is a literal part of the line.
    Plain(Span),
    /// The argument has escapes inside quotes, or quotes in the middle.
    Built(Cow<'b, [u8]>),
}

/// The line has a quote that is not closed, or a character directly after a closing quote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unbalanced;

/// Returns the same result as `isspace` in C.
const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// Returns `true` for a byte that ends an unquoted argument. These are fewer bytes than in
/// `isspace`, as in Redis.
const fn is_end(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Reads the argument at or after `at`. Returns it and its end. `None` at the end of the line.
pub(crate) fn next(wire: &[u8], at: usize) -> Result<Option<(Piece<'_>, usize)>, Unbalanced> {
    let mut start = at;
    while wire.get(start).is_some_and(|byte| is_space(*byte)) {
        start += 1;
    }
    if start >= wire.len() {
        return Ok(None);
    }
    let mut end = start;
    loop {
        match wire.get(end) {
            None => break,
            Some(b'"' | b'\'') => return quoted(wire, start).map(Some),
            Some(byte) if is_end(*byte) => break,
            Some(_) => end += 1,
        }
    }
    Ok(Some((Piece::Plain(Span::new(start, end)), end)))
}

/// Reads an argument that has a quote.
fn quoted(wire: &[u8], start: usize) -> Result<(Piece<'_>, usize), Unbalanced> {
    let mut value = Vec::new();
    let mut at = start;
    let mut quote = None;
    // The span of the contents, while they are one literal piece.
    let mut plain = None;
    loop {
        let byte = wire.get(at).copied();
        match (quote, byte) {
            (None, None) => break,
            (None, Some(byte)) if is_end(byte) => break,
            (None, Some(byte @ (b'"' | b'\''))) => {
                quote = Some(byte);
                plain = (at == start).then_some(at + 1);
            }
            (None, Some(byte)) => value.push(byte),
            (Some(_), None) => return Err(Unbalanced),
            (Some(open), Some(byte)) if byte == open => {
                // A closing quote must be followed by a space or by the end of the line.
                if wire.get(at + 1).is_some_and(|byte| !is_space(*byte)) {
                    return Err(Unbalanced);
                }
                let piece = match plain {
                    Some(from) => Piece::Plain(Span::new(from, at)),
                    None => Piece::Built(Cow::Owned(value)),
                };
                return Ok((piece, at + 1));
            }
            (Some(open), Some(b'\\')) => {
                let (byte, length) = escape(wire.get(at + 1..).unwrap_or_default(), open);
                if length > 0 {
                    plain = None;
                }
                value.push(byte);
                at += length;
            }
            (Some(_), Some(byte)) => value.push(byte),
        }
        at += 1;
    }
    Ok((Piece::Built(Cow::Owned(value)), at))
}

/// Returns the byte that an escape stands for, and the number of bytes it uses after the backslash.
/// In single quotes only `\'` is an escape.
fn escape(behind: &[u8], quote: u8) -> (u8, usize) {
    let hex = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    match (quote, behind) {
        (b'\'', [b'\'', ..]) => (b'\'', 1),
        (b'\'', _) | (_, []) => (b'\\', 0),
        (_, [b'x', high, low, ..]) if hex(*high).is_some() && hex(*low).is_some() => {
            let digit = |byte| hex(byte).unwrap_or_default();
            (digit(*high) << 4 | digit(*low), 3)
        }
        (_, [byte, ..]) => {
            let byte = match byte {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'b' => 0x08,
                b'a' => 0x07,
                other => *other,
            };
            (byte, 1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &[u8]) -> Result<Vec<Vec<u8>>, Unbalanced> {
        let mut all = Vec::new();
        let mut at = 0;
        while let Some((piece, end)) = next(line, at)? {
            all.push(match piece {
                Piece::Plain(span) => span.of(line).unwrap().to_vec(),
                Piece::Built(value) => value.into_owned(),
            });
            at = end;
        }
        Ok(all)
    }

    #[test]
    fn arguments_are_split_as_redis_splits_them() {
        let same = |line: &str, want: &[&[u8]]| {
            assert_eq!(split(line.as_bytes()).unwrap(), want, "{line}");
        };
        same("  GET  k \r\n", &[b"GET", b"k"]);
        same(r#"SET iq "a b\x41\n""#, &[b"SET", b"iq", b"a bA\n"]);
        same(r#"a "b c" 'd e' """#, &[b"a", b"b c", b"d e", b""]);
        same(r"x 'it\'s \n'", &[b"x", br"it's \n"]);
        same(r#"k"ey""#, &[b"key"]);
        same(r#""\q\xzz\"""#, &[b"qxzz\""]);
        same("", &[]);
        same("\x0b\t", &[]);
        same("\x0ba\x0bb c", &[b"a\x0bb", b"c"]);
    }

    #[test]
    fn unbalanced_quotes_are_refused() {
        for line in [r#"a "b"#, "a 'b", r#"a "b"c"#, r#""\"#, r#""a\""#, "'a''"] {
            assert_eq!(split(line.as_bytes()), Err(Unbalanced), "{line}");
        }
    }

    #[test]
    fn plain_quotes_are_not_copied() {
        let line = br#""b c""#;
        assert_eq!(
            next(line, 0).unwrap().unwrap().0,
            Piece::Plain(Span::new(1, 4))
        );
    }
}
