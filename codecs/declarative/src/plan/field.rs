//! Fields of a compiled description, and conditions on them.

use meltemi_frame::Span;

use crate::number::{Number, digits};

/// The view of a message for reading its fields.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    pub wire: &'a [u8],
    pub words: &'a [Span],
    /// The end of the last word.
    pub line_end: usize,
}

impl<'a> View<'a> {
    pub(crate) const fn of(wire: &'a [u8]) -> Self {
        Self {
            wire,
            words: &[],
            line_end: 0,
        }
    }
}

/// The position of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Number(Number),
    Text {
        at: usize,
        size: usize,
    },
    Word {
        index: usize,
        rest: bool,
        digits: bool,
    },
}

impl Field {
    /// Returns the number of bytes that it needs from the front.
    pub(crate) const fn end(&self) -> usize {
        match self {
            Self::Number(number) => number.end(),
            Self::Text { at, size } => *at + *size,
            Self::Word { .. } => 0,
        }
    }

    pub(crate) const fn is_numeric(&self) -> bool {
        matches!(self, Self::Number(_) | Self::Word { digits: true, .. })
    }

    pub(crate) fn number(&self, view: View<'_>) -> Option<i64> {
        match self {
            Self::Number(number) => number.read(view.wire),
            Self::Word { digits: true, .. } => digits(self.span(view)?.of(view.wire)?),
            Self::Text { .. } | Self::Word { .. } => None,
        }
    }

    /// Returns the range of its text, without padding.
    pub(crate) fn span(&self, view: View<'_>) -> Option<Span> {
        match *self {
            Self::Number(_) => None,
            Self::Text { at, size } => {
                let bytes = view.wire.get(at..at + size)?;
                let filled = bytes
                    .iter()
                    .rev()
                    .take_while(|byte| matches!(byte, b' ' | 0))
                    .count();
                Some(Span::new(at, at + size - filled))
            }
            Self::Word { index, rest, .. } => {
                let word = view.words.get(index)?;
                let end = if rest {
                    view.line_end
                } else {
                    word.end as usize
                };
                Some(Span::new(word.start as usize, end))
            }
        }
    }
}

/// The condition that a field has one of some values.
#[derive(Clone, Debug)]
pub(crate) struct Test {
    pub field: Field,
    pub numbers: Box<[i64]>,
    pub texts: Box<[Box<[u8]>]>,
}

impl Test {
    pub(crate) fn passes(&self, view: View<'_>) -> bool {
        if self.field.is_numeric() {
            return self
                .field
                .number(view)
                .is_some_and(|number| self.numbers.contains(&number));
        }
        let text = self.field.span(view).and_then(|span| span.of(view.wire));
        text.is_some_and(|text| self.texts.iter().any(|other| **other == *text))
    }
}

pub(crate) fn all_pass(tests: &[Test], view: View<'_>) -> bool {
    tests.iter().all(|test| test.passes(view))
}
