//! Makes listeners from Gateways: the protocols of each server, their routes and their policies.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use meltemi_config::{AttributeMatch, Listener, LocalLimits, Matcher, Problem, Route};
use meltemi_config::{Served, WeightedCluster};
use meltemi_frame::{Protocol, Spec};

use super::attach::{Attach, Attached, Place, interface_key};
use super::clusters::Clusters;
use super::credentials::{Login, place as written_at};
use super::directory::Service;
use super::limits;
use super::protocols::Told;
use super::routes::{Compiler, warn_unreachable};
use crate::kinds::{DEFAULT_TIMEOUT, Gateway, ListenerPolicy, Router, RouterKey, Server};

impl<'t, 'r> Attach<'t, 'r> {
    /// Makes all possible listeners.
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
                let address = server.address();
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
                let mut served = self.served(gateway, server, clusters, &mut attached, problems);
                if served.is_empty() {
                    continue;
                }
                let name = listener_name(gateway, server);
                let policies = self.policies(gateway, server);
                rate_limits(&policies, &name, &mut served, clusters, problems);
                let said = policies.iter().rev().find_map(|one| one.caller_timeout);
                for route in served.iter_mut().flat_map(|one| &mut one.routes) {
                    route.caller_timeout |= said == Some(true);
                }
                let mut listener = Listener::new(name, address, served);
                listener.origin = server.at.origin();
                for policy in policies {
                    policy.limit(&mut listener.limits);
                    listener.sampling = policy.sampling.unwrap_or(listener.sampling);
                }
                listeners.push(listener);
            }
        }
        self.check_policies(problems);
        self.check_routers(&attached, clusters, problems);
        listeners
    }

    /// Returns the protocols of a server, with their routes.
    fn served(
        &self,
        gateway: &'r Gateway<'r>,
        server: &'r Server<'r>,
        clusters: &mut Clusters<'r>,
        attached: &mut BTreeSet<RouterKey>,
        problems: &mut Vec<Problem>,
    ) -> Vec<Served> {
        let name = server.at.at("port").at("name");
        let told = self
            .protocols
            .told(&server.port_name, &server.port_protocol);
        let (protocols, auto) =
            match told {
                Told::Protocol(protocol) => (vec![protocol], false),
                Told::Auto => (self.protocols.all().to_vec(), true),
                Told::Unknown | Told::Stray => {
                    let hint = self.protocols.hint(&server.port_name);
                    problems.push(name.error("names a protocol that is not there").remedy(
                        format!("{hint}; name the port `tcp` if another proxy serves it"),
                    ));
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
        // Checked here and not by the reader: the same files contain servers of other protocols.
        let tls = server.at.at("tls");
        if tls.exists() {
            problems.push(
                tls.error(
                    "TLS towards clients is not supported yet, and serving this in clear would be unsafe",
                )
                .remedy("leave out the tls block, or terminate TLS before this program"),
            );
        }
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
                attached.insert(router.key());
            }
            let served = Served::new(
                self.guarded(&place, &here, problems),
                self.routes(&place, &here, clusters, problems),
            );
            if auto && served.routes.is_empty() {
                empty.push(served);
            } else {
                all.push(served);
            }
        }
        // No document names the protocol: detect every protocol, so that clients get a
        // protocol-specific failure.
        if all.is_empty() {
            all = empty;
        }
        for served in &mut all {
            let spec = served.protocol.spec();
            served.authorization = self.policies.of_listener(gateway, spec, problems);
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

    /// Returns the protocol with the credentials that its clients must present.
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
                    written_at(auth)
                        .error(format!(
                            "{} requires other credentials from the clients of the same listener",
                            first.document.object
                        ))
                        .remedy("give each a server of its own, with its own hosts"),
                ),
                None => {
                    match place.protocol.guarded(login.0.as_deref(), &login.1) {
                        Ok(guarded) => protocol = guarded,
                        Err(what) => problems.push(written_at(auth).error(what)),
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
        let mut compiler = Compiler::new(place.protocol, place.server.port, clusters);
        let id = place.gateway.id();
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
            let before = routes.len();
            let rules = one.router.map_or(&[][..], |router| &router.rules);
            routes.reserve(rules.len());
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
            // A router without routes sends all requests to its host.
            let whole = one.router.is_none_or(|router| router.whole);
            if let (true, Some(service)) = (whole, one.service) {
                let mut route =
                    default_route(one, service, implied, place, compiler.clusters, problems);
                if let Some(router) = one.router {
                    compiler.common(router, &mut route, problems);
                }
                routes.push(route);
            }
            let authorization =
                self.policies
                    .of_hosts(&self.hosts(one), place.protocol.spec(), problems);
            for route in routes.iter_mut().skip(before) {
                route.authorization.clone_from(&authorization);
            }
        }
        warn_unreachable(&routes, place.protocol.spec(), problems);
        self.protect(&routes, place.protocol.spec(), compiler.clusters, problems);
        routes
    }

    /// Adds the policies of services to the clusters that get requests and copies, whichever host's
    /// route leads there.
    fn protect(
        &self,
        routes: &[Route],
        spec: &Spec,
        clusters: &mut Clusters<'r>,
        problems: &mut Vec<Problem>,
    ) {
        for route in routes {
            let targets = route.clusters.iter().map(|target| &target.cluster);
            let copies = route.mirrors.iter().map(|mirror| &mirror.cluster);
            for name in targets.chain(copies) {
                clusters.protect(name, &spec.name, |host| {
                    self.policies.of_hosts(&[host.to_owned()], spec, problems)
                });
            }
        }
    }

    /// Returns the policies of a listener. A policy for the port overrides one for the whole
    /// gateway, so it comes later.
    fn policies(&self, gateway: &Gateway<'_>, server: &Server<'_>) -> Vec<&'r ListenerPolicy<'r>> {
        let id = gateway.id();
        let own = |port: Option<u16>| {
            let policies = self.resources.listener_policies.iter();
            policies.filter(move |policy| policy.port == port)
        };
        own(None)
            .chain(own(Some(server.port)))
            .filter(|policy| policy.gateway == id)
            .collect()
    }
}

