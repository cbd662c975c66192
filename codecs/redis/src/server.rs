//! The client side: reads requests, writes replies, and stores the state that ties a client to its upstream
//! connection. It must not depend on routes or upstreams.

mod ask;

use std::sync::Arc;

use meltemi_frame::{
    Codec, DecodeError, Decoded, EncodeError, Fault, Head, Interest, Kind, Limits, LocalMessage,
    Message, Output, ReplyContext, Session, SmallBytes, Status, Unsupported,
};

use crate::args::Args;
use crate::broken::Broken;
use crate::command::{Act, find};
use crate::cursor;
use crate::guard::Guard;
use crate::keys;
use crate::layout;
use crate::quick;
use crate::request::{Bounds, REQUEST_MAX, Rest, Scan, Step};
use crate::spec;
use crate::subscriptions::{Word, word};
use crate::ties::{Outcome, Ties};
use crate::words::{self, Local};

pub(crate) struct Server {
    /// The maximum size in bytes of a request, of a buffered one, and of one that is always buffered.
    request: usize,
    frame: usize,
    hold: usize,
    guard: Option<Arc<Guard>>,
    /// The proxy has admitted the client.
    admitted: bool,
    /// The server requires credentials that the client has not sent.
    stranger: bool,
    scan: Scan,
    /// The number of bytes to inspect. A large request is cut at the same position however it arrives.
    window: usize,
    /// The large request that passes through.
    rest: Option<Box<Rest>>,
    ties: Ties,
    /// The outcome of the reply that passes through.
    passing: Option<Outcome>,
    /// `true` if a complete reply without an error changes no state here: see [`Server::is_calm`].
    calm: bool,
}

impl Server {
    pub(crate) fn new(limits: &Limits, session: &Session, guard: Option<Arc<Guard>>) -> Self {
        Self {
            request: limits.request.unwrap_or(REQUEST_MAX),
            frame: limits.frame,
            hold: limits.hold,
            admitted: guard.is_none(),
            stranger: false,
            guard,
            scan: Scan::default(),
            window: limits.hold,
            rest: None,
            ties: Ties::new(session),
            passing: None,
            calm: true,
        }
    }

    /// Returns `true` if no state depends on the next reply. [`Server::calm`] caches the result: every
    /// request that is not plain clears the flag, and the next inspected reply sets it again.
    fn is_calm(&self) -> bool {
        !self.stranger && self.passing.is_none() && self.ties.is_calm()
    }

    const fn bounds(&self) -> Bounds {
        Bounds {
            request: self.request,
            stranger: !self.admitted || self.stranger,
        }
    }

