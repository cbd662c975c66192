//! Redis for Meltemi: RESP2, RESP3 and inline commands, with every command of Redis 7, its keys,
//! and its effect on the connection. The README lists the supported features and guarantees.

mod answer;
mod args;
mod broken;
mod client;
mod command;
mod cursor;
mod detect;
mod guard;
mod inline;
mod keys;
mod layout;
mod modules;
mod number;
mod quick;
mod reply;
mod request;
mod rewrite;
mod scripts;
mod server;
mod spec;
mod state;
mod subscriptions;
mod table;
mod tell;
mod ties;
mod words;

use std::sync::Arc;

use meltemi_frame::{Codec, Detect, Limits, Protocol, Session, Side, Spec};

use guard::Guard;
use scripts::Scripts;

/// The Redis protocol.
pub struct Redis {
    spec: Spec,
    guard: Option<Arc<Guard>>,
    scripts: Arc<Scripts>,
}

impl Redis {
    /// Returns Redis with a server side that forwards credentials like any other request.
    pub fn new() -> Self {
        Self {
            spec: spec::spec(),
            guard: None,
            scripts: Arc::default(),
        }
    }
}

impl Default for Redis {
    fn default() -> Self {
        Self::new()
    }
}

/// Does not print the credentials.
impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redis")
            .field("guarded", &self.guard.is_some())
            .finish_non_exhaustive()
    }
}

impl Protocol for Redis {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn detect(&self, prefix: &[u8]) -> Detect {
        detect::detect(prefix)
    }

    fn codec(&self, side: Side, limits: &Limits, session: &Session) -> Box<dyn Codec> {
        match side {
            Side::Server => Box::new(server::Server::new(limits, session, self.guard.clone())),
            Side::Client => {
                Box::new(client::Client::new(limits, session).with_scripts(&self.scripts))
            }
        }
    }

    fn login(&self, username: Option<&str>, password: &str) -> Result<Session, String> {
        let mut preamble = Vec::new();
        match username {
            _ if password.is_empty() => {
                return Err("redis needs a non-empty password".into());
            }
            Some("") => return Err("redis needs a non-empty username, or none".into()),
            Some(user) => state::write(
                &mut preamble,
                &[b"AUTH", user.as_bytes(), password.as_bytes()],
            ),
            None => state::write(&mut preamble, &[b"AUTH", password.as_bytes()]),
        }
        Ok(Session::new(preamble, 1))
    }

    fn guarded(&self, username: Option<&str>, password: &str) -> Result<Arc<dyn Protocol>, String> {
        if password.is_empty() {
            return Err("redis needs a non-empty password".into());
        }
        if username == Some("") {
            return Err("redis needs a non-empty username, or none".into());
        }
        let guard = Some(Arc::new(Guard::new(username, password)));
        Ok(Arc::new(Self {
            spec: self.spec.clone(),
            guard,
            // The server decides which clients may load scripts. Sharing is safe, because a digest
            // identifies the text.
            scripts: Arc::clone(&self.scripts),
        }))
    }
}

/// Compiles the example in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(test)]
mod tests;
