//! Moves bytes between sockets and codecs. There is one shared read buffer per worker. A connection
//! keeps only the bytes of an incomplete message.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use meltemi_frame::Output;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::task::coop::has_budget_remaining;
use tokio_util::io::poll_read_buf;

use crate::transport::stream::Stream;

/// The size of a worker's read buffer, in bytes, and the limit of one read. Larger buffers brought
/// no gain.
const READ: usize = 64 << 10;

/// How much memory a downstream connection keeps for its next output, in bytes, until it has been
/// silent for a while.
pub(crate) const KEEP: usize = 64 << 10;

/// The same for an upstream connection. Its output collects the requests of many clients in one
/// turn. Without this memory, every turn would allocate again.
pub(crate) const KEEP_UPSTREAM: usize = 512 << 10;

/// How much memory a connection keeps when its input is empty, in bytes. It is small enough for
/// idle connections, and large enough for small messages in two segments.
const KEEP_INPUT: usize = 512;

/// A partial message up to this length, in bytes, is copied to the front of the shared buffer, so
/// that the next read can be large.
const LIFT: usize = READ / 4;

/// A worker's read buffer, lent to one connection at a time.
pub(crate) struct ReadBuffer(Cell<Vec<u8>>);

impl ReadBuffer {
    pub(crate) fn new() -> Self {
        Self(Cell::new(vec![0; READ]))
    }
}

/// The result of a read.
pub(crate) enum Read {
    /// The number of bytes read, and the input to decode if there is enough.
    Data(usize, Option<Lent>),
    /// The peer has closed its sending half.
    Eof,
}

/// Bytes lent by an [`Input`]. The bytes that are not consumed must be given back.
pub(crate) enum Lent {
    /// The bytes are in the worker's buffer, between these two positions.
    Shared(Vec<u8>, usize, usize),
    /// All bytes that the connection had kept.
    Own(BytesMut),
}

impl Lent {
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Shared(buffer, from, to) => buffer.get(*from..*to).unwrap_or_default(),
            Self::Own(bytes) => bytes,
        }
    }
}

/// The result of a consumer.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Consumed {
    /// How many bytes it consumed from the front.
    pub(crate) bytes: usize,
    /// How many bytes must be available, counted from the first unconsumed byte, before the
    /// consumer is called again.
    pub(crate) need: usize,
    /// How many further bytes to drop on arrival.
    pub(crate) discard: usize,
}

impl Consumed {
    /// Drops a message of this length. `here`: how many of its bytes have arrived.
    pub(crate) fn drop_message(&mut self, length: usize, here: usize) {
        self.bytes += length.clamp(1, here.max(1));
        self.discard += length.saturating_sub(here);
    }
}

/// The input of one connection that is not a complete message yet.
#[derive(Default)]
pub(crate) struct Input {
    pending: BytesMut,
    /// At most 4 GiB, which keeps the struct small. A call that comes too early does no harm.
    need: u32,
    /// The last read found nothing, and the task is woken when data arrives.
    waits: bool,
    /// Bytes of a malformed message that are dropped on arrival.
    discard: usize,
}

impl Input {
    /// Returns the number of kept bytes.
    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    const fn need(&self) -> usize {
        self.need as usize
    }

    /// Lends the kept bytes again, because their consumer can continue.
    #[inline]
    pub(crate) fn again(&mut self) -> Option<Lent> {
        let worth = !self.pending.is_empty() && self.pending.len() >= self.need();
        worth.then(|| Lent::Own(std::mem::take(&mut self.pending)))
    }

    /// Takes back the lent bytes.
    pub(crate) fn give_back(&mut self, lent: Lent, consumed: Consumed, buffer: &ReadBuffer) {
        match lent {
            Lent::Shared(bytes, from, to) => {
                let from = to.min(from + consumed.bytes);
                let rest = bytes.get(from..to).unwrap_or_default();
                self.pending.extend_from_slice(rest);
                buffer.0.set(bytes);
            }
            Lent::Own(mut bytes) => {
                bytes.advance(consumed.bytes.min(bytes.len()));
                self.pending = bytes;
            }
        }
        self.need = u32::try_from(consumed.need).unwrap_or(u32::MAX);
        // The consumer may discard more bytes than it received.
        self.discard = self.discard.saturating_add(consumed.discard);
        self.drop_discarded();
    }