    fn array<'b>(&mut self, input: &'b [u8], want: Interest) -> Result<Decoded<'b>, DecodeError> {
        let bounds = self.bounds();
        if want == Interest::Body {
            self.window = usize::MAX;
        }
        if self.scan.is_new() && !bounds.stranger {
            let view = input.get(..self.window).unwrap_or(input);
            if let Some(args) = quick::request(view, bounds.request) {
                self.window = self.hold;
                return self.request(&args, true);
            }
        }
        self.scanned(input, bounds)
    }

    fn scanned<'b>(&mut self, input: &'b [u8], bounds: Bounds) -> Result<Decoded<'b>, DecodeError> {
        loop {
            let view = input.get(..self.window).unwrap_or(input);
            match self.scan.array(view, bounds).map_err(lost)? {
                Step::Blank(length) => return Ok(Decoded::Skip(length)),
                Step::Whole(length) => {
                    let scan = self.next();
                    let wire = view.get(..length).unwrap_or_default();
                    let args = Args::scanned(wire, scan.count(), scan.front, scan.seen);
                    return self.request(&args, true);
                }
                Step::Short(need) if view.len() < self.window => {
                    let need = need.min(self.window);
                    self.holds(need)?;
                    return Ok(Decoded::Incomplete(need));
                }
                Step::Short(need) => {
                    match self.passes(view) {
                        Some(true) => return self.head(view, bounds),
                        Some(false) => self.window = need,
                        None => self.window = usize::MAX,
                    }
                    self.holds(need)?;
                    if input.len() < need {
                        return Ok(Decoded::Incomplete(need));
                    }
                }
            }
        }
    }

    /// Fails if a request that must be buffered exceeds the limit.
    fn holds(&self, length: usize) -> Result<(), DecodeError> {
        if length <= self.frame {
            return Ok(());
        }
        Err(lost(Broken::TooLarge {
            length: length as u64,
            limit: self.frame as u64,
        }))
    }

    /// Resets the scan for the next request. Returns the scan of this one.
    fn next(&mut self) -> Scan {
        self.window = self.hold;
        std::mem::take(&mut self.scan)
    }

    /// Returns `true` if all needed parts of a large request are present. `None`: it must be buffered whole.
    fn passes(&self, view: &[u8]) -> Option<bool> {
        let scan = &self.scan;
        if self.bounds().stranger {
            return None;
        }
        if scan.seen == 0 {
            return Some(false);
        }
        let args = Args::scanned(view, scan.count(), scan.front, scan.seen);
        let command = args.bytes(0).and_then(|name| find(&name));
        let passes = command.is_none_or(|command| {
            matches!(
                command.act,
                Act::Plain | Act::Set | Act::Block | Act::EvalSha
            ) && command.subs.is_empty()
        });
        let needed = keys::needed(command, &args, scan.seen)
            .filter(|needed| passes && *needed < scan.count())?;
        Some(scan.seen >= needed)
    }

    fn head<'b>(&mut self, view: &'b [u8], bounds: Bounds) -> Result<Decoded<'b>, DecodeError> {
        let cut = self.scan.cut(view, view.len(), bounds);
        let (length, rest) = cut.map_err(lost)?;
        self.rest = Some(Box::new(rest));
        let scan = self.next();
        let wire = view.get(..length).unwrap_or_default();
        let args = Args::scanned(wire, scan.count(), scan.front, scan.seen);
        self.request(&args, false)
    }

    /// Decodes the next piece of a large request.
    fn piece<'b>(
        &mut self,
        input: &'b [u8],
        mut rest: Box<Rest>,
    ) -> Result<Decoded<'b>, DecodeError> {
        let (length, end) = rest.take(input, self.bounds()).map_err(lost)?;
        if !end {
            self.rest = Some(rest);
        }
        if length == 0 {
            return Ok(Decoded::Incomplete(input.len() + 1));
        }
        let mut head = Head::new(Kind::Data, None);
        head.end = end;
        let wire = input.get(..length).unwrap_or_default();
        Ok(Decoded::Message(Message::new(head, wire), length))
    }

    fn inline<'b>(&mut self, input: &'b [u8]) -> Result<Decoded<'b>, DecodeError> {
        match self.scan.line(input).map_err(lost)? {
            Step::Short(need) => Ok(Decoded::Incomplete(need)),
            Step::Blank(length) => {
                self.next();
                Ok(Decoded::Skip(length))
            }
            Step::Whole(length) => {
                let scan = self.next();
                let wire = input.get(..length).unwrap_or_default();
                self.request(&Args::scanned(wire, scan.count(), scan.front, 0), true)
            }
        }
    }

    fn outcome(message: &Message<'_>) -> Outcome {
        match message.head.status {
            Status::Ok => match message.wire() {
                b"+QUEUED\r\n" => Outcome::Queued,
                [b'_', ..] | [b'*' | b'$', b'-', ..] => Outcome::Null,
                _ => Outcome::Ok,
            },
            Status::Failed(_) | Status::Redirect(_) => Outcome::Failed,
        }
    }

    /// Learns from a reply if the server accepts the client: the reply succeeds only if the client has
    /// authenticated, or if the server requires no credentials.
    fn recognise(&mut self, message: &Message<'_>) {
        let head = &message.head;
        match head.status {
            Status::Failed(Fault::Denied) => {
                self.stranger |= message.wire().starts_with(b"-NOAUTH");
            }
            Status::Ok if self.stranger => self.stranger = head.kind != Kind::Response,
            _ => {}
        }
    }

    /// Writes the bytes that the client gets for a message of any kind.
    #[inline(never)]
    fn put(&mut self, message: &Message<'_>, out: &mut Output) -> Result<(), EncodeError> {
        if message.id_changed() {
            return Err(spec::no_id());
        }
        if let Some(edit) = message.edits().first() {
            return Err(spec::refused(edit, "replies cannot be edited"));
        }
        let quiet = self.ties.is_quiet();
        if self.is_silent(message) {
            // The client does not want this reply.
        } else if let Some(mark) = message.mark() {
            cursor::put_reply(message.wire(), mark, out);
        } else if quiet || !self.ties.put_own(message, out) {
            out.put(message.wire());
        }
        self.follow(message, quiet);
        Ok(())
    }

    /// Returns `true` if the client has switched off the reply that the message is a part of. As in
    /// Redis, confirmations of subscriptions are sent.
    fn is_silent(&self, message: &Message<'_>) -> bool {
        self.ties.is_silent()
            && match message.head.kind {
                Kind::Response => !matches!(word(message.wire()), Some(Word::Confirmed { .. })),
                Kind::Data => self.passing.is_some(),
                _ => false,
            }
    }

    /// Updates the state for an outgoing message. `quiet` is `true` if the client has no ties.
    fn follow(&mut self, message: &Message<'_>, quiet: bool) {
        let head = &message.head;
        if self.stranger || head.status != Status::Ok {
            self.recognise(message);
        }
        if quiet && head.kind == Kind::Response && head.end {
            self.passing = None;
            self.ties.answer_quiet();
        } else {
            self.follow_closely(message);
        }
        self.calm = self.is_calm();
    }

    fn follow_closely(&mut self, message: &Message<'_>) {
        let head = &message.head;
        match head.kind {
            Kind::Response if self.ties.is_quiet() => {
                self.passing = Some(Outcome::Ok);
            }
            Kind::Response => {
                self.ties.reply(word(message.wire()));
                self.passing = Some(Self::outcome(message));
            }
            Kind::Push => {
                self.passing = None;
                if !self.ties.is_quiet() {
                    self.ties.push_frame(word(message.wire()));
                }
            }
            _ => {}
        }
        if head.end
            && let Some(outcome) = self.passing.take()
        {
            self.ties.answer(outcome);
        }
    }
}

