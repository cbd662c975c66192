//! Replies to one-way calls. Some servers reply anyway: they do not declare the method as one-way,
//! or they do not have it and return an error. No client waits for that reply. When it arrives, the
//! connection may serve another client, whose call can have the same sequence id: many clients
//! always send 0.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use meltemi_frame::{DecodeError, Decoded, EncodeError, Kind, Message, Output};

use super::ThriftCodec;
use crate::rewrite;

impl ThriftCodec {
    /// Writes a one-way call with a sequence id that no other client can know, so that its reply
    /// can be recognised.
    #[cold]
    pub(super) fn put_one_way(
        &mut self,
        message: &Message<'_>,
        out: &mut Output,
    ) -> Result<(), EncodeError> {
        self.note_framing(message);
        if message.id_changed() {
            return rewrite::message_apart(message, out);
        }
        let mut sent = message.clone();
        sent.set_id(i64::from(*self.one_way.get_or_insert_with(unknown_id)));
        rewrite::message_apart(&sent, out)
    }

    /// Returns `true` if the message with this id is the reply to a one-way call.
    pub(super) fn is_unasked(&self, id: i32) -> bool {
        self.one_way == Some(id)
    }
}

/// Consumes the reply to a one-way call. It goes to no client. The following pieces are skipped.
#[cold]
pub(super) fn unasked(
    mut decoded: Result<Decoded<'_>, DecodeError>,
) -> Result<Decoded<'_>, DecodeError> {
    if let Ok(Decoded::Message(message, _)) = &mut decoded {
        message.head.kind = Kind::Push;
        message.head.end = true;
    }
    decoded
}

/// Returns an id that cannot be guessed: positive, and far from ids that are counted from 0.
fn unknown_id() -> i32 {
    let random = RandomState::new().build_hasher().finish() as u32;
    (random >> 2 | 1 << 30).cast_signed()
}

#[cfg(test)]
mod tests;
