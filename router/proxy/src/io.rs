//! Bytes between sockets and codecs: one shared read buffer per worker, and per connection only what
//! does not make a whole message yet.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use meltemi_frame::Output;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::TcpStream;

/// The size of a worker's read buffer, in bytes: what one read can bring. Larger ones brought
/// nothing.
const READ: usize = 64 << 10;

/// A downstream connection keeps at most this much memory for its next output, in bytes, until it has
/// been silent for a while.
pub(crate) const KEEP: usize = 64 << 10;

/// The same for an upstream connection, whose output gathers what many clients send in one turn: to
/// give it back after every turn would be to ask the system for it in every turn.
pub(crate) const KEEP_UPSTREAM: usize = 512 << 10;

/// A connection without input that waits keeps at most this much memory for more, in bytes: small
/// enough for idle ones, large enough for small messages that come in two segments.
const KEEP_INPUT: usize = 512;

/// Up to this many bytes that wait are put in front of what is read next: a message that has only begun
/// does not make the next read a small one.
const LIFT: usize = READ / 4;

/// A worker's read buffer, lent to one connection at a time.
pub(crate) struct ReadBuffer(Cell<Vec<u8>>);

impl ReadBuffer {
    pub(crate) fn new() -> Self {
        Self(Cell::new(vec![0; READ]))
    }
}

/// What a read brought.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// This many bytes.
    Data(usize),
    /// The peer has closed its sending half.
    Eof,
}

/// How the consumer of bytes got on.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Consumed {
    /// How many bytes it took from the front.
    pub(crate) bytes: usize,
    /// How many bytes must be there, counted from what it did not take, before it is worth
    /// another call.
    pub(crate) need: usize,
}

/// Input of one connection that does not make a whole message yet.
#[derive(Default)]
pub(crate) struct Input {
    pending: BytesMut,
    need: usize,
    /// Bytes at the front that belong to a malformed message and are dropped as they come.
    discard: usize,
}

impl Input {
    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Drops this many further bytes as they come.
    pub(crate) const fn discard(&mut self, bytes: usize) {
        self.discard = self.discard.saturating_add(bytes);
    }

    /// Presents the bytes that wait once more, because whoever stopped can go on.
    pub(crate) fn again(&mut self, consume: &mut dyn FnMut(&[u8]) -> Consumed) {
        if self.pending.is_empty() || self.pending.len() < self.need {
            return;
        }
        let mut bytes = std::mem::take(&mut self.pending);
        let consumed = consume(&bytes);
        bytes.advance(consumed.bytes.min(bytes.len()));
        self.need = consumed.need;
        self.pending = bytes;
        self.shrink();
    }

    fn shrink(&mut self) {
        if self.pending.is_empty() && self.pending.capacity() > KEEP_INPUT {
            self.pending = BytesMut::new();
        }
    }

    /// Reads once and presents what is there.
    pub(crate) fn read(
        &mut self,
        stream: &mut TcpStream,
        buffer: &ReadBuffer,
        cx: &mut Context<'_>,
        consume: &mut dyn FnMut(&[u8]) -> Consumed,
    ) -> Poll<io::Result<Read>> {
        if self.pending.len() <= LIFT && self.need <= READ {
            let mut bytes = buffer.0.take();
            // Lost with a task that panicked: without room, every read would look like an end.
            if bytes.is_empty() {
                bytes.resize(READ, 0);
            }
            let result = self.read_shared(stream, &mut bytes, cx, consume);
            buffer.0.set(bytes);
            return result;
        }
        // A held message grows here: room for what is known to be missing, within reason.
        let missing = self
            .need
            .saturating_sub(self.pending.len())
            .clamp(4096, 1 << 20);
        self.pending.reserve(missing);
        let count = match tokio_util::io::poll_read_buf(Pin::new(stream), cx, &mut self.pending) {
            Poll::Ready(Ok(count)) => count,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => return Poll::Pending,
        };
        if count == 0 {
            return Poll::Ready(Ok(Read::Eof));
        }
        self.drop_discarded();
        self.again(consume);
        Poll::Ready(Ok(Read::Data(count)))
    }

    fn drop_discarded(&mut self) {
        let drop = self.discard.min(self.pending.len());
        self.pending.advance(drop);
        self.discard -= drop;
        self.shrink();
    }

    fn read_shared(
        &mut self,
        stream: &mut TcpStream,
        buffer: &mut [u8],
        cx: &mut Context<'_>,
        consume: &mut dyn FnMut(&[u8]) -> Consumed,
    ) -> Poll<io::Result<Read>> {
        let before = self.pending.len();
        let (waiting, room) = buffer.split_at_mut(before);
        let mut read = ReadBuf::new(room);
        match Pin::new(stream).poll_read(cx, &mut read) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => return Poll::Pending,
        }
        let count = read.filled().len();
        if count == 0 {
            return Poll::Ready(Ok(Read::Eof));
        }
        waiting.copy_from_slice(&self.pending);
        self.pending.clear();
        let bytes = buffer.get(..before + count).unwrap_or_default();
        let drop = self.discard.min(bytes.len());
        self.discard -= drop;
        let bytes = bytes.get(drop..).unwrap_or_default();
        let mut taken = 0;
        if bytes.len() >= self.need.max(1) {
            let consumed = consume(bytes);
            taken = consumed.bytes;
            self.need = consumed.need;
        }
        // The consumer may have asked to discard more than it was shown.
        let rest = bytes.get(taken..).unwrap_or_default();
        self.pending.extend_from_slice(rest);
        self.drop_discarded();
        Poll::Ready(Ok(Read::Data(count)))
    }
}

/// Writes as much as the socket takes. Ready when nothing is left.
pub(crate) fn write(
    stream: &mut TcpStream,
    out: &mut Output,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    while out.has_remaining() {
        // One stretch of bytes costs less to write than a list of one.
        let written = if out.is_contiguous() {
            let written = Pin::new(&mut *stream).poll_write(cx, out.chunk());
            if let Poll::Ready(Ok(count)) = written {
                out.advance(count);
            }
            written
        } else {
            tokio_util::io::poll_write_buf(Pin::new(stream), cx, out)
        };
        match written {
            Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(Ok(_)) => {}
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => return Poll::Pending,
        }
    }
    Poll::Ready(Ok(()))
}
