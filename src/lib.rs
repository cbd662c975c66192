//! Meltemi as a library: builds your own program with the codecs that you need.
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! fn main() -> ExitCode {
//!     meltemi::Program::with_builtins()
//!         // .with(my_protocol::MyProtocol::new())
//!         .main()
//! }
//! ```

mod allocator;
mod builtins;
mod check;
mod cli;
mod decode;
mod demo;
mod explain;
mod program;
mod reference;
mod run;
mod terminal;

pub use meltemi_config as config;
pub use meltemi_controller as controller;
pub use meltemi_frame as frame;
pub use meltemi_proxy as proxy;
pub use program::Program;
