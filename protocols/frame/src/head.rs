//! The head of a message: the facts that the router needs, in every protocol.

use std::time::Duration;

use crate::{Fault, Reach, Span};

/// The kind of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A request that gets exactly one [`Kind::Response`].
    Request,
    /// A request that never gets a reply, not even an error.
    OneWay,
    /// The response to a request.
    Response,
    /// A message that the upstream sends without a request (a subscription's message, an
    /// invalidation). It answers no request and has no place in the order of replies.
    Push,
    /// A further piece of the message before it, whose [`Head::end`] was not set.
    Data,
    /// A heartbeat that requests a reply.
    Ping,
    /// The reply to a heartbeat, or a heartbeat that requests none.
    Pong,
    /// The peer accepts no new requests. It still answers requests in flight.
    GoAway,
    /// A request that the codec answers itself, in its turn. The router calls
    /// [`Codec::synthesize`](crate::Codec::synthesize) with
    /// [`LocalMessage::CodecReply`](crate::LocalMessage::CodecReply).
    Local,
}

impl Kind {
    /// Returns the name used in logs, metrics and `meltemi decode`.
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

    /// Returns `true` if the router must send the caller exactly one reply.
    pub const fn expects_reply(self) -> bool {
        matches!(self, Self::Request | Self::Local)
    }
}

/// How strongly a request ties its downstream connection to one upstream connection.
///
/// No message marks the end of a [`Bind::Pin`], because it depends on replies (`EXEC` that fails,
/// the last `UNSUBSCRIBE`). The router calls [`Codec::pinned`](crate::Codec::pinned) of the
/// downstream codec after every reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Bind {
    /// The request can use any connection with the same [`Session`](crate::Session).
    #[default]
    Free,
    /// The request needs a connection for itself until its response has ended (a blocking command,
    /// which would delay all other requests on the connection).
    Dedicated,
    /// From here on both connections stay together, until [`Codec::pinned`](crate::Codec::pinned)
    /// returns `false` (`MULTI`, `SUBSCRIBE`).
    Pin,
    /// The request changes the state of the connection (`HELLO`, `AUTH`, `SELECT`). It runs alone.
    /// If it succeeds, the connection belongs to the new [`Session`](crate::Session).
    Session,
    /// Like [`Bind::Session`], but from a fresh connection (`AUTH`). The result does not depend on
    /// the connection's earlier state, and the request must work even if the client's earlier
    /// session can no longer be reached.
    Login,
}

impl Bind {
    /// Returns `true` if a success moves the connection to another [`Session`](crate::Session).
    pub const fn changes_session(self) -> bool {
        matches!(self, Self::Session | Self::Login)
    }
}

/// The safety of a request for retries and replica reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Safety {
    /// The request changes nothing.
    Read,
    /// The request may change something, but repeating it has no further effect.
    Idempotent,
    /// Unknown safety: the request is never sent twice.
    #[default]
    Unknown,
}

impl Safety {
    /// Returns the name used in logs and `meltemi decode`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Idempotent => "idempotent",
            Self::Unknown => "unknown",
        }
    }
}

/// The target of a redirecting response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// `host:port` in the wire bytes of the message; an empty host means "the same host".
    pub address: Span,
    /// `true` if the redirect applies to this one request only (Redis `ASK`).
    pub once: bool,
}

/// The status of a response. [`Status::Ok`] for every other kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Status {
    /// The call succeeded, or the protocol does not report success.
    #[default]
    Ok,
    /// The call failed, with the fault that the peer reports.
    Failed(Fault),
    /// The request must be sent to another endpoint.
    Redirect(Redirect),
}

impl Status {
    /// Returns the name used in logs and `meltemi decode`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed(_) => "failed",
            Self::Redirect(_) => "redirect",
        }
    }
}

/// The facts about a message that the router needs, in every protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The kind of the message.
    pub kind: Kind,
    /// The correlation id as the peer wrote it, sign-extended. `None` if the protocol has none.
    pub id: Option<i64>,
    /// `true` if this is the last piece of the message, which includes every message that is held
    /// whole. A large message arrives as a head without it, and [`Kind::Data`] pieces until one has
    /// it.
    pub end: bool,
    /// `true` if the connection ends after the response to this message (`QUIT`).
    pub close: bool,
    /// How strongly the request ties both connections together.
    pub bind: Bind,
    /// `true` if the request names nothing that selects a cluster. On a tied connection it goes to
    /// the tied cluster, whatever its route (`EXEC`).
    pub follows: bool,
    /// The endpoints that must get the request.
    pub reach: Reach,
    /// The status of a response.
    pub status: Status,
    /// The safety of a request for retries.
    pub safety: Safety,
    /// The caller's timeout, if the protocol carries it.
    pub timeout: Option<Duration>,
}

impl Head {
    /// Creates the head of a whole message with the correlation `id`. All other fields get default
    /// values.
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
