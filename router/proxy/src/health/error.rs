//! The reasons why a probe fails, for logs and metrics.

use std::io;
use std::time::Duration;

use meltemi_frame::{Fault, Unsupported, Violation};

/// Why a probe failed. The text follows the endpoint's address: `10.0.0.7:6379 did not answer
/// within 1s`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// The connect failed.
    #[error("cannot be reached: {0}")]
    Connect(#[source] io::Error),
    /// There was no answer within this time, including the connect.
    #[error("did not answer within {0:?}")]
    TimedOut(Duration),
    /// The endpoint closed the connection before it answered.
    #[error("closed the connection without an answer")]
    Closed,
    /// The connection broke.
    #[error("reset the connection: {0}")]
    Reset(#[source] io::Error),
    /// The endpoint sent an invalid answer, or refused the credentials.
    #[error("sent an invalid answer: {0}")]
    NoAnswer(Violation),
    /// The endpoint has no operation of that name.
    #[error("has no such operation")]
    NoOperation,
    /// The endpoint answered with a failure that is not an application error.
    #[error("answered with a failure: {name}", name = .0.name())]
    Failed(Fault),
    /// The endpoint announced that it accepts no more requests.
    #[error("is shutting down")]
    Leaving,
    /// The protocol does not support this probe.
    #[error("cannot be probed: {0}")]
    Unsupported(#[from] Unsupported),
    /// The probe needs a protocol, but none is configured.
    #[error("cannot be probed: its protocol is not known")]
    NoProtocol,
    /// The probe task panicked.
    #[error("cannot be probed: the probe task panicked")]
    Crashed,
}

impl ProbeError {
    /// Returns a name for logs and metrics.
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