/// Adds the rate limits of the policies to everything that the listener serves.
fn rate_limits(
    policies: &[&ListenerPolicy<'_>],
    listener: &str,
    served: &mut [Served],
    clusters: &mut Clusters<'_>,
    problems: &mut Vec<Problem>,
) {
    let local = policies
        .iter()
        .rev()
        .find_map(|policy| policy.local.as_ref());
    // Each listener has buckets of its own, and so a name for them.
    let shared = local.map(|rate| {
        let limits = LocalLimits::clone(&rate.limits);
        Arc::new(LocalLimits {
            name: format!("{} {listener}", limits.name),
            ..limits
        })
    });
    let global = policies
        .iter()
        .rev()
        .find_map(|policy| Some((policy, policy.global.as_ref()?)));
    for served in served {
        let spec = served.protocol.spec();
        if let (Some(rate), Some(shared)) = (local, &shared) {
            limits::local(rate, spec, problems);
            served.local_limits.push(Arc::clone(shared));
        }
        if let Some((policy, rate)) = global {
            let namespace = &policy.document.namespace;
            let limit = limits::global(rate, namespace, spec, clusters, problems);
            served.global_limits.extend(limit);
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
    let document = match (one.router, service.entries.first()) {
        (Some(router), _) => router.document,
        (None, Some(entry)) => entry.document,
        (None, None) => place.gateway.document,
    };
    let at = document.cursor().at("spec");
    let protocol = place.protocol.as_ref();
    let target = WeightedCluster {
        cluster: clusters.whole(service, port, protocol, &at, problems),
        weight: 1,
    };
    Route {
        matches: implied.into_iter().collect(),
        timeout: one
            .router
            .map_or(Some(DEFAULT_TIMEOUT), |router| router.timeout),
        origin: document.origin(),
        ..Route::new(service.host, vec![target])
    }
}

fn listener_name(gateway: &Gateway<'_>, server: &Server<'_>) -> String {
    let id = gateway.id();
    if server.bind.is_unspecified() && server.bind.is_ipv4() {
        format!("{id}:{}", server.port)
    } else {
        format!("{id}@{}", SocketAddr::new(server.bind, server.port))
    }
}
