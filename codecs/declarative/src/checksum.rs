//! CRC-32, and its change when a part of a message changes, without reading the rest.
//!
//! A rewritten id needs a new checksum, or real servers drop the message. The new checksum is
//! derived from the old one, and not computed from all bytes. That costs no time per byte of the
//! body, works while the body is still arriving, and keeps a damaged message recognisable as
//! damaged.

use crc32fast::Hasher;

/// Returns the checksum of `bytes`.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

/// Returns the difference (exclusive or) of a message's checksum when its beginning `old` becomes
/// `new`, with `behind` unchanged bytes after it. If both parts have the same length, the bytes
/// before them do not matter.
///
/// CRC is linear: crc(a ‖ b) = shift(crc(a), |b|) ⊕ crc(b), so crc(a′ ‖ b) differs from it by
/// shift(crc(a) ⊕ crc(a′), |b|).
pub(crate) fn change(old: &[u8], new: &[u8], behind: u64) -> u32 {
    let mut shifted = Hasher::new_with_initial(crc32(old) ^ crc32(new));
    shifted.combine(&Hasher::new_with_initial_len(0, behind));
    shifted.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_change_is_what_a_fresh_checksum_says(
            before: Vec<u8>, pair in prop::collection::vec(any::<(u8, u8)>(), 1..9), behind: Vec<u8>,
        ) {
            let (old, new): (Vec<u8>, Vec<u8>) = pair.into_iter().unzip();
            let whole = |part: &[u8]| crc32(&[&before, part, &behind].concat());
            prop_assert_eq!(whole(&old) ^ change(&old, &new, behind.len() as u64), whole(&new));
        }

        #[test]
        fn a_beginning_may_change_its_length(old: Vec<u8>, new: Vec<u8>, behind: Vec<u8>) {
            let whole = |part: &[u8]| crc32(&[part, &behind].concat());
            prop_assert_eq!(whole(&old) ^ change(&old, &new, behind.len() as u64), whole(&new));
        }
    }
}
