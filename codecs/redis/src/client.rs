//! The upstream side: writes requests, reads replies, and separates replies from messages that the
//! server pushes. It must not depend on clients or routes.

mod loads;
mod nobody;

use std::collections::VecDeque;
use std::sync::Arc;

use meltemi_frame::{
    Attributes, Codec, DecodeError, Decoded, EncodeError, Head, Interest, Kind, Layout, Limits,
    LocalMessage, Message, Output, Session, Unsupported, Violation,
};

use crate::answer::{failure, is_monitored, type_name};
use crate::layout;
use crate::quick;
use crate::reply::{Scan, Step};
use crate::rewrite::{put_edited, put_hello};
use crate::scripts::Scripts;
use crate::spec;
use crate::state::State;
use crate::subscriptions::{Subscriptions, Word, word};

use loads::Loads;
use nobody::Added;

pub(crate) struct Client {
    limits: Limits,
    scan: Scan,
    /// The number of input bytes to inspect before a large reply is passed through.
    window: usize,
    /// `true` while a large reply passes through.
    passing: bool,
    /// The number of replies to the session's preamble that are still due, and the session until
    /// then.
    preamble: u32,
    session: Session,
    resp3: bool,
    /// The number of written requests that get a reply.
    sent: u64,
    /// The number of replies that have begun.
    answered: u64,
    /// Requests added here. Their replies go to no client.
    added: VecDeque<Added>,
    subscriptions: Subscriptions,
    monitor: bool,
    scripts: Arc<Scripts>,
    /// Created with the first script.
    loads: Option<Box<Loads>>,
    /// `true` if every whole reply answers the next request: see [`Client::is_plain`].
    plain: bool,
}

impl Client {
    pub(crate) fn new(limits: &Limits, session: &Session) -> Self {
        Self {
            limits: *limits,
            scan: Scan::default(),
            window: limits.hold,
            passing: false,
            preamble: session.replies(),
            session: session.clone(),
            resp3: State::of(session).resp3,
            sent: 0,
            answered: 0,
            added: VecDeque::new(),
            subscriptions: Subscriptions::default(),
            monitor: false,
            scripts: Arc::default(),
            loads: None,
            plain: session.replies() == 0,
        }
    }

    /// Returns `true` if no state of the connection depends on its replies. [`Client::plain`]
    /// caches the result: every change that may make it false clears the flag, and the next
    /// inspected reply sets it again.
    fn is_plain(&self) -> bool {
        self.preamble == 0
            && !self.passing
            && self.added.is_empty()
            && self.loads.as_ref().is_none_or(|loads| loads.is_settled())
            && !self.monitor
            && !self.subscriptions.is_active()
    }

