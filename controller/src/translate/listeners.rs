//! Gateways to listeners: which routers and services attach to which server.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use meltemi_config::{AttributeMatch, Listener, ListenerLimits, Matcher, Mutation, Problem, Route};
use meltemi_config::{Served, WeightedCluster};
use meltemi_frame::Protocol;

use super::clusters::Clusters;
use super::credentials::{Credentials, Login, place};
use super::directory::{Directory, Service};
use super::policy::matches;
use super::protocols::{Protocols, Told};
use super::routes::{Compiler, warn_unreachable};
use crate::kinds::{Gateway, Resources, Router, Server};

/// All that attaching needs to know.
pub(super) struct Attach<'t, 'r> {
    pub(super) resources: &'r Resources<'r>,
    pub(super) protocols: &'t Protocols,
    pub(super) directory: &'t Directory<'r>,
    pub(super) credentials: &'t Credentials<'r>,
}

/// What attaches to a listener: a router for its hosts, or a service without a router.
struct Attached<'t, 'r> {
    router: Option<&'r Router<'r>>,
    /// `None`: the router is for several hosts, or for one that is not loaded.
    service: Option<&'t Service<'r>>,
}

/// A server of a gateway, and a protocol that it serves.
struct Place<'t, 'r> {
    gateway: &'r Gateway<'r>,
    server: &'r Server<'r>,
    protocol: &'t Arc<dyn Protocol>,
}

impl<'t, 'r> Attach<'t, 'r> {
    /// Every listener that can be made.
    pub(super) fn listeners(
        &self,
        clusters: &mut Clusters<'r>,
        problems: &mut Vec<Problem>,
    ) -> Vec<Listener> {
        let mut attached = BTreeSet::new();
        let mut listeners = Vec::new();
        let mut addresses: BTreeMap<SocketAddr, String> = BTreeMap::new();
        for gateway in &self.resources.gateways {
            for server in &gateway.servers {
                let address = SocketAddr::new(server.bind, server.port);
                let place = server.at.origin().to_string();
                if let Some(first) = addresses.insert(address, place) {
                    problems.push(
                        server
                            .at
                            .at("port")
                            .error(format!(
                                "{address} is listened on already, by the server at {first}"
                            ))
                            .remedy(
                                "name that server's port `auto` to serve several protocols on it",
                            ),
                    );
                    continue;
                }
                let served = self.served(gateway, server, clusters, &mut attached, problems);
                if served.is_empty() {
                    continue;
                }
                listeners.push(Listener {
                    name: listener_name(gateway, server),
                    address,
                    served,
                    limits: self.limits(gateway, server),
                    origin: server.at.origin(),
                });
            }
        }
        self.check_policies(problems);
        self.check_routers(&attached, clusters, problems);
        listeners
    }

    /// The protocols of a server, with their routes.
    fn served(
        &self,
        gateway: &'r Gateway<'r>,
        server: &'r Server<'r>,
        clusters: &mut Clusters<'r>,
        attached: &mut BTreeSet<(String, String, String)>,
        problems: &mut Vec<Problem>,
    ) -> Vec<Served> {
        let name = server.at.at("port").at("name");
        let told = self
            .protocols
            .told(&server.port_name, &server.port_protocol);
        let (protocols, auto) = match told {
            Told::Protocol(protocol) => (vec![protocol], false),
            Told::Auto => (self.protocols.all().to_vec(), true),
            Told::Unknown => {
                problems.push(
                    name.error("names a protocol that is not there")
                        .remedy(self.protocols.hint(&server.port_name)),
                );
                return Vec::new();
            }
            Told::Nothing => {
                problems.push(
                    name.warning("names no protocol of ours, so nothing is listened on here")
                        .remedy(self.protocols.hint(&server.port_name)),
                );
                return Vec::new();
            }
        };
        let mut all = Vec::new();
        let mut empty = Vec::new();
        for protocol in &protocols {
            let place = Place {
                gateway,
                server,
                protocol,
            };
            let here = self.attached(&place, problems);
            for router in here.iter().filter_map(|one| one.router) {
                attached.insert(key(router));
            }
            let served = Served {
                protocol: self.guarded(&place, &here, problems),
                routes: self.routes(&place, &here, clusters, problems),
            };
            if auto && served.routes.is_empty() {
                empty.push(served);
            } else {
                all.push(served);
            }
        }
        // Nobody says what is spoken here: detect everything, and answer in its own words.
        if all.is_empty() {
            all = empty;
        }
        if all.iter().all(|served| served.routes.is_empty()) {
            problems.push(
                server
                    .at
                    .warning("no router and no service attaches here, so every request fails")
                    .remedy("add a ServiceEntry with a port of this protocol, or a router that names this gateway"),
            );
        }
        all
    }

