//! A scripted client. It sends the bytes of the test, and records the messages that it receives.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use meltemi_frame::{DecodeError, Kind, Output, OwnedMessage, Protocol, Side};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::Instant;

use super::reader::Reader;
use super::upstream::dribble;

/// The reason why a client stopped reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It received the requested number of messages.
    Enough,
    /// The time was over.
    TimedOut,
    /// The other side closed the connection normally.
    Closed,
    /// The connection failed.
    Broke(io::ErrorKind),
    /// The bytes are not valid in the protocol.
    Lost(DecodeError),
}

/// The messages that a client received.
#[derive(Clone, Debug)]
pub struct Heard {
    /// The messages, in order.
    pub messages: Vec<OwnedMessage>,
    /// The reason why there are no more messages.
    pub end: End,
}

impl Heard {
    /// Returns the ids of the messages, in order.
    pub fn ids(&self) -> Vec<Option<i64>> {
        self.messages
            .iter()
            .map(|message| message.message().head.id)
            .collect()
    }

    /// Returns the kinds of the messages, in order.
    pub fn kinds(&self) -> Vec<Kind> {
        self.messages
            .iter()
            .map(|message| message.message().head.kind)
            .collect()
    }

    /// Returns the concatenated bytes of the messages.
    pub fn bytes(&self) -> Vec<u8> {
        self.messages
            .iter()
            .flat_map(|message| message.message().wire().to_vec())
            .collect()
    }
}

/// A client on one connection.
pub struct Downstream {
    input: OwnedReadHalf,
    output: OwnedWriteHalf,
    reader: Reader,
    /// Decodes the bytes that are sent, so that the reader can match replies to requests.
    sent: Reader,
}

impl std::fmt::Debug for Downstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Downstream")
            .field("heard", &self.reader.raw.len())
            .finish_non_exhaustive()
    }
}

impl Downstream {
    /// Connects to `to`.
    ///
    /// # Errors
    /// Fails if the connection cannot be made.
    pub async fn connect(to: SocketAddr, protocol: Arc<dyn Protocol>) -> io::Result<Self> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        let (input, output) = stream.into_split();
        Ok(Self {
            input,
            output,
            reader: Reader::new(&*protocol, Side::Client),
            sent: Reader::new(&*protocol, Side::Server),
        })
    }

    /// Sends bytes at once.
    ///
    /// # Errors
    /// Fails if the connection is broken.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.remember(bytes);
        self.output.write_all(bytes).await
    }

    /// Sends bytes one at a time, with a pause after each.
    ///
    /// # Errors
    /// Fails if the connection is broken.
    pub async fn dribble(&mut self, bytes: &[u8], pause: Duration) -> io::Result<()> {
        self.remember(bytes);
        dribble(&mut self.output, bytes, pause).await
    }

    /// Passes requests to the client-side codec, which may need them to decode the replies.
    fn remember(&mut self, bytes: &[u8]) {
        self.sent.push(bytes);
        while let Ok(Some(request)) = self.sent.next() {
            // Bad bytes are sent as they are. A codec that refuses them keeps its state.
            let _ = self
                .reader
                .codec()
                .encode(&request.message(), &mut Output::new());
        }
    }

    /// Closes the sending half, and continues to read.
    ///
    /// # Errors
    /// Fails if the connection is broken.
    pub async fn half_close(&mut self) -> io::Result<()> {
        self.output.shutdown().await
    }

    /// Reads until `count` messages have arrived, the other side closes, or the time is over.
    pub async fn hear(&mut self, count: usize, within: Duration) -> Heard {
        let deadline = Instant::now() + within;
        let mut messages = Vec::new();
        let mut buffer = vec![0; 16 << 10];
        let end = loop {
            if messages.len() >= count {
                break End::Enough;
            }
            match self.reader.next() {
                Ok(Some(message)) => {
                    messages.push(message);
                    continue;
                }
                Ok(None) => {}
                Err(lost) => break End::Lost(lost),
            }
            match tokio::time::timeout_at(deadline, self.input.read(&mut buffer)).await {
                Err(_) => break End::TimedOut,
                Ok(Err(error)) => break End::Broke(error.kind()),
                Ok(Ok(0)) => break End::Closed,
                Ok(Ok(count)) => self.reader.push(buffer.get(..count).unwrap_or_default()),
            }
        };
        Heard { messages, end }
    }

    /// Reads until the other side closes, or the time is over.
    pub async fn hear_all(&mut self, within: Duration) -> Heard {
        self.hear(usize::MAX, within).await
    }

    /// Returns all bytes received so far, complete messages or not.
    pub fn bytes(&self) -> &[u8] {
        &self.reader.raw
    }
}
