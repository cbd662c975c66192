//! The end of a connection whose client may still be sending.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::io::AsyncWrite as _;

use crate::transport::buffers::{Consumed, Input, Read, ReadBuffer};
use crate::transport::stream::Stream;

/// How long a client may continue to send after the last reply.
const LINGER: Duration = Duration::from_millis(500);

/// Closes a connection whose client may still be sending. A close with unread bytes would reset the
/// connection, and the client would lose the last reply.
pub(crate) async fn linger(mut stream: Stream, buffer: &ReadBuffer) {
    let mut rest = Input::default();
    let drained = poll_fn(|cx| {
        if let Err(error) = ready!(Pin::new(&mut stream).poll_shutdown(cx)) {
            return Poll::Ready(Err(error));
        }
        loop {
            match ready!(rest.read(&mut stream, buffer, cx))? {
                Read::Eof => return Poll::Ready(Ok(())),
                Read::Data(_, None) => {}
                Read::Data(_, Some(lent)) => {
                    let all = Consumed {
                        bytes: lent.bytes().len(),
                        ..Consumed::default()
                    };
                    rest.give_back(lent, all, buffer);
                }
            }
        }
    });
    // The client had enough time to read, so a timeout is no error.
    let _ = tokio::time::timeout(LINGER, drained).await;
}
