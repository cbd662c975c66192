//! Whether stretches of bytes are the same.

/// Whether two stretches of bytes are the same, where either is often empty. Nothing is not compared: an
/// empty slice may point to where no memory is, and with vector instructions that hide what is beyond
/// the end, looking there costs a detour through microcode, a hundred times the comparison.
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
