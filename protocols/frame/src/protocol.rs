//! The protocol interface, and a registry that finds protocols by name.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::{Codec, Detect, Limits, Session, Side, Spec};

/// A protocol. One value per process, shared by all connections.
pub trait Protocol: Send + Sync + 'static {
    /// Returns the facts about the protocol that the router and the configuration need.
    fn spec(&self) -> &Spec;

    /// Returns the name. Override this if the [`Spec`] is built late but the name is known earlier.
    fn name(&self) -> &str {
        &self.spec().name
    }

    /// Decides whether a client that sent `prefix` first uses this protocol. `prefix` is never
    /// empty.
    fn detect(&self, prefix: &[u8]) -> Detect;

    /// Creates a codec for one side of one connection.
    ///
    /// On [`Side::Client`] the codec first consumes the replies to the session's preamble, which
    /// the router has written. It returns no message for them, and fails the connection if one of
    /// them is an error. On [`Side::Server`] `session` is the initial session of every client.
    fn codec(&self, side: Side, limits: &Limits, session: &Session) -> Box<dyn Codec>;

    /// Returns the session for an upstream that requires credentials.
    ///
    /// # Errors
    /// Fails if the protocol has no credentials, or not in this form. The text is reported when the
    /// configuration is loaded.
    fn login(&self, username: Option<&str>, password: &str) -> Result<Session, String> {
        let _ = (username, password);
        Err(format!(
            "{} has no credentials that a proxy can send",
            self.spec().name
        ))
    }

    /// Returns the session of a connection in this dialect, for messages to a server before any
    /// client has sent one.
    ///
    /// # Errors
    /// Fails if the protocol has no such dialect. The text is reported when the configuration is
    /// loaded.
    fn dialect(&self, name: &str) -> Result<Session, String> {
        Err(format!(
            "{} has no dialects, so `{name}` cannot be chosen",
            self.spec().name
        ))
    }

    /// Returns this protocol with servers that require these credentials from every client.
    ///
    /// # Errors
    /// Fails if the protocol has no credentials. The text is reported when the configuration is
    /// loaded.
    fn guarded(&self, username: Option<&str>, password: &str) -> Result<Arc<dyn Protocol>, String> {
        let _ = (username, password);
        Err(format!(
            "{} has no credentials that a proxy can check",
            self.spec().name
        ))
    }

    /// Returns `true` if servers call their clients over the clients' connections (callbacks). Such
    /// calls are forwarded if each client has its own upstream connections
    /// ([`Sharing::Exclusive`](crate::Sharing::Exclusive)). The codec decodes the calls on
    /// [`Side::Client`] and their responses on [`Side::Server`], whole.
    fn calls_back(&self) -> bool {
        false
    }
}

impl fmt::Debug for dyn Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Protocol").field(&self.name()).finish()
    }
}

/// The protocols of a process, by name. `main` builds it with one line per protocol.
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
    /// Creates an empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a protocol under its own name. Replaces a protocol of the same name.
    #[must_use]
    pub fn with(mut self, protocol: impl Protocol) -> Self {
        self.add(Arc::new(protocol));
        self
    }

    /// Adds a protocol under its own name. Replaces a protocol of the same name.
    pub fn add(&mut self, protocol: Arc<dyn Protocol>) {
        let name = protocol.name().to_owned();
        self.order.retain(|other| other.name() != name);
        self.order.push(Arc::clone(&protocol));
        self.by_name.insert(name, protocol);
    }

    /// Returns the protocol with this name. `None` if there is none.
    pub fn find(&self, name: &str) -> Option<&Arc<dyn Protocol>> {
        self.by_name.get(name)
    }

    /// Iterates over all names, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// Returns all protocols, in the order of registration (and so of detection).
    pub fn protocols(&self) -> &[Arc<dyn Protocol>] {
        &self.order
    }
}