    /// What attaches to a place: routers that name the gateway, or else those that name none, and
    /// services without a router.
    fn attached(&self, place: &Place<'t, 'r>, problems: &mut Vec<Problem>) -> Vec<Attached<'t, 'r>>
    where
        'r: 't,
    {
        let id = gateway_id(place.gateway);
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
                            .document
                            .cursor()
                            .at("spec")
                            .at("hosts")
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
        // Hosts that are told apart by their interface come before those that take everything.
        all.sort_by_key(|one| one.service.and_then(Service::interface).is_none());
        all
    }

    /// Routers whose hosts speak the place's protocol; those with its port number if there are any.
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
                // Nothing is known of the host but perhaps its port, which tells other servers off.
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

    /// The services of a router's hosts.
    fn own_services(&self, router: &Router<'_>) -> Vec<&'t Service<'r>> {
        let namespace = &router.document.namespace;
        router
            .hosts
            .iter()
            .filter_map(|(host, _)| self.directory.find(host, namespace))
            .collect()
    }

    /// The services of a router's hosts, or else of its destinations.
    fn subjects(&self, router: &Router<'_>) -> Vec<&'t Service<'r>> {
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

    /// Services at the place's port that no router is for. Beside routers, only those that are
    /// told apart by their interface: a service that takes everything would take what the
    /// routers mean to refuse.
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
        match (alone, at_port.is_empty(), speaking.as_slice()) {
            (true, true, [one]) => vec![*one],
            (true, ..) => at_port,
            (false, ..) => at_port
                .into_iter()
                .filter(|service| service.interface().is_some() && interface_key(place).is_some())
                .collect(),
        }
    }

    /// Whether one of the router's hosts is among those of the server.
    fn allowed(&self, place: &Place<'_, '_>, router: &Router<'_>) -> bool {
        let namespace = &router.document.namespace;
        router.hosts.iter().any(|(host, _)| {
            host == "*" || self.passes(place, &self.directory.full(host, namespace), namespace)
        })
    }

    /// Whether the server's hosts let a host of a namespace pass.
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

