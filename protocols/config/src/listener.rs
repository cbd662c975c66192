//! A listener: an address, the protocols that clients may speak there, and their routes.

use std::net::SocketAddr;
use std::sync::Arc;

use meltemi_frame::Protocol;

use crate::{ListenerLimits, Origin, Problem, Route};

/// An address where clients connect.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its name in metrics, logs and dumps.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// The protocols that clients may speak. With more than one, a client's first bytes decide, in
    /// this order of priority.
    pub served: Vec<Served>,
    /// Its limits.
    pub limits: ListenerLimits,
    /// Where it was written.
    pub origin: Origin,
}

/// A protocol on a listener, and its routes.
#[derive(Clone, Debug)]
pub struct Served {
    /// The protocol.
    pub protocol: Arc<dyn Protocol>,
    /// Its routes: the first that matches wins.
    pub routes: Vec<Route>,
}

impl Listener {
    pub(crate) fn check(&self, problems: &mut Vec<Problem>) {
        if self.served.is_empty() {
            problems.push(
                Problem::error(&self.origin, "protocols", &self.name)
                    .says("the listener serves no protocol"),
            );
        }
        for served in &self.served {
            for route in &served.routes {
                route.check(served.protocol.spec(), problems);
            }
        }
    }
}
