//! The three verbs of a codec: decode, encode, synthesize.

use crate::{
    DecodeError, EncodeError, Message, Output, Reason, ReplyContext, Session, Unsupported,
};

/// Which end of a connection the codec reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The codec is a server to its peer: it decodes requests and encodes responses.
    Server,
    /// The codec is a client to its peer: it encodes requests and decodes responses.
    Client,
}

impl Side {
    /// The name used in `meltemi decode` and sample files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
        }
    }

    /// The name of the peer that sends what this side decodes.
    pub const fn peer(self) -> &'static str {
        match self {
            Self::Server => "client",
            Self::Client => "server",
        }
    }
}

/// How deep the compiled configuration needs a codec to look. Each includes the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Interest {
    /// Kind, id, and the keys that are cheap to read.
    #[default]
    Route,
    /// Metadata that costs more to reach (attachments behind the arguments, header blocks).
    Headers,
    /// The whole message, held and checked.
    Body,
}

/// What `decode` found at the front of the input.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a box would allocate per message"
)]
pub enum Decoded<'b> {
    /// One message, or one piece of a large one, and how many bytes it took.
    Message(Message<'b>, usize),
    /// Not enough yet: the input must hold at least this many bytes before it is worth another
    /// call. The same bytes are then presented again, with more behind them.
    Incomplete(usize),
    /// Bytes that mean nothing (an empty line between commands): drop this many.
    Skip(usize),
}

/// What the mesh itself has to say.
#[derive(Clone, Copy, Debug)]
pub enum LocalMessage<'a> {
    /// To a client: this request failed.
    Failure {
        /// The request.
        to: &'a ReplyContext,
        /// Why.
        reason: Reason,
        /// The same for a person, in one short line.
        text: &'a str,
    },
    /// To a client: the codec's own answer to a [`Kind::Local`](crate::Kind::Local) request.
    CodecReply {
        /// The request.
        to: &'a ReplyContext,
    },
    /// To a server: are you there?
    Ping {
        /// The id to use, where the protocol has ids.
        id: i64,
    },
    /// To a server: a call of this operation without arguments, to hear whether the service answers.
    /// Said only where [`Spec::probes`](crate::Spec::probes) is set.
    Probe {
        /// The id to use, where the protocol has ids.
        id: i64,
        /// The operation, as the protocol names it.
        operation: &'a str,
    },
    /// To either: yes, I am here.
    Pong {
        /// The ping.
        to: &'a ReplyContext,
    },
    /// To a client: send no more requests here; what is in flight is still answered.
    GoAway,
}

/// One side of one connection. It knows one protocol, and nothing of routes, sockets or time.
///
/// # Contract
/// - `decode` reads at the front of `input`. On [`Decoded::Incomplete`] nothing is consumed, and
///   the codec remembers how far it scanned, so that a peer that dribbles bytes costs linear time.
///   Between two calls the caller only ever appends to, or consumes from, the input as told.
/// - Messages of up to [`Limits::hold`](crate::Limits::hold) bytes are presented whole.
/// - In the steady state `decode` and `encode` of small messages do not allocate.
/// - Whatever the bytes are, there is no panic, and no memory beyond the limits.
/// - For protocols that answer in order the router calls `encode` (last piece of a response) or
///   `synthesize` on the server side exactly once per request, in the order of the requests.
pub trait Codec: Send {
    /// Tells one message at the front of `input`, looking as deep as `want`.
    ///
    /// # Errors
    /// [`DecodeError::Message`] when the message is malformed but its extent is known,
    /// [`DecodeError::Connection`] when framing is lost.
    fn decode<'b>(&mut self, input: &'b [u8], want: Interest) -> Result<Decoded<'b>, DecodeError>;

    /// Appends a message that a codec of the same protocol decoded: unedited as it came, edited
    /// with what changed. A client side may write an unedited one-way message with another id, by which it
    /// knows a reply that comes all the same: that is a [`Kind::Push`](crate::Kind::Push).
    ///
    /// # Errors
    /// An edit that the protocol cannot carry; `out` is as it was.
    fn encode(&mut self, message: &Message<'_>, out: &mut Output) -> Result<(), EncodeError>;

    /// Appends what the mesh itself has to say, in the protocol's own words.
    ///
    /// # Errors
    /// The protocol has no words for it; `out` is as it was.
    fn synthesize(&mut self, say: LocalMessage<'_>, out: &mut Output) -> Result<(), Unsupported>;

    /// What must be remembered of a request to answer it later.
    fn receipt(&self, request: &Message<'_>) -> ReplyContext {
        ReplyContext::new(request.head.id)
    }

    /// Server side: whether something still ties this client to its pinned upstream connection.
    /// Asked after every reply.
    fn pinned(&self) -> bool {
        false
    }

    /// Server side: a request that ties the client ([`Bind::Pin`](crate::Bind::Pin)) and
    /// [follows](crate::Head::follows) would be the first on its upstream connection, and several clusters
    /// are possible. `Some`: the codec keeps it and puts it before the next request, which decides where both
    /// belong; the router answers by [`LocalMessage::CodecReply`] with this receipt.
    fn defer(&mut self, request: &Message<'_>) -> Option<ReplyContext> {
        let _ = request;
        None
    }

    /// Server side: a request that is part of a tie was refused by the router, after it was answered so.
    /// `true`: what was sent of the tie is not carried out without it. `false`: the router ends both
    /// connections.
    fn spoiled(&mut self) -> bool {
        false
    }

    /// Server side: the session in which this client's requests must run. It changes only by the
    /// reply to a [`Bind::Session`](crate::Bind::Session) request.
    fn session(&self) -> Session {
        Session::default()
    }

    /// Client side: a server refused its copy of a request for every endpoint
    /// ([`Reach::Every`](crate::Reach::Every)), and the request does not fail because of that: for example the
    /// server gets the change from another one.
    fn excuses(&self, refusal: &Message<'_>) -> bool {
        let _ = refusal;
        false
    }

    /// Client side: the connection is of another session now, by a request that it carried.
    fn adopt(&mut self, session: &Session) {
        let _ = session;
    }
}
