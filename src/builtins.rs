//! The built-in codecs, one line each. No other module names them.

use std::sync::{Arc, OnceLock};

use meltemi_declarative::{Declarative, DescriptionError, DescriptionErrors};
use meltemi_frame::{Codec, Detect, Limits, Protocol, Registry, Session, Side, Spec};

/// Registers every built-in codec. The order is the order of detection on shared ports.
pub(crate) fn registry() -> Registry {
    Registry::new()
        .with(meltemi_dubbo::Dubbo::new())
        .with(meltemi_thrift::Thrift::new())
        .with(meltemi_redis::Redis::new())
        .with(Late::new("bolt", meltemi_declarative::bolt))
        .with(Late::new("quill", meltemi_declarative::quill))
}

/// A described protocol whose description is read when more than its name is needed for the first
/// time. The reader of descriptions is more than a mebibyte of code, which stays in memory once it
/// has run.
struct Late {
    name: &'static str,
    make: fn() -> Result<Declarative, DescriptionErrors>,
    made: OnceLock<Declarative>,
}

impl Late {
    const fn new(name: &'static str, make: fn() -> Result<Declarative, DescriptionErrors>) -> Self {
        Self {
            name,
            make,
            made: OnceLock::new(),
        }
    }

    #[expect(
        clippy::expect_used,
        reason = "the descriptions are part of the program, and a test reads them"
    )]
    fn get(&self) -> &Declarative {
        let make = || (self.make)().expect("a built-in description is valid");
        self.made.get_or_init(make)
    }
}

impl Protocol for Late {
    fn spec(&self) -> &Spec {
        self.get().spec()
    }

    fn name(&self) -> &str {
        self.name
    }

    fn detect(&self, prefix: &[u8]) -> Detect {
        self.get().detect(prefix)
    }

    fn codec(&self, side: Side, limits: &Limits, session: &Session) -> Box<dyn Codec> {
        self.get().codec(side, limits, session)
    }

    fn login(&self, username: Option<&str>, password: &str) -> Result<Session, String> {
        self.get().login(username, password)
    }

    fn dialect(&self, name: &str) -> Result<Session, String> {
        self.get().dialect(name)
    }

    fn guarded(&self, username: Option<&str>, password: &str) -> Result<Arc<dyn Protocol>, String> {
        self.get().guarded(username, password)
    }
}

/// Makes a protocol from a description in an `ApplicationProtocol` document. Fails with every
/// invalid field of the description and its problem.
pub(crate) fn declare(
    name: &str,
    description: &serde_json::Value,
) -> Result<Arc<dyn Protocol>, Vec<(String, String)>> {
    let mut description = description.clone();
    if let Some(fields) = description.as_object_mut() {
        // The name of the document is the name of the protocol.
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

#[cfg(test)]
mod tests {
    #[test]
    fn every_protocol_has_the_name_that_it_is_found_by() {
        for protocol in super::registry().protocols() {
            assert_eq!(protocol.name(), protocol.spec().name);
        }
    }
}
