//! A difficult layer for tests: it reads many bytes from the socket and returns one byte at a time,
//! and it sends nothing before it is flushed.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::io::poll_read_buf;

use super::stream::{Layer, Stream, poll_socket_closed, socket_may_read};

/// How many bytes one flush sends. The rest needs another flush.
const FLUSHED: usize = 700;

struct Awkward {
    socket: TcpStream,
    /// Read from the socket, but not returned yet.
    input: BytesMut,
    /// Written, but not flushed.
    output: BytesMut,
    eof: bool,
}

/// Wraps a socket in a difficult stream.
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
        // Requests another call, like a layer that waits for its socket.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
