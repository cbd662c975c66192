//! What is kept of a request so that it can be sent again, and what was tried so far. When that happens is
//! decided in `dispatch`.

use std::net::SocketAddr;
use std::sync::Arc;

use meltemi_frame::{Message, OwnedMessage};

use crate::cluster::counters::Counters;

/// What is needed to send a request again.
pub(crate) struct RetryState {
    pub(crate) message: OwnedMessage,
    /// Endpoints that failed.
    pub(crate) tried: Vec<SocketAddr>,
    /// Retries made.
    pub(crate) retries: u32,
    /// How it goes elsewhere, if it had to.
    pub(crate) moves: Moves,
    /// It may be sent again even if it has been sent.
    pub(crate) copy: bool,
    /// Counts it among the retries of its cluster.
    pub(crate) turn: Option<Turn>,
}

/// How a request that was never sent goes from endpoint to endpoint.
pub(crate) struct Moves {
    /// How often it waited because no other endpoint was left.
    pub(crate) rounds: u32,
    /// When it goes nowhere any more, in milliseconds of the worker's clock. `None`: it never had to move.
    pub(crate) give_up_ms: Option<u64>,
}

/// Counts a request among those under retry as long as it lives.
pub(crate) struct Turn(pub(crate) Arc<Counters>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.retries.subtract();
    }
}

impl RetryState {
    /// A copy of a request that may be sent again.
    pub(crate) fn of(message: &Message<'_>) -> Self {
        Self {
            copy: true,
            ..Self::unsent(message.to_owned_message())
        }
    }

    /// Whether it left a connection before anything of it was sent.
    pub(crate) const fn has_moved(&self) -> bool {
        self.moves.give_up_ms.is_some()
    }

    /// A request that may be sent again if it has not been sent.
    pub(crate) const fn unsent(message: OwnedMessage) -> Self {
        Self {
            message,
            tried: Vec::new(),
            retries: 0,
            moves: Moves {
                rounds: 0,
                give_up_ms: None,
            },
            copy: false,
            turn: None,
        }
    }
}
