//! The properties of a call in the entries of a `TTHeader` block. It must not depend on bytes: it
//! sees the numbers that CloudWeGo assigned.

use std::time::Duration;

use meltemi_frame::Fault;

use crate::dialect::MessageType;
use crate::header::{self, INT_KEY_VALUE, KEY_VALUE, Name, Pair};
use crate::outcome::Outcome;

/// The properties of a call in the entries of a `TTHeader` block (CloudWeGo's `transmeta` numbers).
#[derive(Debug, Default)]
pub(crate) struct Noted {
    pub(crate) service: Option<(usize, usize)>,
    pub(crate) method: Option<(usize, usize)>,
    pub(crate) token: Option<(usize, usize)>,
    pub(crate) timeout: Option<Duration>,
    /// The service, or the token, occurred twice.
    pub(crate) service_twice: bool,
    pub(crate) token_twice: bool,
    pub(super) kind: Option<MessageType>,
    failed: bool,
}

impl Noted {
    pub(super) fn note(&mut self, pair: &Pair<'_>) {
        let span = Some((pair.at, pair.at + pair.value.len()));
        let number = || std::str::from_utf8(pair.value).ok()?.parse::<u64>().ok();
        match (pair.block, pair.name) {
            (INT_KEY_VALUE, Name::Number(6)) => {
                self.service_twice = self.service.is_some();
                self.service = span;
            }
            (INT_KEY_VALUE, Name::Number(9)) => self.method = span,
            (INT_KEY_VALUE, Name::Number(12)) => {
                // For Kitex a timeout of 0 means no timeout.
                self.timeout = number().filter(|ms| *ms > 0).map(Duration::from_millis);
            }
            (INT_KEY_VALUE, Name::Number(22)) => {
                let kind = number().and_then(|number| i64::try_from(number).ok());
                self.kind = kind.and_then(MessageType::from_wire);
            }
            (KEY_VALUE, Name::Text(b"biz-status")) => self.failed = pair.value != b"0",
            (header::ACL_TOKEN, _) => {
                self.token_twice = self.token.is_some();
                self.token = span;
            }
            _ => {}
        }
    }

    /// Returns the outcome. A business error is a header of a reply that otherwise looks like a
    /// success (Kitex `biz-status`).
    pub(super) const fn outcome(&self) -> Outcome {
        if self.failed {
            Outcome::failed(Fault::Application, "business")
        } else {
            Outcome::OK
        }
    }
}
