//! What requests and replies carry: sixteen hexadecimal digits that no other request has, and then
//! letters. So every reply tells whose it is, and every byte of it can be checked.

/// How many bytes the tag takes: the least size of a payload.
pub const TAG: usize = 16;

/// Payloads of one size.
#[derive(Clone, Debug)]
pub struct Payload {
    letters: Vec<u8>,
}

impl Payload {
    /// Payloads of `size` bytes, but at least a tag.
    pub fn new(size: usize) -> Self {
        let letters = (TAG..size).map(|at| b'a' + (at % 26) as u8).collect();
        Self { letters }
    }

    /// How many bytes one has.
    pub fn size(&self) -> usize {
        TAG + self.letters.len()
    }

    /// Appends the payload of `tag`.
    pub fn put(&self, tag: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&hexadecimal(tag));
        out.extend_from_slice(&self.letters);
    }

    /// Whether `bytes` are the payload of `tag`.
    pub fn is(&self, tag: u64, bytes: &[u8]) -> bool {
        bytes
            .split_at_checked(TAG)
            .is_some_and(|(front, letters)| front == hexadecimal(tag) && letters == self.letters)
    }
}

/// Sixteen hexadecimal digits.
pub fn hexadecimal(tag: u64) -> [u8; TAG] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    std::array::from_fn(|at| DIGITS[(tag >> (60 - 4 * at)) as usize & 15])
}

/// Reads what [`hexadecimal`] writes.
pub fn tag_of(digits: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_its_own_and_no_other() {
        for size in [16, 17, 32, 1024] {
            let payload = Payload::new(size);
            let mut bytes = Vec::new();
            payload.put(0xbeef, &mut bytes);
            assert_eq!(bytes.len(), size);
            assert!(payload.is(0xbeef, &bytes) && !payload.is(0xbeee, &bytes));
            assert_eq!(tag_of(&bytes[..TAG]), Some(0xbeef));
            assert!(!payload.is(0xbeef, &bytes[..size - 1]));
        }
    }
}