    /// Reads once.
    pub(crate) fn read(
        &mut self,
        stream: &mut Stream,
        buffer: &ReadBuffer,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Read>> {
        // If the task was woken for another reason, this check avoids a useless system call.
        if self.waits && !stream.may_read() {
            return Poll::Pending;
        }
        let read = if self.pending.len() <= LIFT && self.need() <= READ {
            self.read_shared(stream, buffer, cx)
        } else {
            self.read_own(stream, cx)
        };
        // Without budget, `Pending` does not mean that the task is woken when data arrives.
        self.waits = read.is_pending() && has_budget_remaining();
        read
    }

    /// Reads behind the kept bytes, where a large message grows.
    fn read_own(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<Read>> {
        // Reserves room for the missing bytes, within limits.
        let missing = self
            .need()
            .saturating_sub(self.pending.len())
            .clamp(4096, 1 << 20);
        self.pending.reserve(missing);
        let count = ready!(poll_read_buf(Pin::new(stream), cx, &mut self.pending))?;
        if count == 0 {
            return Poll::Ready(Ok(Read::Eof));
        }
        self.drop_discarded();
        Poll::Ready(Ok(Read::Data(count, self.again())))
    }

    /// Reads into the worker's buffer, behind the kept bytes.
    fn read_shared(
        &mut self,
        stream: &mut Stream,
        buffer: &ReadBuffer,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Read>> {
        let mut bytes = buffer.0.take();
        // The buffer was lost in a task that panicked. Without room, every read would look like an
        // end of file.
        if bytes.is_empty() {
            bytes.resize(READ, 0);
        }
        let before = self.pending.len();
        let (waiting, room) = bytes.split_at_mut(before);
        let mut read = ReadBuf::new(room);
        let result = Pin::new(stream).poll_read(cx, &mut read);
        let count = read.filled().len();
        if count == 0 {
            buffer.0.set(bytes);
            return result.map_ok(|()| Read::Eof);
        }
        waiting.copy_from_slice(&self.pending);
        self.pending.clear();
        let all = before + count;
        let from = self.discard.min(all);
        self.discard -= from;
        let lent = Lent::Shared(bytes, from, all);
        if all - from >= self.need().max(1) {
            return Poll::Ready(Ok(Read::Data(count, Some(lent))));
        }
        let nothing = Consumed {
            need: self.need(),
            ..Consumed::default()
        };
        self.give_back(lent, nothing, buffer);
        Poll::Ready(Ok(Read::Data(count, None)))
    }

    fn drop_discarded(&mut self) {
        let drop = self.discard.min(self.pending.len());
        self.pending.advance(drop);
        self.discard -= drop;
        if self.pending.is_empty() && self.pending.capacity() > KEEP_INPUT {
            self.pending = BytesMut::new();
        }
    }
}

/// Writes as much as the stream accepts. Ready when nothing is left, neither here nor in a layer of
/// the stream.
pub(crate) fn write(
    stream: &mut Stream,
    out: &mut Output,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    while out.has_remaining() {
        let written = Pin::new(&mut *stream).poll_write(cx, out.chunk());
        match written {
            Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(Ok(count)) => out.advance(count),
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => return Poll::Pending,
        }
    }
    Pin::new(stream).poll_flush(cx)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpStream;

    struct Bed {
        input: Input,
        buffer: ReadBuffer,
        near: Stream,
        far: TcpStream,
    }

    impl Bed {
        async fn new() -> Self {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let (far, near) = tokio::join!(TcpStream::connect(address), listener.accept());
            Self {
                input: Input::default(),
                buffer: ReadBuffer::new(),
                near: near.unwrap().0.into(),
                far: far.unwrap(),
            }
        }

        /// Reads once and consumes as `consume` specifies. Returns how many bytes arrived, and the
        /// bytes lent.
        async fn read(&mut self, consume: Consumed) -> (usize, Vec<u8>) {
            let Self {
                input,
                buffer,
                near,
                ..
            } = self;
            let read = poll_fn(|cx| input.read(near, buffer, cx)).await.unwrap();
            let Read::Data(count, lent) = read else {
                return (0, Vec::new());
            };
            let Some(lent) = lent else {
                return (count, Vec::new());
            };
            let shown = lent.bytes().to_vec();
            input.give_back(lent, consume, buffer);
            (count, shown)
        }
    }

    fn taken(bytes: usize, need: usize, discard: usize) -> Consumed {
        Consumed {
            bytes,
            need,
            discard,
        }
    }

    #[tokio::test]
    async fn a_message_that_has_begun_does_not_make_the_next_read_small() {
        let mut bed = Bed::new().await;
        bed.far.write_all(&[1; 100]).await.unwrap();
        assert_eq!(bed.read(taken(60, 50, 0)).await, (100, vec![1; 100]));
        assert_eq!(bed.input.len(), 40);
        bed.far.write_all(&[2; 30_000]).await.unwrap();
        let (count, shown) = bed.read(taken(30_040, 0, 0)).await;
        assert_eq!((count, shown.len()), (30_000, 30_040));
        assert_eq!((shown[39], shown[40]), (1, 2));
        assert!(bed.input.is_empty());
    }

    #[tokio::test]
    async fn what_is_not_enough_is_not_shown() {
        let mut bed = Bed::new().await;
        bed.far.write_all(&[1; 10]).await.unwrap();
        bed.read(taken(0, 30, 0)).await;
        bed.far.write_all(&[2; 10]).await.unwrap();
        assert_eq!(bed.read(taken(0, 0, 0)).await, (10, Vec::new()));
        assert!(bed.input.again().is_none());
        bed.far.write_all(&[3; 10]).await.unwrap();
        let (_, shown) = bed.read(taken(30, 0, 0)).await;
        assert_eq!(shown, [[1; 10], [2; 10], [3; 10]].concat());
    }

    #[tokio::test]
    async fn large_messages_grow_alone() {
        let mut bed = Bed::new().await;
        let message: Vec<u8> = (0..200_000_u32).map(|byte| byte as u8).collect();
        bed.far.write_all(&message[..20_000]).await.unwrap();
        while bed.input.len() < 20_000 {
            bed.read(taken(0, message.len(), 0)).await;
        }
        bed.far.write_all(&message[20_000..]).await.unwrap();
        loop {
            let (_, shown) = bed.read(taken(message.len(), 0, 0)).await;
            if !shown.is_empty() {
                assert!(shown == message);
                break;
            }
        }
        assert!(bed.input.is_empty() && bed.input.pending.capacity() <= KEEP_INPUT);
    }

    #[tokio::test]
    async fn what_nobody_wants_is_dropped_as_it_comes() {
        let mut bed = Bed::new().await;
        bed.far.write_all(&[1; 10]).await.unwrap();
        bed.read(taken(4, 0, 15)).await;
        assert!(bed.input.is_empty());
        bed.far.write_all(&[2; 6]).await.unwrap();
        assert_eq!(bed.read(taken(0, 0, 0)).await, (6, Vec::new()));
        bed.far.write_all(&[[2; 3], [3; 3]].concat()).await.unwrap();
        assert_eq!(bed.read(taken(3, 0, 0)).await.1, [3; 3]);
    }

    #[tokio::test]
    async fn a_task_that_waits_is_woken_however_often_it_asks() {
        let mut bed = Bed::new().await;
        let Bed {
            input,
            buffer,
            near,
            far,
        } = &mut bed;
        let asked = poll_fn(|cx| {
            for _ in 0..3 {
                assert!(input.read(near, buffer, cx).is_pending());
            }
            Poll::Ready(())
        });
        asked.await;
        assert!(input.waits);
        let (read, _) = tokio::join!(
            poll_fn(|cx| input.read(near, buffer, cx)),
            far.write_all(b"x")
        );
        assert!(matches!(read.unwrap(), Read::Data(1, Some(_))));
        far.shutdown().await.unwrap();
        let end = poll_fn(|cx| input.read(near, buffer, cx)).await.unwrap();
        assert!(matches!(end, Read::Eof));
    }
}
