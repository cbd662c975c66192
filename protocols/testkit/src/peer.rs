//! Scripted peers on loopback: upstreams that misbehave on purpose, and downstreams that record
//! what they receive. They support any protocol through its codec. Tests give messages as bytes.
//!
//! ```no_run
//! use std::{sync::Arc, time::Duration};
//! use bytes::Bytes;
//! use meltemi_frame::Protocol;
//! use meltemi_testkit::peer::{Answer, Downstream, Upstream};
//!
//! # async fn example(protocol: Arc<dyn Protocol>, router: std::net::SocketAddr) -> std::io::Result<()> {
//! // An upstream that delays its second answer, so that the third overtakes it.
//! let upstream = Upstream::start(Arc::clone(&protocol), |request| {
//!     let reply = Bytes::from(format!("={} ok\n", request.message.message().head.id.unwrap_or(0)));
//!     match request.index {
//!         1 => Answer::none().wait(Duration::from_millis(50)).send(reply),
//!         _ => reply.into(),
//!     }
//! })
//! .await?;
//! // … start the router with `upstream.address()` as its endpoint …
//! let mut client = Downstream::connect(router, protocol).await?;
//! client.send(b"?1 a\n?2 b\n?3 c\n").await?;
//! let heard = client.hear(3, Duration::from_secs(1)).await;
//! assert_eq!(heard.ids(), [Some(1), Some(3), Some(2)]);
//! assert_eq!(upstream.connections(), 1);
//! # Ok(()) }
//! ```

mod answer;
mod downstream;
mod reader;
mod upstream;

pub use answer::Answer;
pub use downstream::{Downstream, End, Heard};
pub use upstream::{Received, Script, Upstream};
