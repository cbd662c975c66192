//! What breaks the framing of a request, and what Redis says of it before it closes. It knows no bytes.

use meltemi_frame::Violation;

/// An inline command longer than this is refused (`PROTO_INLINE_MAX_SIZE`).
pub(crate) const INLINE_MAX: usize = 64 << 10;

/// What breaks the framing of a request; [`Broken::text`] is what Redis says before it closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    Count(i64),
    Bulk(i64),
    NoDollar(u8),
    NoEnd,
    Quotes,
    LongInline,
    Nul,
    StrangerCount,
    StrangerBulk,
    TooLarge { length: u64, limit: u64 },
}

impl Broken {
    /// A number that fits a receipt.
    pub(crate) const fn code(self) -> u64 {
        match self {
            Self::Count(_) => 1,
            Self::Bulk(_) => 2,
            Self::NoDollar(found) => 3 | (found as u64) << 8,
            Self::NoEnd => 4,
            Self::Quotes => 5,
            Self::LongInline => 6,
            Self::Nul => 7,
            Self::StrangerCount => 8,
            Self::StrangerBulk => 9,
            Self::TooLarge { .. } => 10,
        }
    }

    /// What Redis says, by the code; the byte that was found instead of `$` is the second value.
    pub(crate) const fn text(code: u64) -> Option<(&'static str, Option<u8>)> {
        let text = match code & 0xff {
            1 => "invalid multibulk length",
            2 => "invalid bulk length",
            3 => return Some(("expected '$', got ", Some((code >> 8) as u8))),
            4 => "expected CRLF after bulk",
            5 => "unbalanced quotes in request",
            6 => "too big inline request",
            7 => "invalid inline request",
            8 => "unauthenticated multibulk length",
            9 => "unauthenticated bulk length",
            10 => "too big request",
            _ => return None,
        };
        Some((text, None))
    }

    pub(crate) const fn violation(self) -> Violation {
        match self {
            Self::Count(value) => Violation::Length {
                field: "the number of arguments",
                value,
            },
            Self::Bulk(value) => Violation::Length {
                field: "the length of an argument",
                value,
            },
            Self::NoDollar(_) => Violation::Invalid("an argument does not start with $"),
            Self::NoEnd => Violation::Invalid("an argument does not end with CRLF"),
            Self::Quotes => Violation::Invalid("unbalanced quotes in an inline command"),
            Self::LongInline => Violation::TooLarge {
                length: INLINE_MAX as u64 + 1,
                limit: INLINE_MAX as u64,
            },
            Self::Nul => Violation::Invalid("a NUL byte in an inline command"),
            Self::StrangerCount => Violation::Invalid("too many arguments before authentication"),
            Self::StrangerBulk => Violation::Invalid("too large an argument before authentication"),
            Self::TooLarge { length, limit } => Violation::TooLarge { length, limit },
        }
    }
}
