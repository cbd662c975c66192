//! The stream of a connection: a socket, or a layer over one, such as TLS. The modules above must
//! not depend on sockets.

use std::future::Future as _;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// A layer over a socket. It may hold bytes in both directions: bytes from the socket that are not
/// read yet, and written bytes that have not reached the socket.
pub(crate) trait Layer: AsyncRead + AsyncWrite + Unpin + Send {
    /// Returns `true` if a read may bring data now, without a system call. The layer may hold bytes
    /// while the socket is silent.
    fn may_read(&self) -> bool;

    /// Ready when the peer has closed its sending half, even if some of its bytes are unread.
    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// The bytes of one connection.
pub(crate) enum Stream {
    /// A socket as it is.
    Socket(TcpStream),
    /// A layer, such as TLS. Only tests use one today. `unflushed`: the layer may hold written
    /// bytes that have not reached the socket.
    #[cfg_attr(not(test), expect(dead_code, reason = "the seam for TLS"))]
    Layered {
        layer: Box<dyn Layer>,
        unflushed: bool,
    },
}

/// Makes a stream of a socket.
pub(crate) type Wrap = fn(TcpStream) -> Stream;

impl From<TcpStream> for Stream {
    fn from(socket: TcpStream) -> Self {
        Self::Socket(socket)
    }
}

impl Stream {
    /// Returns `true` if a read may bring data now. This check is cheaper than a read for tasks
    /// that were woken for another reason.
    #[inline]
    pub(crate) fn may_read(&self) -> bool {
        match self {
            Self::Socket(socket) => socket_may_read(socket),
            Self::Layered { layer, .. } => layer.may_read(),
        }
    }

    /// Ready when the peer has closed its sending half, even if some of its bytes are unread.
    pub(crate) fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Socket(socket) => poll_socket_closed(socket, cx),
            Self::Layered { layer, .. } => layer.poll_closed(cx),
        }
    }

    /// Returns `true` if written bytes may not have reached the socket. Then
    /// [`write`](super::buffers::write) must be called again, even if there is nothing more to
    /// write.
    #[inline]
    pub(crate) const fn is_unflushed(&self) -> bool {
        matches!(
            self,
            Self::Layered {
                unflushed: true,
                ..
            }
        )
    }
}

/// Returns `true` if the system has reported unread bytes or the end of the socket.
pub(crate) fn socket_may_read(socket: &TcpStream) -> bool {
    socket.try_io(Interest::READABLE, || Ok(())).is_ok()
}

/// Ready when the peer of a socket has closed its sending half.
pub(crate) fn poll_socket_closed(socket: &TcpStream, cx: &mut Context<'_>) -> Poll<()> {
    match pin!(socket.ready(Interest::READABLE)).poll(cx) {
        Poll::Ready(Ok(ready)) if ready.is_read_closed() => Poll::Ready(()),
        _ => Poll::Pending,
    }
}

impl AsyncRead for Stream {
    #[inline]
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Socket(socket) => Pin::new(socket).poll_read(cx, buffer),
            Self::Layered { layer, .. } => Pin::new(layer).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    #[inline]
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Socket(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Layered { layer, unflushed } => {
                *unflushed = true;
                Pin::new(layer).poll_write(cx, bytes)
            }
        }
    }

    #[inline]
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            // The system sends all bytes that it accepted.
            Self::Socket(_) => Poll::Ready(Ok(())),
            Self::Layered { layer, unflushed } => {
                let flushed = Pin::new(layer).poll_flush(cx);
                *unflushed = !matches!(flushed, Poll::Ready(Ok(())));
                flushed
            }
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Socket(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Layered { layer, .. } => Pin::new(layer).poll_shutdown(cx),
        }
    }
}
