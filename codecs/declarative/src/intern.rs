//! Texts that live as long as the process: names that errors of the frame crate carry as `&'static
//! str`.
//!
//! Each distinct text is stored once, so that repeated reloads of a description need no more
//! memory.

use std::collections::BTreeSet;
use std::sync::{LazyLock, Mutex, PoisonError};

/// Returns the one static copy of `text`. Only for texts of descriptions, never for bytes from the
/// wire.
pub(crate) fn intern(text: &str) -> &'static str {
    static TEXTS: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut texts = TEXTS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = texts.get(text) {
        return known;
    }
    let lasting: &'static str = Box::leak(text.into());
    texts.insert(lasting);
    lasting
}

const WIDTH: usize = 4;

/// Returns the decimal text of a small number without an allocation: most codes, flags and
/// statuses.
pub(crate) fn decimal(number: i64) -> Option<&'static str> {
    static TABLE: LazyLock<String> = LazyLock::new(|| {
        (0..10_000).fold(
            String::with_capacity(WIDTH * 10_000),
            |mut table, number| {
                // Writing to a `String` cannot fail.
                let _ = std::fmt::Write::write_fmt(&mut table, format_args!("{number:<WIDTH$}"));
                table
            },
        )
    });
    let at = usize::try_from(number).ok()?.checked_mul(WIDTH)?;
    Some(TABLE.get(at..at.checked_add(WIDTH)?)?.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_kept_once() {
        let (a, b) = (intern("quill"), intern(&String::from("quill")));
        assert!(std::ptr::eq(a, b));
    }

    #[test]
    fn small_numbers_have_texts() {
        for number in [0, 7, 10, 255, 9999] {
            assert_eq!(decimal(number), Some(&*number.to_string()));
        }
        assert_eq!(decimal(10_000), None);
        assert_eq!(decimal(-1), None);
    }
}