    /// The protocol as its clients must present themselves to it.
    fn guarded(
        &self,
        place: &Place<'_, '_>,
        here: &[Attached<'_, '_>],
        problems: &mut Vec<Problem>,
    ) -> Arc<dyn Protocol> {
        let mut asked: Option<(Login, &Router<'_>)> = None;
        let mut protocol = Arc::clone(place.protocol);
        for router in here.iter().filter_map(|one| one.router) {
            let Some(auth) = &router.guard else {
                continue;
            };
            let Some(login) = self
                .credentials
                .find(auth, &router.document.namespace, problems)
            else {
                continue;
            };
            match &asked {
                Some((first, _)) if *first == login => {}
                Some((_, first)) => problems.push(
                    super::credentials::place(auth)
                        .error(format!(
                            "{} asks the clients of the same listener for other credentials",
                            first.document.object
                        ))
                        .remedy("give them servers of their own, told apart by hosts"),
                ),
                None => {
                    match place.protocol.guarded(login.0.as_deref(), &login.1) {
                        Ok(guarded) => protocol = guarded,
                        Err(what) => problems.push(super::credentials::place(auth).error(what)),
                    }
                    asked = Some((login, router));
                }
            }
        }
        protocol
    }

    fn routes(
        &self,
        place: &Place<'_, 'r>,
        here: &[Attached<'_, 'r>],
        clusters: &mut Clusters<'r>,
        problems: &mut Vec<Problem>,
    ) -> Vec<Route> {
        let mut compiler = Compiler {
            protocol: place.protocol,
            listener_port: place.server.port,
            clusters,
        };
        let id = gateway_id(place.gateway);
        let mut routes = Vec::new();
        for one in here {
            let implied = match (
                interface_key(place),
                one.service.and_then(Service::interface),
            ) {
                (Some(name), Some(interface)) if here.len() > 1 => Some(AttributeMatch {
                    name,
                    matcher: Matcher::Exact(interface.to_owned()),
                    negate: false,
                }),
                _ => None,
            };
            let rules = one.router.map_or(&[][..], |router| &router.rules);
            for (at, rule) in rules.iter().enumerate() {
                let elsewhere = rule.port.is_some_and(|port| port != place.server.port)
                    || !(rule.gateways.is_empty()
                        || rule.gateways.contains(&id)
                        || rule.gateways.iter().any(|name| name.ends_with("/mesh")));
                if let Some(router) = one.router
                    && !elsewhere
                {
                    routes.push(compiler.route(router, at, rule, implied.as_ref(), problems));
                }
            }
            // A router without routes: everything goes to its host.
            if let (true, Some(service)) = (rules.is_empty(), one.service) {
                routes.push(default_route(
                    one,
                    service,
                    implied,
                    place,
                    compiler.clusters,
                    problems,
                ));
            }
        }
        warn_unreachable(&routes, problems);
        routes
    }

    fn limits(&self, gateway: &Gateway<'_>, server: &Server<'_>) -> ListenerLimits {
        let id = gateway_id(gateway);
        let mut limits = ListenerLimits::default();
        let own = || {
            let policies = self.resources.listener_policies.iter();
            policies.filter(|policy| policy.gateway == id)
        };
        // What is said of the port goes before what is said of the whole gateway.
        own()
            .filter(|policy| policy.port.is_none())
            .chain(own().filter(|policy| policy.port == Some(server.port)))
            .for_each(|policy| policy.limit(&mut limits));
        limits
    }

    fn check_policies(&self, problems: &mut Vec<Problem>) {
        for policy in &self.resources.listener_policies {
            let found = self.resources.gateways.iter().any(|gateway| {
                gateway_id(gateway) == policy.gateway
                    && policy
                        .port
                        .is_none_or(|port| gateway.servers.iter().any(|server| server.port == port))
            });
            if !found {
                problems.push(
                    policy
                        .at
                        .warning("no Gateway that is loaded has this name and port")
                        .remedy("nothing comes of this policy"),
                );
            }
        }
    }

    /// Routers that attach nowhere: their names are checked all the same, as far as their hosts tell
    /// the protocol.
    fn check_routers(
        &self,
        attached: &BTreeSet<(String, String, String)>,
        clusters: &mut Clusters<'r>,
        problems: &mut Vec<Problem>,
    ) {
        let idle: Vec<&Router<'r>> = self
            .resources
            .routers
            .iter()
            .filter(|router| !attached.contains(&key(router)))
            .collect();
        if let (true, Some(first)) = (self.resources.gateways.is_empty(), idle.first()) {
            problems.push(
                Problem::warning(&first.document.origin(), "spec", "")
                    .says("attaches nowhere: no Gateway is loaded, so nothing is listened on")
                    .remedy("add a Gateway with a server for each port to listen on"),
            );
        }
        for router in idle {
            if !self.resources.gateways.is_empty() {
                problems.push(self.idle(router));
            }
            self.dry_run(router, clusters, problems);
        }
    }

    fn idle(&self, router: &Router<'_>) -> Problem {
        let spec = router.document.cursor().at("spec");
        let at = if router.gateways.is_empty() {
            "hosts"
        } else {
            "gateways"
        };
        let unknown = self.subjects(router).is_empty();
        spec.at(at)
            .warning("attaches nowhere: no listener serves it")
            .remedy(if unknown {
                "its hosts are not loaded; add ServiceEntries for them"
            } else {
                "add a Gateway with a server whose port has the protocol of its hosts, or name one that has"
            })
    }

    fn dry_run(
        &self,
        router: &Router<'_>,
        clusters: &mut Clusters<'r>,
        problems: &mut Vec<Problem>,
    ) {
        let mut protocols: BTreeMap<String, Arc<dyn Protocol>> = BTreeMap::new();
        let subjects = self.subjects(router);
        for port in subjects.iter().flat_map(|service| &service.ports) {
            if let Some(protocol) = &port.protocol {
                protocols.insert(protocol.spec().name.to_string(), Arc::clone(protocol));
            }
        }
        if let Some(only) = router.only {
            protocols.retain(|name, _| name == only);
            if let (true, Some(protocol)) = (protocols.is_empty(), self.protocols.find(only)) {
                protocols.insert(only.to_owned(), Arc::clone(protocol));
            }
        }
        for protocol in protocols.values() {
            if let Some(auth) = &router.guard
                && let Some((user, password)) =
                    self.credentials
                        .find(auth, &router.document.namespace, problems)
                && let Err(what) = protocol.guarded(user.as_deref(), &password)
            {
                problems.push(place(auth).error(what));
            }
            let mut compiler = Compiler {
                protocol,
                listener_port: 0,
                clusters: &mut *clusters,
            };
            let routes: Vec<Route> = router
                .rules
                .iter()
                .enumerate()
                .map(|(at, rule)| compiler.route(router, at, rule, None, problems))
                .collect();
            warn_unreachable(&routes, problems);
        }
    }
}

fn default_route<'r>(
    one: &Attached<'_, 'r>,
    service: &Service<'r>,
    implied: Option<AttributeMatch>,
    place: &Place<'_, '_>,
    clusters: &mut Clusters<'r>,
    problems: &mut Vec<Problem>,
) -> Route {
    let ports = service.ports_of(&place.protocol.spec().name);
    let port = ports
        .iter()
        .find(|port| **port == place.server.port)
        .or(ports.first())
        .copied()
        .unwrap_or(place.server.port);
    let origin = match (one.router, service.entries.first()) {
        (Some(router), _) => router.document.origin(),
        (None, Some(entry)) => entry.document.origin(),
        (None, None) => place.server.at.origin(),
    };
    let protocol = place.protocol.as_ref();
    Route {
        name: service.host.to_owned(),
        matches: implied.into_iter().collect(),
        clusters: vec![WeightedCluster {
            cluster: clusters.whole(service, port, protocol, origin.clone(), problems),
            weight: 1,
        }],
        timeout: one
            .router
            .map_or(Some(crate::kinds::DEFAULT_TIMEOUT), |router| router.timeout),
        mutation: Mutation::default(),
        origin,
    }
}

/// The attribute that Aeraki's annotation `interface` is about, if the protocol has it.
fn interface_key(place: &Place<'_, '_>) -> Option<String> {
    let spec = place.protocol.spec();
    spec.key("interface")
        .map(|key| key.name.to_string())
        .or_else(|| spec.service.as_ref().map(ToString::to_string))
}

fn gateway_id(gateway: &Gateway<'_>) -> String {
    format!("{}/{}", gateway.document.namespace, gateway.document.name)
}

fn listener_name(gateway: &Gateway<'_>, server: &Server<'_>) -> String {
    let id = gateway_id(gateway);
    if server.bind.is_unspecified() && server.bind.is_ipv4() {
        format!("{id}:{}", server.port)
    } else {
        format!("{id}@{}", SocketAddr::new(server.bind, server.port))
    }
}

fn key(router: &Router<'_>) -> (String, String, String) {
    let document = router.document;
    (
        document.object.to_string(),
        document.group.clone(),
        document.namespace.clone(),
    )
}
