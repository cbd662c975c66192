//! The codec of one protocol: decode, encode, synthesize.

use crate::{
    DecodeError, EncodeError, Message, Output, Reason, ReplyContext, Session, Unsupported,
};

/// The side of a connection that a codec serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The codec acts as a server to its peer: it decodes requests and encodes responses.
    Server,
    /// The codec acts as a client to its peer: it encodes requests and decodes responses.
    Client,
}

impl Side {
    /// Returns the name used in `meltemi decode` and sample files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
        }
    }

    /// Returns the name of the peer whose messages this side decodes.
    pub const fn peer(self) -> &'static str {
        match self {
            Self::Server => "client",
            Self::Client => "server",
        }
    }
}

/// The decode depth that the compiled configuration needs. Each level includes the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Interest {
    /// Kind, id, and the keys that are cheap to read.
    #[default]
    Route,
    /// Metadata that is more expensive to reach (attachments behind the arguments, header blocks).
    Headers,
    /// The whole message, held and checked.
    Body,
}

/// The result of decoding the front of the input.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a box would allocate per message"
)]
pub enum Decoded<'b> {
    /// One message, or one piece of a large one, and its length in bytes.
    Message(Message<'b>, usize),
    /// The input is too short: it must hold at least this many bytes before the next call. The next
    /// call gets the same bytes with more after them.
    Incomplete(usize),
    /// Bytes without meaning (an empty line between commands): discard this many.
    Skip(usize),
}

/// A message that the proxy itself sends.
#[derive(Clone, Copy, Debug)]
pub enum LocalMessage<'a> {
    /// To a client: this request failed.
    Failure {
        /// The request.
        to: &'a ReplyContext,
        /// The reason.
        reason: Reason,
        /// One short line of text for a person.
        text: &'a str,
    },
    /// To a client: the codec's own reply to a [`Kind::Local`](crate::Kind::Local) request.
    CodecReply {
        /// The request.
        to: &'a ReplyContext,
    },
    /// To a server: a heartbeat request.
    Ping {
        /// The id to use, in protocols with ids.
        id: i64,
    },
    /// To a server: a call of this operation without arguments, to check that the service responds.
    /// Used only if [`Spec::probes`](crate::Spec::probes) is set.
    Probe {
        /// The id to use, in protocols with ids.
        id: i64,
        /// The operation, as the protocol names it.
        operation: &'a str,
    },
    /// To a client or a server: the reply to a heartbeat.
    Pong {
        /// The heartbeat request.
        to: &'a ReplyContext,
    },
    /// To a client: send no more requests on this connection. Requests in flight are still
    /// answered.
    GoAway,
}

/// One side of one connection. A codec implements one protocol, and does not depend on routes,
/// sockets or time.
///
/// # Contract
/// - `decode` reads at the front of `input`. [`Decoded::Incomplete`] consumes nothing, and the
///   codec remembers how far it scanned, so that a peer that sends single bytes costs linear time.
///   Between two calls the caller may only append to the input, or consume the number of bytes that
///   `decode` returned.
/// - Messages of up to [`Limits::hold`](crate::Limits::hold) bytes are presented whole.
/// - In the steady state `decode` and `encode` of small messages do not allocate memory.
/// - No input causes a panic, or memory use beyond the limits.
/// - For protocols that reply in request order, the router calls `encode` (last piece of a
///   response) or `synthesize` on the server side exactly once per request, in the order of the
///   requests.
pub trait Codec: Send {
    /// Decodes one message at the front of `input`, to the depth `want`.
    ///
    /// # Errors
    /// [`DecodeError::Message`] if the message is malformed but its length is known,
    /// [`DecodeError::Connection`] if framing is lost.
    fn decode<'b>(&mut self, input: &'b [u8], want: Interest) -> Result<Decoded<'b>, DecodeError>;

    /// Appends a message that a codec of the same protocol decoded. An unedited message is written
    /// as it arrived, an edited one with its changes. A client side may write an unedited one-way
    /// message with another id. If a reply to it arrives all the same, this id identifies the reply
    /// as a [`Kind::Push`](crate::Kind::Push).
    ///
    /// # Errors
    /// Fails if the protocol cannot carry an edit. `out` is then unchanged.
    fn encode(&mut self, message: &Message<'_>, out: &mut Output) -> Result<(), EncodeError>;

    /// Appends a message of the proxy itself, in the form of the protocol.
    ///
    /// # Errors
    /// Fails if the protocol has no such message. `out` is then unchanged.
    fn synthesize(&mut self, say: LocalMessage<'_>, out: &mut Output) -> Result<(), Unsupported>;

    /// Returns the data of a request that is needed to answer it later.
    fn receipt(&self, request: &Message<'_>) -> ReplyContext {
        ReplyContext::new(request.head.id)
    }

    /// Server side: returns `true` if this client is still tied to its pinned upstream connection.
    /// The router calls this after every reply.
    fn pinned(&self) -> bool {
        false
    }

    /// Server side: asks the codec to keep a request. The request ties the client
    /// ([`Bind::Pin`](crate::Bind::Pin)), [follows](crate::Head::follows), and would be the first
    /// on its upstream connection, while several clusters are possible. If the result is `Some`,
    /// the codec keeps the request and puts it before the next request, which decides the cluster
    /// for both. The router then replies with [`LocalMessage::CodecReply`] and this receipt.
    fn defer(&mut self, request: &Message<'_>) -> Option<ReplyContext> {
        let _ = request;
        None
    }

    /// Server side: the router denied a request that is part of a tie, and has already sent the
    /// reply. Returns `true` if the server does not carry out the earlier requests of the tie
    /// without this one. If `false`, the router closes both connections.
    fn spoiled(&mut self) -> bool {
        false
    }

    /// Server side: returns the session in which this client's requests must run. It changes only
    /// by the reply to a [`Bind::Session`](crate::Bind::Session) request.
    fn session(&self) -> Session {
        Session::default()
    }

    /// Client side: a server refused its copy of a request to every endpoint
    /// ([`Reach::Every`](crate::Reach::Every)). Returns `true` if the request does not fail because
    /// of this refusal, for example because the server gets the change from another server.
    fn excuses(&self, refusal: &Message<'_>) -> bool {
        let _ = refusal;
        false
    }

    /// Client side: records that a request has changed the session of the connection.
    fn adopt(&mut self, session: &Session) {
        let _ = session;
    }
}
