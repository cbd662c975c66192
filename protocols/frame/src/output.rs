//! Bytes on their way out.

use bytes::{Buf, Bytes, BytesMut};

/// A place for bytes that are known only after what follows them (a length).
#[derive(Debug)]
#[must_use = "a hole that is not filled goes out as zeros"]
pub struct Hole {
    at: usize,
    length: usize,
}

/// An output buffer: what `encode` and `synthesize` append to, and a connection writes from. Everything is
/// copied into it, however large: sharing buffers instead was measured, and cost more up to 64 KiB,
/// which is the most that one read brings (`docs/adr/0011`).
#[derive(Debug, Default)]
pub struct Output(BytesMut);

impl Output {
    /// An empty buffer that owns no memory yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a copy of `bytes`.
    #[inline]
    pub fn put(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Leaves room for `length` bytes, to be filled by [`Output::fill`].
    pub fn hole(&mut self, length: usize) -> Hole {
        let at = self.0.len();
        self.0.resize(at + length, 0);
        Hole { at, length }
    }

    /// How many bytes were put since `hole` was left, the hole itself not counted.
    pub fn since(&self, hole: &Hole) -> usize {
        self.0.len().saturating_sub(hole.at + hole.length)
    }

    /// Fills a hole. Bytes past its length are left out.
    pub fn fill(&mut self, hole: Hole, bytes: &[u8]) {
        if let Some(place) = self.0.get_mut(hole.at..hole.at + hole.length) {
            for (to, from) in place.iter_mut().zip(bytes) {
                *to = *from;
            }
        }
    }

    /// Takes back everything that was put since the buffer had `length` bytes, as long as nothing was
    /// written since.
    pub fn truncate(&mut self, length: usize) {
        self.0.truncate(length);
    }

    /// How many bytes wait.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How much memory the buffer keeps for later use.
    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// Gives back the memory of an empty buffer that grew past `keep` bytes.
    pub fn shrink(&mut self, keep: usize) {
        if self.is_empty() && self.0.capacity() > keep {
            self.0 = BytesMut::new();
        }
    }

    /// Takes everything out as one buffer.
    pub fn drain(&mut self) -> Bytes {
        self.0.split().freeze()
    }
}

/// The reading half, for whoever writes the bytes to a socket.
impl Buf for Output {
    fn remaining(&self) -> usize {
        self.0.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.0
    }

    fn advance(&mut self, count: usize) {
        if count >= self.0.len() {
            // Keeps the capacity: an output that drains fully is reused without allocation.
            self.0.clear();
        } else {
            self.0.advance(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_hole_is_filled_in_place() {
        let mut out = Output::new();
        out.put(b"ab");
        let hole = out.hole(2);
        out.put(b"xyz");
        assert_eq!(out.since(&hole), 3);
        out.fill(hole, &3u16.to_be_bytes());
        assert_eq!(&out.drain()[..], b"ab\x00\x03xyz");
    }

    #[test]
    fn a_drained_buffer_keeps_its_memory_until_shrunk() {
        let mut out = Output::new();
        out.put(&[0; 5000]);
        out.advance(5000);
        assert!(out.is_empty() && out.capacity() >= 5000);
        out.shrink(4096);
        assert_eq!(out.capacity(), 0);
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out_in_order(
            parts in prop::collection::vec(0usize..40_000, 0..8),
            step in 1usize..50_000,
        ) {
            let mut out = Output::new();
            let mut expected = Vec::new();
            for (n, length) in parts.into_iter().enumerate() {
                let bytes = vec![n as u8; length];
                expected.extend_from_slice(&bytes);
                out.put(&bytes);
            }
            prop_assert_eq!(out.len(), expected.len());
            let mut got = Vec::new();
            while out.has_remaining() {
                let take = step.min(out.chunk().len());
                got.extend_from_slice(&out.chunk()[..take]);
                out.advance(take);
            }
            prop_assert_eq!(got, expected);
        }
    }
}
