//! Decides which routers and services attach to which server of a gateway.

use std::collections::BTreeMap;
use std::sync::Arc;

use meltemi_config::Problem;
use meltemi_frame::Protocol;

use super::authorization::Policies;
use super::credentials::Credentials;
use super::directory::{Directory, Service};
use super::policy::matches;
use super::protocols::Protocols;
use crate::kinds::{Gateway, Resources, Router, Server};

/// The data that attaching needs.
pub(super) struct Attach<'t, 'r> {
    pub(super) resources: &'r Resources<'r>,
    pub(super) protocols: &'t Protocols,
    pub(super) directory: &'t Directory<'r>,
    pub(super) credentials: &'t Credentials<'r>,
    pub(super) policies: &'t Policies<'r>,
}

/// One attachment to a listener: a router for its hosts, or a service without a router.
pub(super) struct Attached<'t, 'r> {
    pub(super) router: Option<&'r Router<'r>>,
    /// `None` if the router has several hosts, or one that is not loaded.
    pub(super) service: Option<&'t Service<'r>>,
}

/// A server of a gateway, and one of its protocols.
pub(super) struct Place<'t, 'r> {
    pub(super) gateway: &'r Gateway<'r>,
    pub(super) server: &'r Server<'r>,
    pub(super) protocol: &'t Arc<dyn Protocol>,
}

impl<'t, 'r> Attach<'t, 'r> {
    /// Returns the attachments of a place: routers that name the gateway, or else those that name
    /// no gateway, and services without a router.
    pub(super) fn attached(
        &self,
        place: &Place<'t, 'r>,
        problems: &mut Vec<Problem>,
    ) -> Vec<Attached<'t, 'r>>
    where
        'r: 't,
    {
        let id = place.gateway.id();
        let named = self.routers(place, |router| router.gateways.contains(&id), true);
        let by_name = !named.is_empty();
        let routers = if by_name {
            named
        } else {
            self.routers(place, |router| router.mesh, false)
        };
        let mut all = Vec::new();
        let mut hosts: BTreeMap<&str, &Router<'_>> = BTreeMap::new();
        for router in routers {
            let services: Vec<&Service<'r>> = self.own_services(router);
            for service in &services {
                if let Some(first) = hosts.insert(service.host, router) {
                    problems.push(
                        router
                            .hosts_at
                            .warning(format!(
                                "{} routes {}, too; its routes come first",
                                first.document.object, service.host
                            ))
                            .remedy("put the routes of a host into one router"),
                    );
                }
            }
            let told_apart =
                services.len() > 1 && services.iter().all(|one| one.interface().is_some());
            if told_apart {
                all.extend(services.into_iter().map(|service| Attached {
                    router: Some(router),
                    service: Some(service),
                }));
            } else {
                let service = if services.len() == 1 {
                    services.first().copied()
                } else {
                    None
                };
                all.push(Attached {
                    router: Some(router),
                    service,
                });
            }
        }
        if !by_name {
            let rest = self.services_without_router(place, &hosts, all.is_empty());
            all.extend(rest.into_iter().map(|service| Attached {
                router: None,
                service: Some(service),
            }));
        }
        // Hosts with an interface come before those that take all requests.
        all.sort_by_key(|one| one.service.and_then(Service::interface).is_none());
        all
    }

