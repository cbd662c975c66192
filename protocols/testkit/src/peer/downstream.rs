//! A scripted client: it sends what the test says, and tells what it heard and how it ended.

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

/// Why a client stopped listening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It heard as many messages as it wanted.
    Enough,
    /// The time was over.
    TimedOut,
    /// The other side closed in order.
    Closed,
    /// The connection broke.
    Broke(io::ErrorKind),
    /// What came is not of the protocol.
    Lost(DecodeError),
}

/// What a client heard.
#[derive(Clone, Debug)]
pub struct Heard {
    /// The messages, in order.
    pub messages: Vec<OwnedMessage>,
    /// Why there are no more.
    pub end: End,
}

impl Heard {
    /// The ids of the messages, in order.
    pub fn ids(&self) -> Vec<Option<i64>> {
        self.messages
            .iter()
            .map(|message| message.message().head.id)
            .collect()
    }

    /// The kinds of the messages, in order.
    pub fn kinds(&self) -> Vec<Kind> {
        self.messages
            .iter()
            .map(|message| message.message().head.kind)
            .collect()
    }

    /// The messages' bytes, one after the other.
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
    /// Reads along what is sent, so that the reader knows what its answers belong to.
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
    /// Connects.
    ///
    /// # Errors
    /// Nobody listens there.
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
    /// The connection broke.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.remember(bytes);
        self.output.write_all(bytes).await
    }

    /// Sends bytes one at a time, with a pause behind each.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn dribble(&mut self, bytes: &[u8], pause: Duration) -> io::Result<()> {
        self.remember(bytes);
        dribble(&mut self.output, bytes, pause).await
    }

    /// A codec on the client side may need to know the requests to read the answers.
    fn remember(&mut self, bytes: &[u8]) {
        self.sent.push(bytes);
        while let Ok(Some(request)) = self.sent.next() {
            // Bad bytes are sent as they are: a codec that refuses them knows as much as before.
            let _ = self
                .reader
                .codec()
                .encode(&request.message(), &mut Output::new());
        }
    }

    /// Ends the sending half, and goes on listening.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn half_close(&mut self) -> io::Result<()> {
        self.output.shutdown().await
    }

    /// Listens until `count` messages came, the other side ends, or the time is over.
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

    /// Listens until the other side ends, or the time is over.
    pub async fn hear_all(&mut self, within: Duration) -> Heard {
        self.hear(usize::MAX, within).await
    }

    /// Every byte heard so far, messages or not.
    pub fn bytes(&self) -> &[u8] {
        &self.reader.raw
    }
}
