//! The built-in and declared protocols of a configuration, and the protocol that the name of a port
//! selects.

use std::collections::BTreeMap;
use std::sync::Arc;

use meltemi_config::Problem;
use meltemi_frame::{Protocol, Registry};

use crate::builtins::Builtins;
use crate::kinds::{ApplicationProtocol, Codec};
use crate::near::nearest;

pub(super) struct Protocols {
    by_name: BTreeMap<String, Arc<dyn Protocol>>,
    /// In the order of detection.
    order: Vec<Arc<dyn Protocol>>,
}

/// The protocol that the name of a port selects.
pub(super) enum Told {
    Protocol(Arc<dyn Protocol>),
    /// None: the client's first bytes decide.
    Auto,
    /// A MetaProtocol (Aeraki's convention) that is not declared.
    Unknown,
    /// The name contains a word that is neither a protocol here nor one of Istio's.
    Stray,
    /// A protocol that another proxy serves, or plain TCP.
    Nothing,
}

/// Istio's protocols besides those here.
const OTHERS: [&str; 11] = [
    "tcp", "http", "http2", "http3", "https", "grpc", "tls", "udp", "mongo", "mysql", "hbone",
];

impl Protocols {
    pub(super) fn new(
        declared: &[ApplicationProtocol<'_>],
        builtins: &Builtins,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let registry = &builtins.registry;
        let mut all = Self {
            by_name: registry
                .protocols()
                .iter()
                .map(|protocol| (protocol.name().to_owned(), Arc::clone(protocol)))
                .collect(),
            order: registry.protocols().to_vec(),
        };
        for one in declared.iter().filter(|one| !one.name.is_empty()) {
            match &one.codec {
                Some(Codec::Named(codec, at)) => match registry.find(codec) {
                    Some(protocol) => all.add(&one.name, Arc::clone(protocol)),
                    None => problems.push(unknown_codec(at, codec, registry)),
                },
                Some(Codec::Declared(at)) => {
                    if registry.find(&one.name).is_some() {
                        problems.push(
                            one.at
                                .warning("replaces the built-in protocol with this name"),
                        );
                    }
                    match (builtins.declare)(&one.name, &at.json()) {
                        Ok(protocol) => all.add(&one.name, protocol),
                        Err(faults) => problems.extend(
                            faults
                                .into_iter()
                                .map(|(path, what)| at.descend(&path).error(what)),
                        ),
                    }
                }
                None => {}
            }
        }
        all
    }

    fn add(&mut self, name: &str, protocol: Arc<dyn Protocol>) {
        let replaced = self.by_name.insert(name.to_owned(), Arc::clone(&protocol));
        if let Some(replaced) = replaced {
            self.order.retain(|other| !Arc::ptr_eq(other, &replaced));
        }
        // An alias of a protocol is not a second protocol.
        let own = protocol.name();
        if !self.order.iter().any(|other| other.name() == own) {
            self.order.push(protocol);
        }
    }

    /// Returns all protocols in the order of detection.
    pub(super) fn all(&self) -> &[Arc<dyn Protocol>] {
        &self.order
    }

    pub(super) fn find(&self, name: &str) -> Option<&Arc<dyn Protocol>> {
        self.by_name.get(name)
    }

    /// Returns the protocol of a port: by the name `tcp-<protocol>-x`,
    /// `tcp-metaprotocol-<protocol>-x` (Aeraki's convention) or `<protocol>-x`, or else by the
    /// protocol field.
    pub(super) fn told(&self, name: &str, protocol: &str) -> Told {
        let name = name.to_ascii_lowercase();
        let rest = name.strip_prefix("tcp-").unwrap_or(&name);
        let (rest, meta) = match rest.strip_prefix("metaprotocol") {
            Some(rest) => (rest.trim_start_matches('-'), true),
            None => (rest, false),
        };
        let is = |word: &str| {
            rest.strip_prefix(word)
                .is_some_and(|tail| tail.is_empty() || tail.starts_with('-'))
        };
        // The longest match wins, because names may contain dashes.
        let known = self
            .by_name
            .iter()
            .filter(|(known, _)| is(known))
            .max_by_key(|(known, _)| known.len());
        if let Some((_, protocol)) = known {
            return Told::Protocol(Arc::clone(protocol));
        }
        if is("auto") {
            return Told::Auto;
        }
        if let Some(protocol) = self.find(protocol) {
            return Told::Protocol(Arc::clone(protocol));
        }
        if meta {
            return Told::Unknown;
        }
        let others = |word: &str| OTHERS.contains(&word);
        let first = rest.split('-').next().unwrap_or(rest);
        if others(first) || (protocol != "tcp" && others(protocol)) {
            return Told::Nothing;
        }
        Told::Stray
    }

    /// Returns `true` if the name of a port is nearly that of a protocol: probably a typing
    /// mistake.
    pub(super) fn is_slip(&self, name: &str) -> bool {
        let names = self.by_name.keys().map(String::as_str);
        name.starts_with("tcp-") && nearest(word(name), names).is_some()
    }

    /// Returns the hint for a port whose name selects no known protocol.
    pub(super) fn hint(&self, name: &str) -> String {
        let word = word(name);
        let names = || self.by_name.keys().map(String::as_str);
        let known = names().collect::<Vec<_>>().join(", ");
        match nearest(word, names()) {
            Some(near) => format!("did you mean `{near}`? The protocols are {known}"),
            None => format!("name the port tcp-<protocol>-x; the protocols are {known}"),
        }
    }
}

/// Returns the word of a port's name that should be a protocol.
fn word(name: &str) -> &str {
    let rest = name.strip_prefix("tcp-").unwrap_or(name);
    let rest = rest.strip_prefix("metaprotocol-").unwrap_or(rest);
    rest.split('-').next().unwrap_or(rest)
}

fn unknown_codec(at: &crate::yaml::Cursor<'_>, codec: &str, registry: &Registry) -> Problem {
    let known: Vec<&str> = registry.names().collect();
    let near = nearest(codec, registry.names());
    let hint = near.map_or(String::new(), |near| format!("did you mean `{near}`? "));
    at.error("there is no such codec").remedy(format!(
        "{hint}The codecs are {}; a protocol without code is described under spec.declarative of a \
         meltemi.io/v1alpha1 ApplicationProtocol",
        known.join(", ")
    ))
}
