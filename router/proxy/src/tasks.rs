//! The tasks of connections. They move bytes, decode messages and carry each request and response
//! through its steps. Only the worker, which starts the tasks, may import this module.

pub(crate) mod callbacks;
pub(crate) mod downstream;
pub(crate) mod patience;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod upstream;
