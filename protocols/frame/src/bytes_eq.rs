//! Comparison of byte slices that are often empty.

/// Returns `true` if two slices have the same bytes. Use it where either slice is often empty: an
/// empty slice may point to unmapped memory, and a masked vector load from there takes a detour
/// through microcode, a hundred times slower than the comparison. So empty slices are not read.
pub fn bytes_eq(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && (one.is_empty() || one == other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_compared_and_nothing_is_nothing() {
        assert!(bytes_eq(b"", b"") && bytes_eq(b"a", b"a"));
        assert!(!bytes_eq(b"", b"a") && !bytes_eq(b"a", b"b") && !bytes_eq(b"ab", b"a"));
    }
}
