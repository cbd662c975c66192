//! The data of a request that a codec keeps to answer it later.

/// The data of a request that a codec keeps to answer it later: the id, some bits, and at most one
/// name. Names of up to 38 bytes are stored inline, so that the common case does not allocate
/// memory.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ReplyContext {
    /// The correlation id as the caller wrote it.
    pub id: Option<i64>,
    /// The codec's own notes.
    pub bits: u64,
    /// A name that the response must repeat.
    pub name: SmallBytes,
}

impl ReplyContext {
    /// Creates a context with only an id.
    pub fn new(id: Option<i64>) -> Self {
        Self {
            id,
            ..Self::default()
        }
    }
}

const INLINE: usize = 38;

/// A byte string. A short one needs no allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmallBytes(Repr);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Repr {
    Inline(u8, [u8; INLINE]),
    Heap(Box<[u8]>),
}

impl Default for SmallBytes {
    fn default() -> Self {
        Self(Repr::Inline(0, [0; INLINE]))
    }
}

impl SmallBytes {
    /// Copies `bytes`.
    pub fn new(bytes: &[u8]) -> Self {
        let mut inline = [0; INLINE];
        match (inline.get_mut(..bytes.len()), u8::try_from(bytes.len())) {
            (Some(front), Ok(length)) => {
                front.copy_from_slice(bytes);
                Self(Repr::Inline(length, inline))
            }
            _ => Self(Repr::Heap(bytes.into())),
        }
    }

    /// Returns the bytes.
    pub fn as_slice(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline(length, bytes) => bytes.get(..usize::from(*length)).unwrap_or_default(),
            Repr::Heap(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_names_come_back_whole() {
        for length in [0, 1, INLINE - 1, INLINE, INLINE + 1, 300] {
            let bytes: Vec<u8> = (0..length).map(|i| i as u8).collect();
            assert_eq!(SmallBytes::new(&bytes).as_slice(), bytes);
        }
    }
}
