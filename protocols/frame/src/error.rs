//! The two kinds of decode failure, kept apart in the type, and what an encoder refuses.

use crate::ReplyContext;

/// What is wrong with the bytes.
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
        /// The length that the peer announced, in bytes.
        length: u64,
        /// The limit, in bytes.
        limit: u64,
    },
    /// A length, count or size makes no sense.
    #[error("{field} is {value}, which is impossible here")]
    Length {
        /// The field of the protocol.
        field: &'static str,
        /// The value on the wire.
        value: i64,
    },
    /// Values nest deeper than the limit.
    #[error("values nest deeper than {limit}")]
    Depth {
        /// The limit.
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
        /// What came.
        kind: &'static str,
        /// Who sent it: `client` or `server`.
        from: &'static str,
    },
    /// Something else that the specification forbids.
    #[error("{0}")]
    Invalid(&'static str),
}

impl Violation {
    /// A [`Violation::Magic`] that shows the first four of `bytes`.
    pub fn magic(protocol: &'static str, bytes: &[u8]) -> Self {
        use std::fmt::Write as _;
        let mut found = String::new();
        for byte in bytes.iter().take(4) {
            // Writing to a String cannot fail.
            let _ = write!(found, "{byte:02x}");
        }
        Self::Magic { protocol, found }
    }

    /// Whether a limit was hit, rather than a rule of the protocol broken.
    pub const fn is_limit(&self) -> bool {
        matches!(
            self,
            Self::TooLarge { .. } | Self::Depth { .. } | Self::Entries { .. }
        )
    }
}

/// Why bytes could not be decoded, and what that means for the connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// One message is malformed, but its extent is known: it is answered where it can be, skipped,
    /// and the other calls on the connection live.
    #[error("malformed message: {violation}")]
    Message {
        /// What is wrong.
        violation: Violation,
        /// How many bytes the message takes from the front of the input. It may be more than the
        /// input holds: then the router discards the rest as it comes.
        length: usize,
        /// From a client: whom to answer; `None` for a one-way request, or when it is not known.
        ///
        /// From a server: that this was a response, and by [`ReplyContext::id`] the answer to what. Its
        /// caller is told at once. `None` when it was something else, or when that is not known:
        /// in a protocol that answers in order nothing that follows could be trusted then, and the
        /// connection ends; elsewhere the message is dropped.
        answer: Option<Box<ReplyContext>>,
    },
    /// Framing is lost: what is pending is answered, and the connection closes.
    #[error("framing lost: {violation}")]
    Connection {
        /// What is wrong.
        violation: Violation,
        /// Whom to answer before closing, where the protocol allows to say anything.
        answer: Option<Box<ReplyContext>>,
    },
}

impl DecodeError {
    /// Framing is lost and there is nobody to answer.
    pub const fn lost(violation: Violation) -> Self {
        Self::Connection {
            violation,
            answer: None,
        }
    }

    /// What is wrong.
    pub const fn violation(&self) -> &Violation {
        match self {
            Self::Message { violation, .. } | Self::Connection { violation, .. } => violation,
        }
    }
}

/// The codec cannot say this in its protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{protocol} cannot say {what}")]
pub struct Unsupported {
    /// The protocol.
    pub protocol: &'static str,
    /// What was asked of it.
    pub what: &'static str,
}

/// Why a message could not be encoded. Nothing was written.
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
        /// Why not.
        why: &'static str,
    },
    /// The edited message would break a limit of the protocol.
    #[error("the edited message is too large for {protocol}: {what}")]
    TooLarge {
        /// The protocol.
        protocol: &'static str,
        /// What overflows.
        what: &'static str,
    },
}
