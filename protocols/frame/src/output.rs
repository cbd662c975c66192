//! The output buffer of a connection.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

/// The size in bytes from which unwritten data may become a part of its own. A buffer that is never
/// written completely would grow to twice the unwritten data, and move all of it each time.
const PART: usize = 512 << 10;

/// Reserved bytes whose value is known only after the following bytes (a length).
#[derive(Debug)]
#[must_use = "a hole that is not filled goes out as zeros"]
pub struct Placeholder {
    at: usize,
    length: usize,
}

/// An output buffer. `encode` and `synthesize` append to it, and a connection writes from it. All
/// data is copied into it, whatever its size: shared buffers were measured, and gained nothing for
/// the data of one read (`docs/adr/0011`).
#[derive(Debug, Default)]
pub struct Output {
    /// Data before `tail`, if there is much of it.
    full: Option<Box<Full>>,
    tail: BytesMut,
}

/// Parts that are complete.
#[derive(Debug, Default)]
struct Full {
    parts: VecDeque<Bytes>,
    bytes: usize,
}

impl Output {
    /// Creates an empty buffer without memory.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a copy of `bytes`.
    #[inline]
    pub fn put(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
    }

    /// Marks a point between two messages, where no hole is open and nothing will be truncated.
    /// After a large amount of data, the next bytes go to separate memory. Memory is then freed in
    /// parts as data is written.
    #[inline]
    pub fn part(&mut self) {
        if self.tail.len() >= PART {
            let full = self.full.get_or_insert_default();
            full.bytes += self.tail.len();
            full.parts
                .push_back(std::mem::take(&mut self.tail).freeze());
        }
    }

    fn full_bytes(&self) -> usize {
        self.full.as_ref().map_or(0, |full| full.bytes)
    }

    /// Reserves `length` bytes. Fill them with [`Output::fill`].
    pub fn hole(&mut self, length: usize) -> Placeholder {
        let at = self.tail.len();
        self.tail.resize(at + length, 0);
        Placeholder { at, length }
    }

    /// Returns the number of bytes that were put after `hole`, the hole itself not counted.
    pub fn since(&self, hole: &Placeholder) -> usize {
        self.tail.len().saturating_sub(hole.at + hole.length)
    }

    /// Fills a hole. Bytes past its length are ignored.
    pub fn fill(&mut self, hole: Placeholder, bytes: &[u8]) {
        if let Some(place) = self.tail.get_mut(hole.at..hole.at + hole.length) {
            for (to, from) in place.iter_mut().zip(bytes) {
                *to = *from;
            }
        }
    }

    /// Removes everything that was put since the buffer had `length` bytes. Nothing may have been
    /// written since.
    pub fn truncate(&mut self, length: usize) {
        let before = self.full_bytes();
        self.tail.truncate(length.saturating_sub(before));
    }

    /// Returns the number of unwritten bytes.
    pub fn len(&self) -> usize {
        self.full_bytes() + self.tail.len()
    }

    /// Returns `true` if there are no unwritten bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how much memory the buffer keeps for later use, in bytes.
    pub fn capacity(&self) -> usize {
        self.full_bytes() + self.tail.capacity()
    }

    /// Frees the memory of an empty buffer that grew past `keep` bytes.
    pub fn shrink(&mut self, keep: usize) {
        if self.is_empty() && self.tail.capacity() > keep {
            self.tail = BytesMut::new();
        }
    }

    /// Takes all data out as one buffer.
    pub fn drain(&mut self) -> Bytes {
        let Some(full) = self.full.take() else {
            return self.tail.split().freeze();
        };
        let mut whole = BytesMut::with_capacity(full.bytes + self.tail.len());
        for part in &full.parts {
            whole.extend_from_slice(part);
        }
        whole.extend_from_slice(&self.tail);
        self.tail.clear();
        whole.freeze()
    }
}

/// The reading half, for the code that writes the bytes to a socket.
impl Buf for Output {
    fn remaining(&self) -> usize {
        self.len()
    }

    fn chunk(&self) -> &[u8] {
        let first = self.full.as_ref().and_then(|full| full.parts.front());
        first.map_or(&self.tail, |first| first)
    }

    fn advance(&mut self, mut count: usize) {
        if let Some(full) = &mut self.full {
            count = full.advance(count);
            if full.parts.is_empty() {
                self.full = None;
            }
        }
        if count >= self.tail.len() {
            // Keeps the capacity: an output that drains fully is reused without allocation.
            self.tail.clear();
        } else {
            self.tail.advance(count);
        }
    }
}

impl Full {
    /// Frees the parts that were written. Returns how much of `count` is after these parts.
    fn advance(&mut self, mut count: usize) -> usize {
        while let Some(first) = self.parts.front_mut() {
            let here = count.min(first.len());
            first.advance(here);
            self.bytes -= here;
            count -= here;
            if !first.is_empty() {
                break;
            }
            self.parts.pop_front();
        }
        count
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

    #[test]
    fn a_buffer_that_is_never_empty_takes_little_more_than_what_waits() {
        let mut out = Output::new();
        for _ in 0..1000 {
            out.part();
            out.put(&[0; 64 << 10]);
            if out.len() > 8 << 20 {
                out.advance(64 << 10);
            }
            assert!(out.capacity() <= out.len() + 2 * PART);
        }
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out_in_order(
            parts in prop::collection::vec((0usize..700_000, any::<bool>()), 0..8),
            step in 1usize..900_000,
            back in 0usize..50,
        ) {
            let mut out = Output::new();
            let mut expected = Vec::new();
            for (n, (length, part)) in parts.into_iter().enumerate() {
                let bytes = vec![n as u8; length];
                expected.extend_from_slice(&bytes);
                if part {
                    out.part();
                }
                out.put(&bytes);
                let whole = out.len();
                out.put(&vec![9; back]);
                out.truncate(whole);
            }
            prop_assert_eq!(out.len(), expected.len());
            let mut got = Vec::new();
            while out.has_remaining() {
                let take = step.min(out.chunk().len());
                got.extend_from_slice(&out.chunk()[..take]);
                out.advance(take);
                if got.len() > 1_500_000 {
                    got.extend_from_slice(&out.drain());
                }
            }
            prop_assert!(got == expected);
            prop_assert!(out.is_empty() && out.full.is_none());
        }
    }
}
