//! Bytes of connections: what they travel through, reading into shared buffers, writing, closing. Depends on
//! nothing else of this crate.

pub(crate) mod io;
pub(crate) mod linger;
pub(crate) mod stream;
#[cfg(test)]
pub(crate) mod testing;
