//! Why a check failed: which sample, at which byte, and what differed.

use std::fmt;

/// A broken promise of a codec.
#[derive(Clone, PartialEq, Eq)]
pub struct Failure(String);

impl Failure {
    /// A failure told in one or more lines.
    pub fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }

    /// The same failure, and where it was seen.
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

/// A failed test shows its `Err` by `Debug`: the text, without quotes and escapes.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

/// What a check says.
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

/// Bytes as text, for messages: escaped ASCII, the middle left out when they are many.
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

/// Where two byte strings part, with what stands there.
pub(crate) fn difference(want: &[u8], got: &[u8]) -> String {
    let at = want
        .iter()
        .zip(got)
        .position(|(a, b)| a != b)
        .unwrap_or(want.len().min(got.len()));
    let from = |bytes: &[u8]| show(bytes.get(at..).unwrap_or_default());
    format!(
        "they part at byte {at} ({} bytes wanted, {} got)\n  wanted from there: {}\n  got from there:    {}",
        want.len(),
        got.len(),
        from(want),
        from(got)
    )
}

/// What a caught panic said.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    text.unwrap_or_else(|| "(no text)".to_owned())
}
