//! Bytes on their way out: small ones are copied together, large ones are chained.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

/// From this size on a shared buffer is chained rather than copied. Below 8 to 16 KiB copying
/// is cheaper than another entry in a vectored write.
pub const CHAIN_FROM: usize = 16 << 10;

/// From this size on what was copied together is a part of its own, where it may be: a buffer that is
/// never written out whole would grow to twice what waits, and move all of it each time.
const PART: usize = 512 << 10;

/// A place for bytes that are known only after what follows them (a length).
/// Valid until the next [`Output::share`].
#[derive(Debug)]
#[must_use = "a hole that is not filled goes out as zeros"]
pub struct Hole {
    at: usize,
    length: usize,
}

/// An output buffer: what `encode` and `synthesize` append to, and a connection writes from.
#[derive(Debug, Default)]
pub struct Output {
    chained: VecDeque<Bytes>,
    chained_bytes: usize,
    tail: BytesMut,
}

impl Output {
    /// An empty buffer that owns no memory yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a copy of `bytes`.
    pub fn put(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
    }

    /// Appends a shared buffer: copied when small, chained when large.
    pub fn share(&mut self, bytes: Bytes) {
        if bytes.len() < CHAIN_FROM {
            self.put(&bytes);
            return;
        }
        self.close_tail();
        self.chained_bytes += bytes.len();
        self.chained.push_back(bytes);
    }

    fn close_tail(&mut self) {
        if !self.tail.is_empty() {
            self.chained_bytes += self.tail.len();
            self.chained.push_back(self.tail.split().freeze());
        }
    }

    /// Between two messages, when nothing is to be filled in or taken back any more: what follows a lot
    /// goes to memory of its own, and what was written is given back in parts.
    pub fn part(&mut self) {
        if self.tail.len() >= PART {
            self.close_tail();
            self.tail = BytesMut::new();
        }
    }

    /// Appends everything in `other`, which is left empty.
    pub fn append(&mut self, other: &mut Self) {
        while let Some(bytes) = other.chained.pop_front() {
            self.share(bytes);
        }
        other.chained_bytes = 0;
        self.put(&other.tail);
        other.tail.clear();
    }

    /// Leaves room for `length` bytes, to be filled by [`Output::fill`].
    pub fn hole(&mut self, length: usize) -> Hole {
        let at = self.tail.len();
        self.tail.resize(at + length, 0);
        Hole { at, length }
    }

    /// How many bytes were put since `hole` was left, the hole itself not counted.
    pub fn since(&self, hole: &Hole) -> usize {
        self.tail.len().saturating_sub(hole.at + hole.length)
    }

    /// Fills a hole. Bytes past its length are left out.
    pub fn fill(&mut self, hole: Hole, bytes: &[u8]) {
        if let Some(place) = self.tail.get_mut(hole.at..hole.at + hole.length) {
            for (to, from) in place.iter_mut().zip(bytes) {
                *to = *from;
            }
        }
    }

    /// Takes back everything that was put since the buffer had `length` bytes, as long as nothing
    /// was chained or written since.
    pub fn truncate(&mut self, length: usize) {
        self.tail
            .truncate(length.saturating_sub(self.chained_bytes));
    }

    /// How many bytes wait.
    pub fn len(&self) -> usize {
        self.chained_bytes + self.tail.len()
    }

    /// Whether everything that waits is one stretch of bytes.
    pub fn is_contiguous(&self) -> bool {
        self.chained.is_empty()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How much memory the buffer keeps for later use.
    pub fn capacity(&self) -> usize {
        self.chained_bytes + self.tail.capacity()
    }

    /// Gives back the memory of an empty buffer that grew past `keep` bytes.
    pub fn shrink(&mut self, keep: usize) {
        if self.is_empty() && self.tail.capacity() > keep {
            self.tail = BytesMut::new();
            self.chained = VecDeque::new();
        }
    }

    /// Takes everything out as one buffer.
    pub fn drain(&mut self) -> Bytes {
        if self.chained.is_empty() {
            return self.tail.split().freeze();
        }
        let mut whole = BytesMut::with_capacity(self.len());
        for part in self.chained.drain(..) {
            whole.extend_from_slice(&part);
        }
        self.chained_bytes = 0;
        whole.extend_from_slice(&self.tail);
        self.tail.clear();
        whole.freeze()
    }
}

/// The reading half, for whoever writes the bytes to a socket.
impl Buf for Output {
    fn remaining(&self) -> usize {
        self.len()
    }

    fn chunk(&self) -> &[u8] {
        self.chained.front().map_or(&self.tail, |front| front)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let parts = self.chained.iter().map(|part| &part[..]);
        let tail = Some(&self.tail[..]).filter(|tail| !tail.is_empty());
        let mut filled = 0;
        for (slice, part) in slices.iter_mut().zip(parts.chain(tail)) {
            *slice = IoSlice::new(part);
            filled += 1;
        }
        filled
    }

    fn advance(&mut self, mut count: usize) {
        while let Some(front) = self.chained.front_mut() {
            if count < front.len() {
                front.advance(count);
                self.chained_bytes -= count;
                return;
            }
            count -= front.len();
            self.chained_bytes -= front.len();
            self.chained.pop_front();
        }
        if count >= self.tail.len() {
            // Keeps the capacity: an output that drains fully is reused without allocation.
            self.tail.clear();
        } else {
            self.tail.advance(count);
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
            parts in prop::collection::vec((0usize..40_000, any::<bool>()), 0..8),
            step in 1usize..50_000,
        ) {
            let mut out = Output::new();
            let mut expected = Vec::new();
            for (n, (length, chain)) in parts.into_iter().enumerate() {
                let bytes = vec![n as u8; length];
                expected.extend_from_slice(&bytes);
                if chain { out.share(bytes.into()) } else { out.put(&bytes) }
            }
            prop_assert_eq!(out.len(), expected.len());
            let mut got = Vec::new();
            while out.has_remaining() {
                let mut slices = [IoSlice::new(&[]); 3];
                let filled = out.chunks_vectored(&mut slices);
                let all: Vec<u8> = slices[..filled].iter().flat_map(|s| s.to_vec()).collect();
                let take = step.min(all.len());
                got.extend_from_slice(&all[..take]);
                out.advance(take);
            }
            prop_assert_eq!(got, expected);
        }
    }
}
