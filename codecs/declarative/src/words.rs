//! Delimited messages: finds the words, and `name=value` pairs among them.

use std::borrow::Cow;
use std::ops::ControlFlow;

use meltemi_frame::{Entry, Span, Walk};

use crate::plan::MAX_WORDS;

/// The words of one line.
#[derive(Debug)]
pub(crate) struct Words {
    spans: [Span; MAX_WORDS],
    count: usize,
}

impl Words {
    pub(crate) fn as_slice(&self) -> &[Span] {
        self.spans.get(..self.count).unwrap_or_default()
    }

    /// Splits `line`, the front of a message. Several blanks and tabs in a row are one separator.
    pub(crate) fn of(line: &[u8], separator: u8) -> Self {
        let mut words = Self {
            spans: [Span::default(); MAX_WORDS],
            count: 0,
        };
        let blank = is_blank(separator);
        let mut at = 0;
        while words.count < MAX_WORDS {
            let rest = line.get(at..).unwrap_or_default();
            if blank {
                let skip = rest.iter().take_while(|byte| **byte == separator).count();
                at += skip;
                if at >= line.len() {
                    break;
                }
            }
            let rest = line.get(at..).unwrap_or_default();
            let length = memchr::memchr(separator, rest);
            let end = at + length.unwrap_or(rest.len());
            if let Some(span) = words.spans.get_mut(words.count) {
                *span = Span::new(at, end);
            }
            words.count += 1;
            if length.is_none() {
                break;
            }
            at = end + 1;
        }
        words
    }
}

const fn is_blank(separator: u8) -> bool {
    matches!(separator, b' ' | b'\t')
}

/// Returns a walk over the `name=value` words of a region. Words without `=` have an empty value.
/// `None` for separators that the language does not allow for it.
pub(crate) fn walk(separator: u8) -> Option<Walk> {
    Some(match separator {
        b' ' => pairs::<b' '>,
        b'\t' => pairs::<b'\t'>,
        b',' => pairs::<b','>,
        b';' => pairs::<b';'>,
        b'|' => pairs::<b'|'>,
        b'&' => pairs::<b'&'>,
        _ => return None,
    })
}

fn pairs<'b, const SEPARATOR: u8>(
    wire: &'b [u8],
    region: Span,
    visit: &mut dyn FnMut(Entry<'b>) -> ControlFlow<()>,
) {
    let words = region
        .of(wire)
        .unwrap_or_default()
        .split(|byte| *byte == SEPARATOR);
    for word in words.filter(|word| !word.is_empty()) {
        let (name, value) = match memchr::memchr(b'=', word) {
            Some(at) => (word.get(..at), word.get(at + 1..)),
            None => (Some(word), None),
        };
        let borrowed = |bytes: Option<&'b [u8]>| Cow::Borrowed(bytes.unwrap_or_default());
        if visit(Entry {
            name: borrowed(name),
            value: borrowed(value),
        })
        .is_break()
        {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str, separator: u8) -> Vec<&str> {
        let words = Words::of(line.as_bytes(), separator);
        let text = |span: &Span| std::str::from_utf8(span.of(line.as_bytes()).unwrap()).unwrap();
        words.as_slice().iter().map(text).collect()
    }

    #[test]
    fn blanks_in_a_row_are_one_and_bars_are_not() {
        assert_eq!(words("  GET  17 a=b ", b' '), ["GET", "17", "a=b"]);
        assert_eq!(words("GET||17|", b'|'), ["GET", "", "17", ""]);
        assert_eq!(words("", b' '), Vec::<&str>::new());
        assert_eq!(words(&"x ".repeat(40), b' ').len(), MAX_WORDS);
    }

    #[test]
    fn pairs_are_walked() {
        let line = b"GET 17 a=b c d=e=f";
        let mut all = Vec::new();
        walk(b' ').unwrap()(line, Span::new(7, line.len()), &mut |entry| {
            all.push((entry.name.to_vec(), entry.value.to_vec()));
            ControlFlow::Continue(())
        });
        let pair = |name: &[u8], value: &[u8]| (name.to_vec(), value.to_vec());
        assert_eq!(all, [pair(b"a", b"b"), pair(b"c", b""), pair(b"d", b"e=f")]);
    }
}
