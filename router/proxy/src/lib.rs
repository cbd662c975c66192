//! The data path: sockets, tasks and pools around the router's decisions.
//!
//! Workers share nothing: each is one thread with one event loop; a connection lives and dies on one
//! worker, and so do the upstream connections that it uses. A configuration is a snapshot, compiled
//! off the path and swapped whole. This crate knows no protocol by name.

mod acceptor;
mod access_log;
mod admin;
mod beat;
mod call;
mod callbacks;
mod calls;
mod clock;
mod cluster;
mod counters;
mod dispatch;
mod dns;
mod downstream;
mod downstream_task;
mod endpoint;
mod fitness;
#[cfg(test)]
mod grpc_testing;
mod io;
mod linger;
mod mirror;
mod operations;
mod parked;
mod patience;
mod probe;
mod probing;
mod proxy;
mod ratelimit;
mod replies;
mod request;
mod response;
mod retry;
mod snapshot;
mod spans;
pub mod stats;
mod sweep;
mod upstream;
mod upstream_task;
mod view;
mod watch;
mod worker;

pub use access_log::{AccessLog, LogFormat, LogTarget};
pub use admin::{Admin, AdminError, AdminOptions};
pub use probe::{ProbeError, ProbeTarget, Prober, probe};
pub use proxy::{Options, Proxy, StartError};
pub use spans::Tracing;
pub use worker::{ClusterReport, Counted};
