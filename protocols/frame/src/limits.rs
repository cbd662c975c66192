//! The limits of codecs. They are on by default, so that memory does not depend on what peers send.

/// The limits that a codec must keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest message that may be held whole, and the largest request that is accepted unless
    /// the protocol has its own limit, in bytes. Responses of any size are streamed. Default 16
    /// MiB.
    pub frame: usize,
    /// The largest request that is streamed, in bytes, whatever the protocol's own limit. Default
    /// `None`: no further limit.
    pub request: Option<usize>,
    /// The size in bytes up to which a message is always presented whole. A larger one may be split
    /// into a head and [`Kind::Data`](crate::Kind::Data) pieces, if the codec can read its
    /// attributes from the front. Default 64 KiB.
    pub hold: usize,
    /// The maximum nesting of values, in levels. Default 64.
    pub depth: usize,
    /// The maximum number of headers, attachments or other metadata entries in one message, if the
    /// protocol has them. Default 512.
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
    /// Returns the same limits, but presents everything up to `frame` whole, for tools.
    #[must_use]
    pub const fn holding_all(mut self) -> Self {
        self.hold = self.frame;
        self
    }
}