    /// Decodes the reply at the front of the input, of any type.
    #[inline(never)]
    fn any<'b>(&mut self, input: &'b [u8], want: Interest) -> Result<Decoded<'b>, DecodeError> {
        if self.passing {
            return self.piece(input);
        }
        if want == Interest::Body || self.preamble > 0 {
            self.window = usize::MAX;
        }
        loop {
            let view = input.get(..self.window).unwrap_or(input);
            let need = match self
                .scan
                .scan(view, self.limits.depth)
                .map_err(DecodeError::lost)?
            {
                Step::Whole(length) => {
                    return self.scanned(view.get(..length).unwrap_or_default(), true);
                }
                Step::Short(need) => need,
            };
            if view.len() < self.window {
                let need = need.min(self.window);
                self.within(need)?;
                return Ok(Decoded::Incomplete(need));
            }
            // The type of the reply must be known first.
            if self.scan.proper().is_some() && self.scan.at() > 0 {
                return self.scanned(view.get(..self.scan.at()).unwrap_or_default(), false);
            }
            self.within(need)?;
            self.window = need.max(self.window.saturating_mul(2));
            if input.len() < need {
                return Ok(Decoded::Incomplete(need));
            }
        }
    }

    /// Returns the same client with the scripts that all connections share.
    pub(crate) fn with_scripts(mut self, scripts: &Arc<Scripts>) -> Self {
        self.scripts = Arc::clone(scripts);
        self
    }

    /// Decodes the next piece of a large reply.
    fn piece<'b>(&mut self, input: &'b [u8]) -> Result<Decoded<'b>, DecodeError> {
        let step = self
            .scan
            .scan(input, self.limits.depth)
            .map_err(DecodeError::lost)?;
        let mut head = Head::new(Kind::Data, None);
        let length = match step {
            Step::Whole(length) => {
                self.scan.clear();
                self.passing = false;
                length
            }
            Step::Short(_) => {
                let length = self.scan.at();
                if length == 0 {
                    self.within(input.len())?;
                    return Ok(Decoded::Incomplete(input.len() + 1));
                }
                self.scan.rebase();
                head.end = false;
                length
            }
        };
        let wire = input.get(..length).unwrap_or_default();
        Ok(Decoded::Message(Message::new(head, wire), length))
    }

    /// Fails if a reply that must be buffered exceeds the limit.
    fn within(&self, length: usize) -> Result<(), DecodeError> {
        let limit = self.limits.frame;
        if length <= limit {
            return Ok(());
        }
        Err(DecodeError::lost(Violation::TooLarge {
            length: length as u64,
            limit: limit as u64,
        }))
    }

    /// Decodes a scanned reply, whole or its front.
    fn scanned<'b>(&mut self, wire: &'b [u8], whole: bool) -> Result<Decoded<'b>, DecodeError> {
        let (kind, at) = self.scan.proper().unwrap_or_default();
        if whole {
            self.scan.clear();
        } else {
            self.scan.rebase();
            self.passing = true;
        }
        self.reply(wire, kind, at, whole)
    }

    /// Decodes a reply, whole or its front. Its type is `kind` and it starts at `at`.
    fn reply<'b>(
        &mut self,
        wire: &'b [u8],
        kind: u8,
        at: usize,
        whole: bool,
    ) -> Result<Decoded<'b>, DecodeError> {
        let decoded = self.look(wire, kind, at, whole);
        self.plain = self.is_plain();
        decoded
    }

    fn look<'b>(
        &mut self,
        wire: &'b [u8],
        kind: u8,
        at: usize,
        whole: bool,
    ) -> Result<Decoded<'b>, DecodeError> {
        self.window = self.limits.hold;
        if self.preamble > 0 {
            return self.preamble(wire, kind);
        }
        let what = self.kind(kind, wire.get(at..).unwrap_or_default());
        if what == Kind::Response {
            self.answered += 1;
            if let Some(loads) = &mut self.loads {
                loads.answered(self.answered, wire.get(at..).unwrap_or_default());
            }
            if !self.added.is_empty() && self.answers_added() {
                return self.added(wire, kind, whole);
            }
        }
        let mut head = Head::new(what, None);
        head.end = whole;
        message(head, wire, kind, at)
    }

    /// Decides if a frame answers a request.
    fn kind(&mut self, kind: u8, proper: &[u8]) -> Kind {
        if kind != b'>' && !self.monitor && !self.subscriptions.is_active() {
            return Kind::Response;
        }
        self.tell(kind, proper)
    }

    fn tell(&mut self, kind: u8, proper: &[u8]) -> Kind {
        let next = self.answered + 1;
        if self.monitor && kind == b'+' && is_monitored(proper) {
            return Kind::Push;
        }
        if !self.subscriptions.is_active() {
            return if kind == b'>' {
                Kind::Push
            } else {
                Kind::Response
            };
        }
        let frame = match kind {
            b'>' => word(proper),
            // RESP2 pushes arrays. On such a connection no command has an array like this as its
            // reply.
            b'*' if !self.resp3 => word(proper),
            _ => None,
        };
        let answers = match frame {
            Some(Word::Confirmed {
                family,
                subscribe,
                count,
            }) => {
                return if self.subscriptions.confirm(family, subscribe, count, next) {
                    Kind::Response
                } else {
                    Kind::Push
                };
            }
            Some(Word::Message) => false,
            None => kind != b'>',
        };
        if answers {
            if proper == b"+QUEUED\r\n" {
                self.subscriptions.queued(next);
            } else {
                self.subscriptions.answered(next);
            }
            return Kind::Response;
        }
        Kind::Push
    }

    /// Updates the state for an outgoing message.
    fn follow(&mut self, message: &Message<'_>) {
        if message.head.kind != Kind::Request {
            return;
        }
        self.sent += 1;
        if message.layout[layout::NOTE] == 0 {
            return;
        }
        if let Some(loads) = &mut self.loads {
            loads.sent(message, self.sent);
        }
        self.plain = false;
        self.monitor |= message.layout[layout::NOTE] == layout::MONITOR;
        if let Some((family, subscribe)) = layout::subscription(&message.layout) {
            self.subscriptions.ask(
                family,
                subscribe,
                message.layout[layout::CHANNELS],
                self.sent,
            );
        }
    }
}

