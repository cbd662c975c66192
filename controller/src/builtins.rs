//! What the program brings along.

use std::sync::Arc;

use meltemi_config::Locality;
use meltemi_frame::{Protocol, Registry};

/// What the program brings along: its protocols, and where it stands.
#[derive(Clone)]
pub struct Builtins {
    /// Those that are built in, in the order of detection.
    pub registry: Registry,
    /// Makes a protocol of a name and a description (`spec.declarative` of an ApplicationProtocol).
    pub declare: Declare,
    /// Where the program stands, by which endpoints are near or far.
    pub locality: Locality,
}

/// Makes a protocol of its description.
///
/// # Errors
/// Everything that is wrong: the path of the field within the description (`fields[0].name`), and
/// what is wrong with it and what to do.
pub type Declare = fn(
    name: &str,
    description: &serde_json::Value,
) -> Result<Arc<dyn Protocol>, Vec<(String, String)>>;

impl std::fmt::Debug for Builtins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Builtins").field(&self.registry).finish()
    }
}
