//! The data path: sockets, connection tasks and pools. The decisions are in `meltemi-router-core`.
//!
//! Workers share no connections. Each worker is one thread with one event loop. A connection stays on one
//! worker for its whole life, and so do the upstream connections that it uses. A configuration is
//! an immutable snapshot: it is compiled outside the data path and swapped as a whole. This crate
//! knows no protocol by name.

#![expect(
    clippy::vec_box,
    reason = "a call keeps its box from begin to end: it is large, and boxes are used again"
)]

mod admin;
mod call;
mod cluster;
mod config;
mod context;
mod dispatch;
mod downstream;
#[cfg(test)]
mod grpc_testing;
mod health;
mod proxy;
mod ratelimit;
mod tasks;
mod telemetry;
mod transport;
mod upstream;
mod worker;

pub use admin::{Admin, AdminError, AdminOptions};
pub use cluster::counters::Counted;
pub use context::memory::{MemoryBound, default_bound};
pub use health::{ProbeError, ProbeTarget, Prober, probe};
pub use proxy::{Options, Proxy, StartError};
pub use telemetry::access_log::{AccessLog, LogFormat, LogTarget};
pub use telemetry::spans::Tracing;
pub use telemetry::stats;
pub use worker::ClusterReport;
