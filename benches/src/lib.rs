//! What the load generator, the backend and the driver share: the wire formats, and what the kernel
//! tells of processes. It knows no proxy.

pub mod backend;
pub mod load;
pub mod os;
pub mod payload;
mod pipe;
pub mod stall;
pub mod wire;
