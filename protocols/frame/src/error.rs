//! The two kinds of decode errors, as separate variants, and the errors of `encode`.

use crate::ReplyContext;

/// The defect in the bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// The bytes do not start a message of this protocol.
    #[error("not a {protocol} message: it starts with {found}")]
    Magic {
        /// The protocol that was expected.
        protocol: &'static str,
        /// The first bytes, in hexadecimal.
        found: String,
    },
    /// The message is larger than the limit.
    #[error("message of {length} bytes is over the limit of {limit}")]
    TooLarge {
        /// The announced length, in bytes.
        length: u64,
        /// The limit, in bytes.
        limit: u64,
    },
    /// A length, count or size that is not possible.
    #[error("{field} is {value}, which is impossible here")]
    Length {
        /// The field of the protocol.
        field: &'static str,
        /// The value on the wire.
        value: i64,
    },
    /// Values are nested deeper than the limit.
    #[error("values nest deeper than {limit}")]
    Depth {
        /// The limit, in levels.
        limit: usize,
    },
    /// More metadata entries than the limit.
    #[error("more than {limit} metadata entries")]
    Entries {
        /// The limit.
        limit: usize,
    },
    /// A message that this side of a connection never sends.
    #[error("a {kind} is not sent by a {from}")]
    WrongSide {
        /// The kind of the message.
        kind: &'static str,
        /// The sender: `client` or `server`.
        from: &'static str,
    },
    /// Another violation of the protocol's specification.
    #[error("{0}")]
    Invalid(&'static str),
}

impl Violation {
    /// Creates a [`Violation::Magic`] that shows the first four of `bytes`.
    pub fn magic(protocol: &'static str, bytes: &[u8]) -> Self {
        use std::fmt::Write as _;
        let mut found = String::new();
        for byte in bytes.iter().take(4) {
            // Writing to a String cannot fail.
            let _ = write!(found, "{byte:02x}");
        }
        Self::Magic { protocol, found }
    }

    /// Returns `true` if the bytes exceed a limit, instead of violating the protocol.
    pub const fn is_limit(&self) -> bool {
        matches!(
            self,
            Self::TooLarge { .. } | Self::Depth { .. } | Self::Entries { .. }
        )
    }
}

/// A decode error, with its effect on the connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// One message is malformed, but its length is known. The router replies if possible and skips
    /// the message. Other requests on the connection continue.
    #[error("malformed message: {violation}")]
    Message {
        /// The defect.
        violation: Violation,
        /// The length of the message from the front of the input, in bytes. It may exceed the
        /// input; the router then discards the rest when it arrives.
        length: usize,
        /// On a message from a client: the request to answer. `None` for a one-way request, or if
        /// it is not known.
        ///
        /// On a message from a server: `Some` if this was a response. [`ReplyContext::id`]
        /// identifies its request, and the caller gets an error at once. `None` if it was another
        /// message, or if that is not known. In a protocol that replies in request order, the
        /// router then closes the connection, because no later reply can be trusted. In other
        /// protocols it discards the message.
        answer: Option<Box<ReplyContext>>,
    },
    /// Framing is lost. The router answers open requests and closes the connection.
    #[error("framing lost: {violation}")]
    Connection {
        /// The defect.
        violation: Violation,
        /// The request to answer before the connection closes, if the protocol allows a reply.
        answer: Option<Box<ReplyContext>>,
    },
}

impl DecodeError {
    /// Creates an error for lost framing without a request to answer.
    pub const fn lost(violation: Violation) -> Self {
        Self::Connection {
            violation,
            answer: None,
        }
    }

    /// Returns the defect.
    pub const fn violation(&self) -> &Violation {
        match self {
            Self::Message { violation, .. } | Self::Connection { violation, .. } => violation,
        }
    }
}

/// The protocol has no such message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{protocol} has no message for {what}")]
pub struct Unsupported {
    /// The protocol.
    pub protocol: &'static str,
    /// The message that was requested.
    pub what: &'static str,
}

/// A message could not be encoded. Nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The protocol cannot carry this edit.
    #[error("{protocol} cannot change `{name}` here: {why}")]
    Edit {
        /// The protocol.
        protocol: &'static str,
        /// The attribute.
        name: String,
        /// The reason.
        why: &'static str,
    },
    /// The edited message would break a limit of the protocol.
    #[error("the edited message is too large for {protocol}: {what}")]
    TooLarge {
        /// The protocol.
        protocol: &'static str,
        /// The part that is too large.
        what: &'static str,
    },
}