/// Returns `true` if the message is a complete reply without an error, and is sent unchanged.
#[inline]
fn is_success(message: &Message<'_>) -> bool {
    let head = &message.head;
    head.kind == Kind::Response && head.end && head.status == Status::Ok && message.is_unedited()
}

impl Codec for Server {
    fn decode<'b>(&mut self, input: &'b [u8], want: Interest) -> Result<Decoded<'b>, DecodeError> {
        if let Some(rest) = self.rest.take() {
            return self.piece(input, rest);
        }
        match input.first() {
            None => Ok(Decoded::Incomplete(1)),
            Some(b'*') => self.array(input, want),
            Some(_) => self.inline(input),
        }
    }

    fn encode(&mut self, message: &Message<'_>, out: &mut Output) -> Result<(), EncodeError> {
        if self.calm && is_success(message) {
            self.ties.answer_calm();
            out.put(message.wire());
            return Ok(());
        }
        self.put(message, out)
    }

    fn synthesize(&mut self, say: LocalMessage<'_>, out: &mut Output) -> Result<(), Unsupported> {
        let silent = self.ties.is_silent();
        let outcome = match say {
            LocalMessage::Failure { to, reason, text } => {
                if !silent {
                    words::failure(reason, text, to, out);
                }
                self.ties.fails();
                Outcome::Failed
            }
            LocalMessage::CodecReply { to } => {
                let unknown = spec::unsupported("a reply that the codec did not decide");
                let local = Local::of(to.bits).ok_or(unknown)?;
                if !silent {
                    words::own(local, to, out);
                }
                if local.is_error() {
                    Outcome::Failed
                } else {
                    Outcome::Ok
                }
            }
            LocalMessage::Ping { .. } | LocalMessage::Probe { .. } => {
                return Err(spec::unsupported("a request to a client"));
            }
            LocalMessage::Pong { .. } => return Err(spec::unsupported("a pong")),
            LocalMessage::GoAway => return Err(spec::unsupported("a shutdown notice")),
        };
        self.passing = None;
        self.ties.reply(None);
        self.ties.answer(outcome);
        self.calm = self.is_calm();
        Ok(())
    }

    fn receipt(&self, request: &Message<'_>) -> ReplyContext {
        let local = request.layout[layout::LOCAL];
        if local == 0 {
            return ReplyContext::default();
        }
        let name = request
            .attributes
            .slot(spec::COMMAND, request.wire())
            .unwrap_or_default();
        let name = SmallBytes::new(name.get(..name.len().min(32)).unwrap_or_default());
        ReplyContext {
            id: None,
            bits: words::bits(local),
            name,
        }
    }

    fn defer(&mut self, request: &Message<'_>) -> Option<ReplyContext> {
        self.calm = false;
        let kept = request.head.kind == Kind::Request && self.ties.defer();
        kept.then(|| ReplyContext {
            bits: words::bits(Local::Ok as u32),
            ..ReplyContext::default()
        })
    }

    fn spoiled(&mut self) -> bool {
        self.calm = false;
        self.ties.refused()
    }

    fn pinned(&self) -> bool {
        self.ties.pinned()
    }

    fn session(&self) -> Session {
        self.ties.session()
    }
}

/// The framing is lost. The client gets the error in the order of its requests.
fn lost(broken: Broken) -> DecodeError {
    DecodeError::Connection {
        violation: broken.violation(),
        answer: Some(Box::new(words::broken(broken))),
    }
}

#[cfg(test)]
mod tests;
