//! Bytes of connections: what they travel through, reading into shared buffers, writing, closing. Depends on
//! nothing else of this crate.

pub(crate) mod buffers;
pub(crate) mod linger;
pub(crate) mod stream;
#[cfg(test)]
pub(crate) mod testing;
