//! A listener: an address, its protocols, and their routes.

use std::net::SocketAddr;
use std::sync::Arc;

use meltemi_frame::Protocol;

use crate::check::Check;
use crate::{
    Authorization, GlobalLimit, ListenerLimits, LocalLimits, Origin, Problem, Route, Share,
};

/// An address to which clients connect.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its name for metrics, logs and dumps.
    pub name: String,
    /// The address to listen on.
    pub address: SocketAddr,
    /// Its protocols. If there are several, a client's first bytes decide, in this order of
    /// priority.
    pub served: Vec<Served>,
    /// Its limits.
    pub limits: ListenerLimits,
    /// The share of traces started here that are recorded. A trace that a client started keeps the
    /// client's decision. Only used if traces are exported. Default all.
    pub sampling: Share,
    /// Its position in the configuration source.
    pub origin: Origin,
}

/// A protocol on a listener, and its routes.
#[derive(Clone, Debug)]
pub struct Served {
    /// The protocol.
    pub protocol: Arc<dyn Protocol>,
    /// Its routes. The first one that matches wins.
    pub routes: Vec<Route>,
    /// The authorization policies. They apply before a route is selected.
    pub authorization: Option<Arc<Authorization>>,
    /// The local limits. All must let a request pass, before a route is selected.
    pub local_limits: Vec<Arc<LocalLimits>>,
    /// The limits that an external service decides.
    pub global_limits: Vec<Arc<GlobalLimit>>,
}

impl Served {
    /// Creates an entry for a protocol with these routes, and no policies.
    pub fn new(protocol: Arc<dyn Protocol>, routes: Vec<Route>) -> Self {
        Self {
            protocol,
            routes,
            authorization: None,
            local_limits: Vec::new(),
            global_limits: Vec::new(),
        }
    }
}

impl Listener {
    /// Creates a listener with every default.
    pub fn new(name: impl Into<String>, address: SocketAddr, served: Vec<Served>) -> Self {
        Self {
            name: name.into(),
            address,
            served,
            limits: ListenerLimits::default(),
            sampling: Share::ALL,
            origin: Origin::default(),
        }
    }

    /// Returns the listener without its protocols, for use after its routes are compiled.
    #[must_use]
    pub fn without_routes(&self) -> Self {
        Self {
            name: self.name.clone(),
            address: self.address,
            served: Vec::new(),
            limits: self.limits.clone(),
            sampling: self.sampling,
            origin: self.origin.clone(),
        }
    }

    pub(crate) fn check(&self, problems: &mut Vec<Problem>) {
        if self.served.is_empty() {
            problems.push(
                Problem::error(&self.origin, "protocols", &self.name)
                    .says("the listener serves no protocol"),
            );
        }
        for served in &self.served {
            let spec = served.protocol.spec();
            for route in &served.routes {
                route.check(spec, problems);
            }
            let mut check = Check { spec, problems };
            for limits in &served.local_limits {
                check.local(limits);
            }
            for limit in &served.global_limits {
                check.global(limit);
            }
        }
    }
}
