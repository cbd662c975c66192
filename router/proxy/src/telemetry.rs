//! What operators see: metrics, the access log and traces. It knows no connection and no request by itself.

pub(crate) mod access_log;
pub(crate) mod operations;
pub(crate) mod spans;
pub mod stats;
