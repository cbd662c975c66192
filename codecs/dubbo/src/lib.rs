//! Dubbo 2.x: the binary protocol of Dubbo 2.6, 2.7 and 3.x (not Triple, which is gRPC).
//!
//! Routing metadata is read from Hessian2 and fastjson2 bodies. Arguments are skipped, never built.
//! Bodies of any other serialization are forwarded, and routed by their header. The README of the
//! crate lists keys, edits, local replies and known limits.

mod attachments;
mod codec;
mod cursor;
mod edit;
mod event;
mod format;
mod front;
mod generic;
mod header;
mod hessian;
mod jsonb;
mod plain;
mod protocol;
mod reply;
mod request;
mod response;
mod service;
mod walk;

pub use protocol::Dubbo;
