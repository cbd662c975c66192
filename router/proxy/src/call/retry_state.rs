//! The data that is kept to send a request again, and the attempts so far. `dispatch` decides about
//! retries.

use std::net::SocketAddr;
use std::sync::Arc;

use meltemi_frame::{Message, OwnedMessage};

use crate::cluster::counters::Counters;

/// The data needed to send a request again.
pub(crate) struct RetryState {
    pub(crate) message: OwnedMessage,
    /// Endpoints that failed this request.
    pub(crate) tried: Vec<SocketAddr>,
    /// Number of retries so far.
    pub(crate) retries: u32,
    /// How an unsent request moved between endpoints.
    pub(crate) moves: Moves,
    /// The request may be sent again even if it has already been sent.
    pub(crate) copy: bool,
    /// Counts the request among the cluster's retries.
    pub(crate) turn: Option<Turn>,
}

/// How a request that was never sent moves from endpoint to endpoint.
pub(crate) struct Moves {
    /// How often the request waited because no other endpoint was left.
    pub(crate) rounds: u32,
    /// When to stop moving the request, in milliseconds of the worker's clock. `None` if it has
    /// never moved.
    pub(crate) give_up_ms: Option<u64>,
}

/// Counts a request among the cluster's retries until it is dropped.
pub(crate) struct Turn(pub(crate) Arc<Counters>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.retries.subtract();
    }
}

impl RetryState {
    /// Keeps a copy of a request that may be retried even after it was sent.
    pub(crate) fn of(message: &Message<'_>) -> Self {
        Self {
            copy: true,
            ..Self::unsent(message.to_owned_message())
        }
    }

    /// Returns `true` if the request was moved from a connection before any of its bytes were sent.
    pub(crate) const fn has_moved(&self) -> bool {
        self.moves.give_up_ms.is_some()
    }

    /// Keeps a request that may be sent again only if it has not been sent yet.
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
