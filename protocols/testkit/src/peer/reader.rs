//! Decodes bytes from a socket to owned messages, for both kinds of peers.

use bytes::{Buf as _, BytesMut};
use meltemi_frame::{
    Codec, DecodeError, Decoded, Interest, Limits, OwnedMessage, Protocol, Session, Side,
};

/// Decodes the bytes that have been read so far.
pub(super) struct Reader {
    codec: Box<dyn Codec>,
    unread: BytesMut,
    /// All bytes that were ever read.
    pub raw: Vec<u8>,
    need: usize,
    /// The number of bytes of a malformed message that have not arrived yet.
    discard: usize,
}

impl Reader {
    pub(super) fn new(protocol: &dyn Protocol, side: Side) -> Self {
        Self {
            codec: protocol.codec(side, &Limits::default().holding_all(), &Session::default()),
            unread: BytesMut::new(),
            raw: Vec::new(),
            need: 1,
            discard: 0,
        }
    }

    pub(super) fn codec(&mut self) -> &mut dyn Codec {
        &mut *self.codec
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.raw.extend_from_slice(bytes);
        self.unread.extend_from_slice(bytes);
    }

    /// Returns the next whole message. `None` if there is none yet. Skips a malformed message if
    /// its length is known.
    pub(super) fn next(&mut self) -> Result<Option<OwnedMessage>, DecodeError> {
        loop {
            let gone = self.discard.min(self.unread.len());
            self.unread.advance(gone);
            self.discard -= gone;
            if self.unread.len() < self.need {
                return Ok(None);
            }
            let (found, taken) = match self.codec.decode(&self.unread, Interest::Body) {
                Ok(Decoded::Incomplete(need)) => {
                    self.need = need.max(self.unread.len() + 1);
                    return Ok(None);
                }
                Ok(Decoded::Skip(taken)) => (None, taken),
                Ok(Decoded::Message(message, taken)) => (Some(message.to_owned_message()), taken),
                Err(DecodeError::Message { length, .. }) => (None, length),
                Err(lost) => return Err(lost),
            };
            self.need = 1;
            self.discard = taken.max(1);
            if found.is_some() {
                return Ok(found);
            }
        }
    }
}
