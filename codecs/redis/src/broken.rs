//! The framing errors of requests, and the error text that Redis sends for each before it closes.
//! It must not depend on wire bytes.

use meltemi_frame::Violation;

/// The maximum length of an inline command in bytes (`PROTO_INLINE_MAX_SIZE`). A longer one is
/// refused.
pub(crate) const INLINE_MAX: usize = 64 << 10;

/// A framing error of a request. [`Broken::text`] is the error text that Redis sends before it
/// closes.
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
    /// Returns a code that fits in a receipt.
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

    /// Returns the error text that Redis sends for a code. The second value is the byte found
    /// instead of `$`.
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
            Self::StrangerBulk => {
                Violation::Invalid("an argument is too large before authentication")
            }
            Self::TooLarge { length, limit } => Violation::TooLarge { length, limit },
        }
    }
}
