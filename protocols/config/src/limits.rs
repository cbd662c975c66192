//! The limits of a listener. They are on by default.

use std::time::Duration;

use meltemi_frame::Limits;

/// The limits of one listener and its connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerLimits {
    /// The limits of codecs.
    pub codec: Limits,
    /// The maximum number of downstream connections. A further one is closed at once. Default
    /// 65536.
    pub connections: usize,
    /// The maximum number of unanswered requests on one connection. Above it the proxy stops
    /// reading from the connection until some are answered. Default 1024.
    pub in_flight: usize,
    /// The maximum number of bytes that wait to be written to one downstream. Above it the proxy
    /// stops reading from the connection. Default 1 MiB.
    pub output: usize,
    /// The number of bytes waiting to be written to one downstream at which the connection is
    /// closed, because shared upstreams never wait for one client. Default 32 MiB.
    pub output_cut_off: usize,
    /// The maximum time from the first to the last byte of a message that is held whole. Default 30
    /// s.
    pub slow_frame: Duration,
    /// The maximum time that a downstream without a request in flight may stay silent. Zero means
    /// no limit. Default 1 h.
    pub idle: Duration,
    /// The maximum time that protocol detection waits for bytes. Default 10 s.
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
