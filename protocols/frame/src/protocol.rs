//! A protocol describes itself and makes codecs; a registry finds protocols by name.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::{Codec, Detect, Limits, Session, Side, Spec};

/// One protocol: one value per process, shared by all connections.
pub trait Protocol: Send + Sync + 'static {
    /// What the router and the configuration must know of the protocol.
    fn spec(&self) -> &Spec;

    /// Its name. One whose [`Spec`] is made late may know it before.
    fn name(&self) -> &str {
        &self.spec().name
    }

    /// Whether a client that sent `prefix` first speaks this protocol. `prefix` is never empty.
    fn detect(&self, prefix: &[u8]) -> Detect;

    /// A codec for one side of one connection.
    ///
    /// On [`Side::Client`] the codec first takes the replies to the session's preamble, which the
    /// router has written: it yields nothing for them, and fails the connection if one of them
    /// is an error. On [`Side::Server`] `session` is what every client starts with.
    fn codec(&self, side: Side, limits: &Limits, session: &Session) -> Box<dyn Codec>;

    /// The session of an upstream that asks for credentials.
    ///
    /// # Errors
    /// The protocol has none, or not in this form: what to say about it at load.
    fn login(&self, username: Option<&str>, password: &str) -> Result<Session, String> {
        let _ = (username, password);
        Err(format!(
            "{} has no credentials that a proxy can send",
            self.spec().name
        ))
    }

    /// The session of a connection that speaks this dialect, for what is said to a server before any
    /// client has spoken.
    ///
    /// # Errors
    /// The protocol has no such dialect: what to say about it at load.
    fn dialect(&self, name: &str) -> Result<Session, String> {
        Err(format!(
            "{} has no dialect `{name}`, nor any other to choose",
            self.spec().name
        ))
    }

    /// This protocol with servers that ask every client for these credentials.
    ///
    /// # Errors
    /// The protocol has none: what to say about it at load.
    fn guarded(&self, username: Option<&str>, password: &str) -> Result<Arc<dyn Protocol>, String> {
        let _ = (username, password);
        Err(format!(
            "{} has no credentials that a proxy can check",
            self.spec().name
        ))
    }

    /// Whether servers call their clients over the connections that the clients have made (callbacks). Such
    /// calls are forwarded where a client has connections of its own
    /// ([`Sharing::Exclusive`](crate::Sharing::Exclusive)). The codec decodes them on
    /// [`Side::Client`], and their answers on [`Side::Server`], whole.
    fn calls_back(&self) -> bool {
        false
    }
}

impl fmt::Debug for dyn Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Protocol").field(&self.name()).finish()
    }
}

/// The protocols of a process, by name. Built in `main`, one line each; no magic.
#[derive(Clone, Default)]
pub struct Registry {
    by_name: BTreeMap<String, Arc<dyn Protocol>>,
    /// In the order of registration, which is the order of detection.
    order: Vec<Arc<dyn Protocol>>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.by_name.keys()).finish()
    }
}

impl Registry {
    /// No protocols.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a protocol under its own name, or replaces the one of that name.
    #[must_use]
    pub fn with(mut self, protocol: impl Protocol) -> Self {
        self.add(Arc::new(protocol));
        self
    }

    /// Adds a protocol under its own name, or replaces the one of that name.
    pub fn add(&mut self, protocol: Arc<dyn Protocol>) {
        let name = protocol.name().to_owned();
        self.order.retain(|other| other.name() != name);
        self.order.push(Arc::clone(&protocol));
        self.by_name.insert(name, protocol);
    }

    /// The protocol of that name.
    pub fn find(&self, name: &str) -> Option<&Arc<dyn Protocol>> {
        self.by_name.get(name)
    }

    /// Every name, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// Every protocol, in the order of registration (and so of detection).
    pub fn protocols(&self) -> &[Arc<dyn Protocol>] {
        &self.order
    }
}
