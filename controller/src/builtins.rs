//! What the program contributes to the configuration.

use std::sync::Arc;

use meltemi_config::Locality;
use meltemi_frame::{Protocol, Registry};

/// What the program contributes to the configuration: its protocols and its locality.
#[derive(Clone)]
pub struct Builtins {
    /// The built-in protocols, in the order of detection.
    pub registry: Registry,
    /// Makes a protocol from a name and a description (`spec.declarative` of an
    /// ApplicationProtocol).
    pub declare: Declare,
    /// The locality of the program. Decides which endpoints are near.
    pub locality: Locality,
}

/// Makes a protocol from its description.
///
/// # Errors
/// Returns every error: the path of the field within the description (`fields[0].name`), what is
/// wrong with it, and how to fix it.
pub type Declare = fn(
    name: &str,
    description: &serde_json::Value,
) -> Result<Arc<dyn Protocol>, Vec<(String, String)>>;

impl std::fmt::Debug for Builtins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Builtins").field(&self.registry).finish()
    }
}
