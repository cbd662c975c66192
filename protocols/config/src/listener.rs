//! A listener: an address, the protocols that clients may speak there, and their routes.

use std::net::SocketAddr;
use std::sync::Arc;

use meltemi_frame::Protocol;

use crate::check::Check;
use crate::{
    Authorization, GlobalLimit, ListenerLimits, LocalLimits, Origin, Problem, Route, Share,
};

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
    /// How many of the traces that begin here are recorded; a trace that a client began keeps the
    /// client's decision. Of use only where traces are exported. Default all.
    pub sampling: Share,
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
    /// Who may ask for what; asked before a route is looked for.
    pub authorization: Option<Arc<Authorization>>,
    /// Local limits; all must let a request pass, before a route is looked for.
    pub local_limits: Vec<Arc<LocalLimits>>,
    /// Limits that a service decides.
    pub global_limits: Vec<Arc<GlobalLimit>>,
}

impl Served {
    /// A protocol with these routes, and no policies.
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
    /// A listener with every default.
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

    /// The listener without what it serves: all of it that is asked for once its routes are compiled.
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