    /// Returns the routers whose hosts speak the protocol of the place. If some of them have its
    /// port number, only those.
    fn routers(
        &self,
        place: &Place<'t, 'r>,
        wanted: impl Fn(&Router<'_>) -> bool,
        unknown_too: bool,
    ) -> Vec<&'r Router<'r>> {
        let protocol = &*place.protocol.spec().name;
        let mut at_port = Vec::new();
        let mut all = Vec::new();
        for router in &self.resources.routers {
            let fits = router.only.is_none_or(|only| only == protocol);
            if !fits || !wanted(router) || !self.allowed(place, router) {
                continue;
            }
            let services = self.subjects(router);
            let mut ports: Vec<u16> = services
                .iter()
                .flat_map(|service| service.ports_of(protocol))
                .collect();
            if services.is_empty() && unknown_too {
                let written = router
                    .rules
                    .iter()
                    .flat_map(|rule| &rule.destinations)
                    .filter_map(|destination| destination.port);
                ports.extend(written);
                // The host is not loaded. If its port is known, the router attaches only to servers with
                // that port.
                if !ports.is_empty() && !ports.contains(&place.server.port) {
                    continue;
                }
            } else if ports.is_empty() {
                continue;
            }
            if ports.contains(&place.server.port) {
                at_port.push(router);
            }
            all.push(router);
        }
        if at_port.is_empty() { all } else { at_port }
    }

    /// Returns the services of the router's hosts.
    fn own_services(&self, router: &Router<'_>) -> Vec<&'t Service<'r>> {
        let namespace = &router.document.namespace;
        router
            .hosts
            .iter()
            .filter_map(|(host, _)| self.directory.find(host, namespace))
            .collect()
    }

    /// Returns the full hosts of an attachment.
    pub(super) fn hosts(&self, one: &Attached<'_, '_>) -> Vec<String> {
        match (one.service, one.router) {
            (Some(service), _) => vec![service.host.to_owned()],
            (None, Some(router)) => {
                let namespace = &router.document.namespace;
                let hosts = router.hosts.iter();
                hosts
                    .map(|(host, _)| self.directory.full(host, namespace))
                    .collect()
            }
            (None, None) => Vec::new(),
        }
    }

    /// Returns the services of the router's hosts, or else of its destinations.
    pub(super) fn subjects(&self, router: &Router<'_>) -> Vec<&'t Service<'r>> {
        let own = self.own_services(router);
        if !own.is_empty() {
            return own;
        }
        let namespace = &router.document.namespace;
        router
            .rules
            .iter()
            .flat_map(|rule| &rule.destinations)
            .filter_map(|destination| self.directory.find(&destination.host, namespace))
            .collect()
    }

    /// Returns the services without a router: those at the port of the place, or else the only one
    /// with the protocol. Next to routers, and if several services are at other ports, only those
    /// with an interface: a service that takes all requests would also take those that no router is
    /// meant to match.
    fn services_without_router(
        &self,
        place: &Place<'t, 'r>,
        routed: &BTreeMap<&str, &Router<'_>>,
        alone: bool,
    ) -> Vec<&'t Service<'r>> {
        let spec = place.protocol.spec();
        let speaking: Vec<&Service<'r>> = self
            .directory
            .services()
            .filter(|service| !service.ports_of(&spec.name).is_empty())
            .filter(|service| !routed.contains_key(service.host))
            .filter(|service| self.passes(place, service.host, service.namespace()))
            .collect();
        let at_port: Vec<&Service<'r>> = speaking
            .iter()
            .copied()
            .filter(|service| service.ports_of(&spec.name).contains(&place.server.port))
            .collect();
        if alone && at_port.is_empty() && speaking.len() == 1 {
            return speaking;
        }
        let told_apart = |service: &&Service<'r>| {
            service.interface().is_some() && interface_key(place).is_some()
        };
        match (alone, at_port.is_empty()) {
            (true, false) => at_port,
            (false, false) => at_port.into_iter().filter(told_apart).collect(),
            (_, true) => speaking.into_iter().filter(told_apart).collect(),
        }
    }

    /// Returns `true` if one of the router's hosts is among the hosts of the server.
    fn allowed(&self, place: &Place<'_, '_>, router: &Router<'_>) -> bool {
        let namespace = &router.document.namespace;
        router.hosts.iter().any(|(host, _)| {
            host == "*" || self.passes(place, &self.directory.full(host, namespace), namespace)
        })
    }

    /// Returns `true` if the server's hosts include this host of this namespace.
    fn passes(&self, place: &Place<'_, '_>, host: &str, namespace: &str) -> bool {
        let own = &place.gateway.document.namespace;
        let hosts = &place.server.hosts;
        hosts.is_empty()
            || hosts.iter().any(|pattern| {
                let (space, pattern) = pattern.split_once('/').unwrap_or(("*", pattern));
                let space = if space == "." { own } else { space };
                (space == "*" || space == namespace)
                    && (pattern == "*"
                        || matches(&self.directory.full(pattern, own), host).is_some())
            })
    }
}

/// Returns the attribute for Aeraki's annotation `interface`. `None` if the protocol has no such
/// attribute.
pub(super) fn interface_key(place: &Place<'_, '_>) -> Option<String> {
    let spec = place.protocol.spec();
    spec.key("interface")
        .map(|key| key.name.to_string())
        .or_else(|| spec.service.as_ref().map(ToString::to_string))
}
