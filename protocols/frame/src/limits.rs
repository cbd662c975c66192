//! What a codec may hold. On by default: memory is bounded by these, not by what peers send.

/// Limits that a codec keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest message that may be held whole, and the largest request that is accepted unless the
    /// protocol has its own measure, in bytes. Responses of any size stream through. Default 16 MiB.
    pub frame: usize,
    /// The largest request that streams through, in bytes, whatever the protocol's own measure is.
    /// Default: none is set.
    pub request: Option<usize>,
    /// Up to this many bytes a message is always presented whole; a larger one may come as a head
    /// and [`Kind::Data`](crate::Kind::Data) pieces if the codec can tell its attributes from
    /// the front. Default 64 KiB.
    pub hold: usize,
    /// How deep values may nest. Default 64.
    pub depth: usize,
    /// How many headers, attachments or other metadata entries one message may carry, where
    /// the protocol has them. Default 512.
    pub entries: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame: 16 << 20,
            request: None,
            hold: 64 << 10,
            depth: 64,
            entries: 512,
        }
    }
}

impl Limits {
    /// The same limits with everything up to `frame` presented whole, as tools want it.
    #[must_use]
    pub const fn holding_all(mut self) -> Self {
        self.hold = self.frame;
        self
    }
}
