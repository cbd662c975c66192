//! A layer for tests that does all that a layer may do: it takes much from the socket and gives one byte at a
//! time, and it sends nothing before it is flushed.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::io::poll_read_buf;

use super::stream::{Layer, Stream, poll_socket_closed, socket_may_read};

/// How many bytes reach the socket in one flush: the rest needs another one.
const FLUSHED: usize = 700;

struct Awkward {
    socket: TcpStream,
    /// Taken from the socket, and not read.
    input: BytesMut,
    /// Written, and not flushed.
    output: BytesMut,
    eof: bool,
}

/// Makes an awkward stream of a socket.
pub(crate) fn awkward(socket: TcpStream) -> Stream {
    Stream::Layered {
        layer: Box::new(Awkward {
            socket,
            input: BytesMut::new(),
            output: BytesMut::new(),
            eof: false,
        }),
        unflushed: false,
    }
}

impl Layer for Awkward {
    fn may_read(&self) -> bool {
        self.eof || !self.input.is_empty() || socket_may_read(&self.socket)
    }

    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.eof {
            return Poll::Ready(());
        }
        poll_socket_closed(&self.socket, cx)
    }
}

impl AsyncRead for Awkward {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.input.is_empty() && !this.eof {
            this.input.reserve(64 << 10);
            let count = ready!(poll_read_buf(
                Pin::new(&mut this.socket),
                cx,
                &mut this.input
            ))?;
            this.eof = count == 0;
        }
        if let [first, ..] = *this.input {
            buffer.put_slice(&[first]);
            this.input.advance(1);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Awkward {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let taken = bytes.len().min(1000);
        self.output.extend_from_slice(&bytes[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.output.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let most = this.output.len().min(FLUSHED);
        let written = ready!(Pin::new(&mut this.socket).poll_write(cx, &this.output[..most]))?;
        this.output.advance(written);
        if this.output.is_empty() {
            return Poll::Ready(Ok(()));
        }
        // It wants to be called again, as a layer that waits for its socket does.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
