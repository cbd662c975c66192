//! Bytes of sockets: reading into shared buffers, writing, closing. Depends on nothing else of this crate.

pub(crate) mod io;
pub(crate) mod linger;
