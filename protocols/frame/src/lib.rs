//! The interface between codecs and the router.
//!
//! A [`Protocol`] describes itself and makes one [`Codec`] per connection and [`Side`]. A codec
//! turns bytes into [`Message`]s and back. The router moves messages and does not depend on any
//! protocol by name. Everything here is sans-I/O: no socket, clock, task or `async`.
//!
//! A codec author needs only this crate, and `meltemi-testkit` to test the codec.

mod attribute;
mod bytes_eq;
mod codec;
mod detect;
mod error;
mod fault;
mod head;
mod key;
mod limits;
mod message;
mod output;
mod protocol;
mod reach;
mod receipt;
mod session;
mod spec;

#[cfg(feature = "tokio-util")]
pub mod adapter;
#[cfg(feature = "json")]
pub mod describe;

pub use attribute::{Attributes, Entry, KeyId, Lookup, MAX_KEYS, Open, Span, Walk};
pub use bytes_eq::bytes_eq;
pub use codec::{Codec, Decoded, Interest, LocalMessage, Side};
pub use detect::{Detect, Identified, identify};
pub use error::{DecodeError, EncodeError, Unsupported, Violation};
pub use fault::{Fault, Reason};
pub use head::{Bind, Head, Kind, Redirect, Safety, Status};
pub use key::{KeySpec, OpenKeys, ValueSet};
pub use limits::Limits;
pub use message::{Edit, Layout, Message, OwnedMessage};
pub use output::{Output, Placeholder};
pub use protocol::{Protocol, Registry};
pub use reach::{Mark, Reach};
pub use receipt::{ReplyContext, SmallBytes};
pub use session::Session;
pub use spec::{Correlation, Sharing, Spec, System};
