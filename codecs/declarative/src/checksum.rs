//! CRC-32, and how it changes when a part of a message does, without reading the rest.
//!
//! A rewritten id needs a new checksum, or real servers drop the message. It is derived from the old
//! one, not computed afresh: that costs nothing per byte of the body, works while the body is still
//! on its way, and a message that was damaged before it came here stays recognizably damaged.

use crc32fast::Hasher;

/// The checksum of `bytes`.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

/// By how much (exclusive or) the checksum of a message changes when its beginning `old` becomes
/// `new`, with `behind` unchanged bytes after it. For parts of equal length, what stands before
/// them does not matter.
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
