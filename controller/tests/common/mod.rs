//! Protocols that describe themselves as the real ones do, and carry no byte.

use std::sync::Arc;

use meltemi_controller::{Builtins, Outcome, load_str};
use meltemi_frame::{
    Codec, Correlation, DecodeError, Decoded, Detect, EncodeError, Interest, KeySpec, Limits,
    LocalMessage, Message, OpenKeys, Output, Protocol, Registry, Session, Sharing, Side, Spec,
    Unsupported,
};

pub(crate) struct Fake {
    spec: Spec,
    credentials: bool,
}

impl Fake {
    pub(crate) fn dubbo() -> Self {
        Self::new(
            "dubbo",
            Correlation::Id { bits: 63 },
            vec![
                KeySpec::request("interface", "i"),
                KeySpec::request("method", "m"),
                KeySpec::response("status", "s"),
                KeySpec::request("generic.method", "g")
                    .at(Interest::Headers)
                    .never(&[("$invoke", "`method`")]),
            ],
            Some(""),
        )
    }

    pub(crate) fn thrift() -> Self {
        Self::new(
            "thrift",
            Correlation::InOrder { id_bits: Some(31) },
            vec![KeySpec::request("method", "m")],
            Some("header."),
        )
    }

    pub(crate) fn redis() -> Self {
        let mut redis = Self::new(
            "redis",
            Correlation::InOrder { id_bits: None },
            vec![
                KeySpec::request("command", "c"),
                KeySpec::request("key", "k"),
            ],
            None,
        );
        redis.spec.operation = "command".into();
        redis.credentials = true;
        redis.spec.probes = false;
        redis.spec.stateful_endpoints = true;
        redis
    }

    fn new(
        name: &'static str,
        correlation: Correlation,
        keys: Vec<KeySpec>,
        open: Option<&'static str>,
    ) -> Self {
        let has = |name: &str| keys.iter().any(|key| key.name == name);
        let (service, generic) = (has("interface"), has("generic.method"));
        let open = open.map(|prefix| OpenKeys::new(prefix, "o").editable(true, false));
        let mut spec = Spec::new(name, "method", correlation)
            .sharing(Sharing::Exclusive)
            .probes(true)
            .keys(keys)
            .open(open);
        if service {
            spec = spec.service("interface");
        }
        if generic {
            spec = spec.generic_operation("generic.method");
        }
        Self {
            spec,
            credentials: false,
        }
    }
}

impl Protocol for Fake {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn detect(&self, _: &[u8]) -> Detect {
        Detect::No
    }

    fn codec(&self, _: Side, _: &Limits, _: &Session) -> Box<dyn Codec> {
        Box::new(Mute)
    }

    fn login(&self, username: Option<&str>, password: &str) -> Result<Session, String> {
        if !self.credentials {
            return Err("no credentials".to_owned());
        }
        let user = username.unwrap_or("-");
        Ok(Session::new(format!("AUTH {user} {password}").into(), 1))
    }

    fn dialect(&self, name: &str) -> Result<Session, String> {
        match (&*self.spec.name, name) {
            ("thrift", "unframed") => Ok(Session::dialect(7)),
            (protocol, _) => Err(format!("{protocol} has no dialect `{name}`")),
        }
    }

    fn guarded(&self, _: Option<&str>, _: &str) -> Result<Arc<dyn Protocol>, String> {
        if !self.credentials {
            return Err("no credentials".to_owned());
        }
        let mut guarded = Self {
            spec: self.spec.clone(),
            credentials: true,
        };
        // So that tests see it.
        guarded.spec.heartbeat = true;
        Ok(Arc::new(guarded))
    }
}

struct Mute;

impl Codec for Mute {
    fn decode<'b>(&mut self, _: &'b [u8], _: Interest) -> Result<Decoded<'b>, DecodeError> {
        Ok(Decoded::Incomplete(1))
    }

    fn encode(&mut self, _: &Message<'_>, _: &mut Output) -> Result<(), EncodeError> {
        Ok(())
    }

    fn synthesize(&mut self, _: LocalMessage<'_>, _: &mut Output) -> Result<(), Unsupported> {
        Ok(())
    }
}

fn declare(
    name: &str,
    description: &serde_json::Value,
) -> Result<Arc<dyn Protocol>, Vec<(String, String)>> {
    let fields = description["fields"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let faults: Vec<(String, String)> = fields
        .iter()
        .enumerate()
        .filter(|(_, field)| !field["size"].is_u64())
        .map(|(at, _)| (format!("fields[{at}].size"), "must be a number".to_owned()))
        .collect();
    if !faults.is_empty() {
        return Err(faults);
    }
    let mut protocol = Fake::thrift();
    protocol.spec.name = name.to_owned().into();
    Ok(Arc::new(protocol))
}

pub(crate) fn builtins() -> Builtins {
    Builtins {
        registry: Registry::new()
            .with(Fake::dubbo())
            .with(Fake::thrift())
            .with(Fake::redis()),
        declare,
        locality: meltemi_config::Locality::parse("eu/a/1"),
    }
}

#[allow(dead_code, reason = "not every test binary uses it")]
pub(crate) fn load_text(text: &str) -> Outcome {
    load_str("mesh.yaml", text, &builtins())
}
