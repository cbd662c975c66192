//! The tasks of connections: they move bytes, decode messages, and carry each request and response through its
//! steps. Nothing else imports them but the worker that starts them.

pub(crate) mod callbacks;
pub(crate) mod downstream;
pub(crate) mod patience;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod upstream;
