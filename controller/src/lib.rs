//! Turns configuration files into the router's configuration: Kubernetes-style YAML (Istio, Aeraki
//! and Meltemi kinds) → checked resources → [`Config`](meltemi_config::Config). This crate must not
//! know any codec: protocols come in through [`Builtins`].

mod builtins;
mod check;
mod documents;
mod dump;
mod kinds;
mod load;
mod near;
mod reference;
mod schema;
mod secrecy;
mod shadow;
mod source;
mod translate;
mod watch;
mod yaml;

pub use builtins::{Builtins, Declare};
pub use dump::{Resource, dump};
pub use load::{Outcome, load, load_str};
pub use reference::reference_markdown;
pub use watch::Watch;

#[cfg(test)]
extern crate self as meltemi_controller;
#[cfg(test)]
mod tests;