/// Returns the message of a reply that [`quick::reply`] found. It equals the result of [`message`].
#[inline(never)]
fn success(wire: &[u8], kind: u8) -> Result<Decoded<'_>, DecodeError> {
    let name = match kind {
        b'+' => "simple",
        b':' => "integer",
        _ if wire.get(1) == Some(&b'-') => "null",
        _ => "bulk",
    };
    let head = Head::new(Kind::Response, None);
    let attributes = Attributes::of_words([(spec::TYPE, name)]);
    let message = Message::of(head, attributes, Layout::default(), wire);
    Ok(Decoded::Message(message, wire.len()))
}

/// Builds the message of a reply. This is the last step, so that the message is not moved.
#[inline(never)]
fn message(mut head: Head, wire: &[u8], kind: u8, at: usize) -> Result<Decoded<'_>, DecodeError> {
    let proper = wire.get(at..).unwrap_or_default();
    let failed = matches!(kind, b'-' | b'!').then(|| failure(wire, at));
    let mut attributes = Attributes::of_words([(spec::TYPE, type_name(kind, proper))]);
    if let Some((code, status)) = failed {
        attributes.set_span(spec::ERROR, code);
        head.status = status;
    }
    let message = Message::of(head, attributes, Layout::default(), wire);
    Ok(Decoded::Message(message, wire.len()))
}

impl Codec for Client {
    fn decode<'b>(&mut self, input: &'b [u8], want: Interest) -> Result<Decoded<'b>, DecodeError> {
        if self.plain
            && self.scan.is_new()
            && let Some((kind, length)) = quick::reply(input)
            && length <= self.limits.hold
            && let Some(wire) = input.get(..length)
        {
            self.answered += 1;
            return success(wire, kind);
        }
        self.any(input, want)
    }

    fn excuses(&self, refusal: &Message<'_>) -> bool {
        // A replica gets functions from its leader.
        let code = refusal.attributes.slot(spec::ERROR, refusal.wire());
        code == Some(b"READONLY")
    }

    fn encode(&mut self, message: &Message<'_>, out: &mut Output) -> Result<(), EncodeError> {
        if message.id_changed() {
            return Err(spec::no_id());
        }
        if message.layout[layout::OPENS] != 0 {
            self.add(&[b"MULTI"], true, out);
        }
        match message.layout[layout::NOTE] {
            layout::ABORT => out.put(b"*1\r\n$7\r\nDISCARD\r\n"),
            layout::HELLO_STRIPPED | layout::HELLO_ORDERED if message.edits().is_empty() => {
                put_hello(message, out);
            }
            layout::WAIT if message.edits().is_empty() => self.put_wait(message, out),
            layout::LOADS if message.edits().is_empty() => self.put_loads(message, out),
            layout::SCAN if message.mark().is_some() => put_edited(message, out)?,
            _ if message.edits().is_empty() => out.put(message.wire()),
            _ => put_edited(message, out)?,
        }
        self.follow(message);
        Ok(())
    }

    fn synthesize(&mut self, say: LocalMessage<'_>, out: &mut Output) -> Result<(), Unsupported> {
        match say {
            LocalMessage::Ping { .. } => {
                out.put(b"*1\r\n$4\r\nPING\r\n");
                self.sent += 1;
                Ok(())
            }
            _ => Err(spec::unsupported("this message to a server")),
        }
    }

    fn adopt(&mut self, session: &Session) {
        self.resp3 = State::of(session).resp3;
    }
}

#[cfg(test)]
mod tests;
