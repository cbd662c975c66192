//! Limits of a listener. On by default.

use std::time::Duration;

use meltemi_frame::Limits;

/// What one listener and its connections may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerLimits {
    /// What a codec may hold.
    pub codec: Limits,
    /// Downstream connections at once. A further one is closed at once. Default 65536.
    pub connections: usize,
    /// Requests of one connection that wait for their answers; past it the connection is not
    /// read until some are answered. Default 1024.
    pub in_flight: usize,
    /// Bytes that wait to be written to one downstream; past it, it is not read. Default 1 MiB.
    pub output: usize,
    /// Bytes that wait to be written to one downstream; past it, it is cut off, because upstreams
    /// that others share never wait for one client. Default 32 MiB.
    pub output_cut_off: usize,
    /// How long a message may take from its first byte to its last, when it is held. Default 30 s.
    pub slow_frame: Duration,
    /// How long a downstream without a request in flight may stay silent; zero: for ever.
    /// Default 1 h.
    pub idle: Duration,
    /// How long protocol detection waits for bytes. Default 10 s.
    pub detect: Duration,
}

impl Default for ListenerLimits {
    fn default() -> Self {
        Self {
            codec: Limits::default(),
            connections: 65_536,
            in_flight: 1024,
            output: 1 << 20,
            output_cut_off: 32 << 20,
            slow_frame: Duration::from_secs(30),
            idle: Duration::from_secs(3600),
            detect: Duration::from_secs(10),
        }
    }
}
