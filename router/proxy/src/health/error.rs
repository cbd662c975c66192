//! Why a probe failed, for logs and for whoever counts failures.

use std::io;
use std::time::Duration;

use meltemi_frame::{Fault, Unsupported, Violation};

/// Why a probe failed. The text follows the endpoint's address: `10.0.0.7:6379 does not answer in 1s`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// No connection was made.
    #[error("cannot be connected to: {0}")]
    Connect(#[source] io::Error),
    /// There was no answer in this time, connecting included.
    #[error("does not answer in {0:?}")]
    TimedOut(Duration),
    /// It closed the connection before it had answered.
    #[error("closes the connection without an answer")]
    Closed,
    /// The connection broke.
    #[error("breaks the connection: {0}")]
    Reset(#[source] io::Error),
    /// It sent what is not an answer in its protocol, or refused the credentials.
    #[error("sends what is no answer: {0}")]
    NoAnswer(Violation),
    /// It serves no operation of that name.
    #[error("has no such operation")]
    NoOperation,
    /// It answered that it failed, and not by a fault of the application.
    #[error("answers with a failure: {name}", name = .0.name())]
    Failed(Fault),
    /// It announced that it takes no more requests.
    #[error("is leaving")]
    Leaving,
    /// The protocol has no words for the question.
    #[error("cannot be asked: {0}")]
    Unsupported(#[from] Unsupported),
    /// There is a question, but no protocol to ask it in.
    #[error("cannot be asked: its protocol is not known")]
    NoProtocol,
    /// The code that asks has failed.
    #[error("cannot be asked: the probe has failed by itself")]
    Crashed,
}

impl ProbeError {
    /// A name for logs and metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Connect(_) => "connect",
            Self::TimedOut(_) => "timeout",
            Self::Closed => "closed",
            Self::Reset(_) => "reset",
            Self::NoAnswer(_) => "no_answer",
            Self::NoOperation => "no_operation",
            Self::Failed(_) => "failed",
            Self::Leaving => "leaving",
            Self::Unsupported(_) | Self::NoProtocol => "unsupported",
            Self::Crashed => "crashed",
        }
    }
}
