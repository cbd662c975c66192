//! Requests that the proxy adds itself: the preamble of a session, and commands before a client's
//! request. Their replies go to no client.

use meltemi_frame::{DecodeError, Decoded, Message, Output, Session, Violation};

use super::{Client, Loads};
use crate::spec;
use crate::state::write;

/// A request that the proxy added.
pub(super) struct Added {
    /// Its number among the requests that get a reply.
    number: u64,
    /// `true` if the following requests make no sense when this one fails.
    must: bool,
}

impl Client {
    /// Consumes a reply to the preamble. It goes to no client. The preamble subscribes to nothing,
    /// and its replies are not counted.
    pub(super) fn preamble<'b>(
        &mut self,
        wire: &'b [u8],
        kind: u8,
    ) -> Result<Decoded<'b>, DecodeError> {
        if kind == b'>' {
            return Ok(Decoded::Skip(wire.len()));
        }
        let place = self.session.replies().saturating_sub(self.preamble);
        let refused = matches!(kind, b'-' | b'!') && !self.session.may_fail(place);
        self.preamble -= 1;
        if self.preamble == 0 {
            self.session = Session::default();
        }
        if refused {
            let what = "the server refused a command of the session's preamble (AUTH, HELLO, SELECT, CLIENT)";
            return Err(DecodeError::lost(Violation::Invalid(what)));
        }
        Ok(Decoded::Skip(wire.len()))
    }

    /// Returns `true` if the reply that has begun answers an added request.
    pub(super) fn answers_added(&self) -> bool {
        let added = self.added.front();
        added.is_some_and(|added| added.number == self.answered)
    }

    /// Consumes a reply to an added request.
    pub(super) fn added<'b>(
        &mut self,
        wire: &'b [u8],
        kind: u8,
        whole: bool,
    ) -> Result<Decoded<'b>, DecodeError> {
        let must = self.added.pop_front().is_some_and(|added| added.must);
        if must && kind == b'-' {
            let what = "MULTI failed after the transaction was sent";
            return Err(DecodeError::lost(Violation::Invalid(what)));
        }
        if whole {
            return Ok(Decoded::Skip(wire.len()));
        }
        let what = "a reply has more than one line, but its command returns one";
        Err(DecodeError::lost(Violation::Invalid(what)))
    }

    /// Writes a request before the one that is encoded. Its reply goes to no client.
    pub(super) fn add(&mut self, words: &[&[u8]], must: bool, out: &mut Output) {
        let mut request = Vec::new();
        write(&mut request, words);
        out.put(&request);
        self.sent += 1;
        let number = self.sent;
        self.added.push_back(Added { number, must });
        self.plain = false;
    }

    /// `WAIT` counts from the last write on the connection, and the client may not have written on
    /// this one. A `WAIT` that does not block is sent first and makes the connection current. Every
    /// user that may call `WAIT` may call it.
    pub(super) fn put_wait(&mut self, message: &Message<'_>, out: &mut Output) {
        let name = message.attributes.slot(spec::COMMAND, message.wire());
        match name {
            Some(b"waitaof") => self.add(&[b"WAITAOF", b"0", b"0", b"0"], false, out),
            _ => self.add(&[b"WAIT", b"0", b"0"], false, out),
        }
        out.put(message.wire());
    }

    /// Loads the called script, unless the server is known to have it. If the server refuses the
    /// load, the call gets its normal reply.
    pub(super) fn put_loads(&mut self, message: &Message<'_>, out: &mut Output) {
        let scripts = &self.scripts;
        let loads = self
            .loads
            .get_or_insert_with(|| Box::new(Loads::new(scripts)));
        if let Some(script) = loads.missing(message) {
            self.add(&[b"SCRIPT", b"LOAD", &script], false, out);
        }
        out.put(message.wire());
    }
}
