//! The failure of a check: sample, byte position, and difference.

use std::fmt;

/// A violation of a codec's contract.
#[derive(Clone, PartialEq, Eq)]
pub struct Failure(String);

impl Failure {
    /// Creates a failure with a text of one or more lines.
    pub fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }

    /// Adds the place where the failure occurred.
    #[must_use]
    pub fn within(self, place: impl fmt::Display) -> Self {
        Self(format!("{place}: {}", self.0))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A failed test prints its `Err` with `Debug`: the text, without quotes and escapes.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

/// The result of a check.
pub type Verdict = Result<(), Failure>;

/// Fails unless the condition holds.
macro_rules! ensure {
    ($holds:expr, $($what:tt)+) => {
        if !$holds {
            return Err($crate::Failure::new(format!($($what)+)));
        }
    };
}
pub(crate) use ensure;

/// Formats bytes for messages: escaped ASCII, with the middle of long data left out.
pub(crate) fn show(bytes: &[u8]) -> String {
    const EDGE: usize = 48;
    let (front, back) = match bytes.len() {
        0..=128 => (bytes, &[][..]),
        length => (
            bytes.get(..EDGE).unwrap_or_default(),
            bytes.get(length - EDGE..).unwrap_or_default(),
        ),
    };
    if back.is_empty() {
        format!("b\"{}\"", front.escape_ascii())
    } else {
        format!(
            "b\"{}\" … b\"{}\" ({} bytes)",
            front.escape_ascii(),
            back.escape_ascii(),
            bytes.len()
        )
    }
}

/// Describes the first position at which two byte strings differ.
pub(crate) fn difference(want: &[u8], got: &[u8]) -> String {
    let at = want
        .iter()
        .zip(got)
        .position(|(a, b)| a != b)
        .unwrap_or(want.len().min(got.len()));
    let from = |bytes: &[u8]| show(bytes.get(at..).unwrap_or_default());
    format!(
        "they differ at byte {at} ({} bytes wanted, {} got)\n  wanted from there: {}\n  got from there:    {}",
        want.len(),
        got.len(),
        from(want),
        from(got)
    )
}

/// Returns the message of a caught panic.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    text.unwrap_or_else(|| "(no text)".to_owned())
}
