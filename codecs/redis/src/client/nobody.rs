//! Requests that no client made, and their replies, which are nobody's: the preamble of a session, and what is
//! put before a client's request.

use meltemi_frame::{DecodeError, Decoded, Kind, Message, Output, Session, Violation};

use super::{Client, Loads};
use crate::spec;
use crate::state::write;

/// A request that no client made.
pub(super) struct Added {
    /// Its number among those that are answered.
    number: u64,
    /// What follows makes no sense if it fails.
    must: bool,
}

impl Client {
    /// A reply to the preamble, which is nobody's. The preamble subscribes to nothing, and its replies are
    /// none of those that are counted.
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
            let what = "the server refused what brings the connection into its session (AUTH, HELLO, SELECT, CLIENT)";
            return Err(DecodeError::lost(Violation::Invalid(what)));
        }
        Ok(Decoded::Skip(wire.len()))
    }

    /// Returns `true` if the reply that began is the answer to a request that was added here.
    pub(super) fn answers_added(&self) -> bool {
        let added = self.added.front();
        added.is_some_and(|added| added.number == self.answered)
    }

    /// A reply to a request that was added here.
    pub(super) fn added<'b>(
        &mut self,
        wire: &'b [u8],
        kind: u8,
        whole: bool,
    ) -> Result<Decoded<'b>, DecodeError> {
        let must = self.added.pop_front().is_some_and(|added| added.must);
        if must && kind == b'-' {
            let what = "an error to MULTI, when the transaction was on its way";
            return Err(DecodeError::lost(Violation::Invalid(what)));
        }
        if whole {
            return Ok(Decoded::Skip(wire.len()));
        }
        let what = "more than a line was answered to what has one";
        Err(DecodeError::lost(Violation::Invalid(what)))
    }

    /// Puts a request before the one that is encoded. The reply is nobody's.
    pub(super) fn add(&mut self, words: &[&[u8]], must: bool, out: &mut Output) {
        let mut request = Vec::new();
        write(&mut request, words);
        out.put(&request);
        self.sent += 1;
        let number = self.sent;
        self.added.push_back(Added { number, must });
        self.plain = false;
    }

    /// A server counts from the last command on the connection, and on this one the client may not have
    /// written anything. The same command makes it current, which whoever may wait may say.
    pub(super) fn put_wait(&mut self, message: &Message<'_>, out: &mut Output) {
        let name = message.attributes.slot(spec::COMMAND, message.wire());
        match name {
            _ if message.head.kind != Kind::Request => {}
            Some(b"waitaof") => self.add(&[b"WAITAOF", b"0", b"0", b"0"], false, out),
            _ => self.add(&[b"WAIT", b"0", b"0"], false, out),
        }
        out.put(message.wire());
    }

    /// Loads the script that is called, unless the server is sure to have it. If the server refuses that, the call
    /// is answered as it would be without.
    pub(super) fn put_loads(&mut self, message: &Message<'_>, out: &mut Output) {
        self.plain = false;
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
