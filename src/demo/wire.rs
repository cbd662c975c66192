//! A connection and its codec: bytes in, messages out, and back. This module must not know any
//! protocol.

use std::io;

use meltemi_frame::{
    Codec, Decoded, Head, Interest, Kind, Limits, LocalMessage, Message, Output, OwnedMessage,
    Protocol, Session, Side,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A connection and its codec.
pub(super) struct Wire {
    stream: TcpStream,
    codec: Box<dyn Codec>,
    input: Vec<u8>,
    output: Output,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, protocol: &dyn Protocol, side: Side) -> Self {
        // Small messages must not wait for each other. If this fails, the demo is only slower.
        let _ = stream.set_nodelay(true);
        Self {
            stream,
            codec: protocol.codec(side, &Limits::default(), &Session::default()),
            input: Vec::new(),
            output: Output::new(),
        }
    }

    /// Returns the next message; `None` if the peer has disconnected.
    ///
    /// # Errors
    /// Fails if the connection is lost, or its bytes are not a valid message.
    pub(super) async fn read(&mut self) -> io::Result<Option<OwnedMessage>> {
        loop {
            if let Some((message, taken)) = self.decode()? {
                self.input.drain(..taken.min(self.input.len()));
                if message.is_some() {
                    return Ok(message);
                }
            } else if self.stream.read_buf(&mut self.input).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Decodes the front of the input. Returns the message and its length; `None` if more bytes are
    /// needed.
    fn decode(&mut self) -> io::Result<Option<(Option<OwnedMessage>, usize)>> {
        if self.input.is_empty() {
            return Ok(None);
        }
        match self.codec.decode(&self.input, Interest::Route) {
            Ok(Decoded::Message(message, taken)) => {
                Ok(Some((Some(message.to_owned_message()), taken)))
            }
            Ok(Decoded::Skip(taken)) => Ok(Some((None, taken))),
            Ok(Decoded::Incomplete(_)) => Ok(None),
            Err(error) => Err(invalid(error)),
        }
    }

    /// Writes a whole message through the codec, which may have to remember it.
    pub(super) async fn write(
        &mut self,
        kind: Kind,
        id: Option<i64>,
        bytes: &[u8],
    ) -> io::Result<()> {
        let message = Message::new(Head::new(kind, id), bytes);
        self.codec
            .encode(&message, &mut self.output)
            .map_err(invalid)?;
        self.flush().await
    }

    /// Writes a message that the codec itself makes.
    pub(super) async fn say(&mut self, say: LocalMessage<'_>) -> io::Result<()> {
        self.codec
            .synthesize(say, &mut self.output)
            .map_err(invalid)?;
        self.flush().await
    }

    /// Returns the data of a request that its reply needs.
    pub(super) fn receipt(&self, request: &Message<'_>) -> meltemi_frame::ReplyContext {
        self.codec.receipt(request)
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.stream.write_all_buf(&mut self.output).await
    }
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
