//! Telemetry for operators: metrics, the access log and traces. Must not depend on connections or
//! on the handling of requests.

pub(crate) mod access_log;
pub(crate) mod operations;
pub(crate) mod spans;
pub mod stats;
