//! The head of a message: what the router must know of it, whatever the protocol.

use std::time::Duration;

use crate::{Fault, Reach, Span};

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A request that is answered by exactly one [`Kind::Response`].
    Request,
    /// A request that is never answered, not even with an error.
    OneWay,
    /// The answer to a request.
    Response,
    /// A message that the upstream sends unasked (a subscription's message, an invalidation). It
    /// answers nothing and takes no place in the order of replies.
    Push,
    /// A further piece of the message before it, which came with [`Head::end`] unset.
    Data,
    /// A heartbeat that asks for an answer.
    Ping,
    /// The answer to a heartbeat, or a heartbeat that asks for none.
    Pong,
    /// The peer is leaving: no new requests for it, but what is in flight is still answered.
    GoAway,
    /// A request that the codec answers itself, in its turn: the router calls
    /// [`Codec::synthesize`](crate::Codec::synthesize) with [`LocalMessage::CodecReply`](crate::LocalMessage::CodecReply).
    Local,
}

impl Kind {
    /// The name used in logs, metrics and `meltemi decode`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::OneWay => "oneway",
            Self::Response => "response",
            Self::Push => "push",
            Self::Data => "data",
            Self::Ping => "ping",
            Self::Pong => "pong",
            Self::GoAway => "goaway",
            Self::Local => "local",
        }
    }

    /// Whether the router owes the caller exactly one answer.
    pub const fn expects_reply(self) -> bool {
        matches!(self, Self::Request | Self::Local)
    }
}

/// How far a request ties its downstream connection to one upstream connection.
///
/// The end of a [`Bind::Pin`] is not told by a message, because it depends on replies
/// (`EXEC` that fails, the last `UNSUBSCRIBE`): the router asks
/// [`Codec::pinned`](crate::Codec::pinned) of the downstream codec after every reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Bind {
    /// Any connection with the same [`Session`](crate::Session) will do.
    #[default]
    Free,
    /// The request needs a connection for itself until its response has ended (a blocking
    /// command: whoever shared the connection would wait with it).
    Dedicated,
    /// From here on both connections belong together, until the downstream codec says
    /// otherwise (`MULTI`, `SUBSCRIBE`).
    Pin,
    /// The request changes what the connection *is* (`HELLO`, `AUTH`, `SELECT`). It runs alone;
    /// if it succeeds, the connection is one of the new [`Session`](crate::Session).
    Session,
    /// The same, from a fresh connection (`AUTH`): it holds whatever the connection was before, and must
    /// work where the session that the client had cannot be reached any more.
    Login,
}

impl Bind {
    /// Whether a success makes the connection one of another [`Session`](crate::Session).
    pub const fn changes_session(self) -> bool {
        matches!(self, Self::Session | Self::Login)
    }
}

/// What retries and replica reads may assume of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Safety {
    /// Changes nothing.
    Read,
    /// May change something, but twice is the same as once.
    Idempotent,
    /// Nothing is known: never sent twice.
    #[default]
    Unknown,
}

impl Safety {
    /// The name used in logs and `meltemi decode`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Idempotent => "idempotent",
            Self::Unknown => "unknown",
        }
    }
}

/// Where a redirecting response points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// `host:port` in the wire bytes of the message; an empty host means "the same host".
    pub address: Span,
    /// The move holds for this one request only (Redis `ASK`).
    pub once: bool,
}

/// How a response went. [`Status::Ok`] for every other kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Status {
    /// The call succeeded, or the protocol does not tell.
    #[default]
    Ok,
    /// The call failed, and this is what the peer says of it.
    Failed(Fault),
    /// Ask elsewhere.
    Redirect(Redirect),
}

impl Status {
    /// The name used in logs and `meltemi decode`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed(_) => "failed",
            Self::Redirect(_) => "redirect",
        }
    }
}

/// What the router must know of a message, whatever the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// What the message is for.
    pub kind: Kind,
    /// The correlation id as the peer wrote it, sign-extended; `None` where the protocol has none.
    pub id: Option<i64>,
    /// This is the last piece of the message. A message that was held whole has it set; a
    /// large one comes as a head without it, and [`Kind::Data`] pieces until one has it.
    pub end: bool,
    /// The connection ends after this message's answer (`QUIT`).
    pub close: bool,
    /// How far the request ties both connections together.
    pub bind: Bind,
    /// The request names nothing that decides where it belongs: on a connection that is tied it goes where
    /// that leads, whatever its route says (`EXEC`).
    pub follows: bool,
    /// Which endpoints the request concerns.
    pub reach: Reach,
    /// How a response went.
    pub status: Status,
    /// What a retry may assume of a request.
    pub safety: Safety,
    /// How long the caller says it will wait, if the protocol carries that.
    pub timeout: Option<Duration>,
}

impl Head {
    /// A whole message of `kind` with correlation `id`, and nothing else known.
    pub const fn new(kind: Kind, id: Option<i64>) -> Self {
        Self {
            kind,
            id,
            end: true,
            close: false,
            bind: Bind::Free,
            follows: false,
            reach: Reach::Any,
            status: Status::Ok,
            safety: Safety::Unknown,
            timeout: None,
        }
    }
}
