//! The built-in codecs, one line each. The only place that names them.

use std::sync::Arc;

use meltemi_declarative::{Declarative, DescriptionError};
use meltemi_frame::{Protocol, Registry};

/// Registers every built-in codec. The order is the order of detection on shared ports.
pub(crate) fn registry() -> Registry {
    let mut registry = Registry::new()
        .with(meltemi_dubbo::Dubbo::new())
        .with(meltemi_thrift::Thrift::new())
        .with(meltemi_redis::Redis::new());
    for described in [meltemi_declarative::bolt(), meltemi_declarative::quill()] {
        match described {
            Ok(protocol) => registry.add(Arc::new(protocol)),
            // The descriptions are part of the crate, and its tests compile them.
            Err(error) => tracing::error!(%error, "a built-in description is broken"),
        }
    }
    registry
}

/// Makes a protocol of a description in an `ApplicationProtocol` document. On failure: every field
/// inside the description that is wrong, and what is wrong with it.
pub(crate) fn declare(
    name: &str,
    description: &serde_json::Value,
) -> Result<Arc<dyn Protocol>, Vec<(String, String)>> {
    let mut description = description.clone();
    if let Some(fields) = description.as_object_mut() {
        // The document names the protocol already.
        fields.insert("name".to_owned(), name.into());
    }
    let told = |error: &DescriptionError| {
        let what = format!("{}; {}", error.problem, error.remedy);
        (error.path.clone(), what)
    };
    Declarative::from_json_value(&description)
        .map(|protocol| Arc::new(protocol) as Arc<dyn Protocol>)
        .map_err(|errors| errors.as_slice().iter().map(told).collect())
}
