//! An adapter from any codec to `tokio_util::codec::Decoder`, for tools and tests that read a
//! stream of messages.

use bytes::{Buf as _, BytesMut};
use tokio_util::codec::Decoder;

use crate::{Codec, DecodeError, Decoded, Interest, OwnedMessage};

/// A codec as a `Decoder` of owned messages. A malformed message ends the stream, because the trait
/// cannot report it and go on.
pub struct Frames {
    codec: Box<dyn Codec>,
    want: Interest,
    need: usize,
}

impl std::fmt::Debug for Frames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frames")
            .field("want", &self.want)
            .finish_non_exhaustive()
    }
}

impl Frames {
    /// Creates a decoder for `codec` that decodes to the depth `want`.
    pub fn new(codec: Box<dyn Codec>, want: Interest) -> Self {
        Self {
            codec,
            want,
            need: 0,
        }
    }
}

/// The errors that end a stream of frames.
#[derive(Debug, thiserror::Error)]
pub enum FramesError {
    /// The bytes are not valid.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The connection failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl Decoder for Frames {
    type Item = OwnedMessage;
    type Error = FramesError;

    fn decode(&mut self, input: &mut BytesMut) -> Result<Option<OwnedMessage>, FramesError> {
        loop {
            if input.is_empty() || input.len() < self.need {
                return Ok(None);
            }
            let (owned, taken) = match self.codec.decode(input, self.want)? {
                Decoded::Incomplete(need) => {
                    self.need = need;
                    return Ok(None);
                }
                Decoded::Skip(count) => (None, count),
                Decoded::Message(message, taken) => (Some(message.to_owned_message()), taken),
            };
            self.need = 0;
            input.advance(taken.min(input.len()));
            if owned.is_some() {
                return Ok(owned);
            }
        }
    }
}
