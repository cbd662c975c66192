//! The bytes of connections: streams, reading into shared buffers, writing, closing. Must not
//! depend on other modules of this crate.

pub(crate) mod buffers;
pub(crate) mod linger;
pub(crate) mod stream;
#[cfg(test)]
pub(crate) mod testing;
