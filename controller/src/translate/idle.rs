//! Warns of routers and policies without effect, and checks them nevertheless.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use meltemi_config::{Problem, Route};
use meltemi_frame::Protocol;

use super::attach::Attach;
use super::clusters::Clusters;
use super::credentials::place;
use super::routes::{Compiler, warn_unreachable};
use crate::kinds::{Router, RouterKey};

impl<'r> Attach<'_, 'r> {
    /// Warns of listener policies whose listener does not exist.
    pub(super) fn check_policies(&self, problems: &mut Vec<Problem>) {
        for policy in &self.resources.listener_policies {
            let found = self.resources.gateways.iter().any(|gateway| {
                gateway.id() == policy.gateway
                    && policy
                        .port
                        .is_none_or(|port| gateway.servers.iter().any(|server| server.port == port))
            });
            if !found {
                problems.push(
                    policy
                        .at
                        .warning("no Gateway that is loaded has this name and port")
                        .remedy("this policy has no effect"),
                );
            }
        }
    }

    /// Warns of routers that attach nowhere. Their names are checked nevertheless, as far as their
    /// hosts determine the protocol.
    pub(super) fn check_routers(
        &self,
        attached: &BTreeSet<RouterKey>,
        clusters: &mut Clusters<'r>,
        problems: &mut Vec<Problem>,
    ) {
        let idle: Vec<&Router<'r>> = self
            .resources
            .routers
            .iter()
            .filter(|router| !attached.contains(&router.key()))
            .collect();
        if let (true, Some(first)) = (self.resources.gateways.is_empty(), idle.first()) {
            problems.push(
                Problem::warning(&first.document.origin(), "spec", "")
                    .says("attaches nowhere: no Gateway is loaded, so there is no listener")
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
        let at = if router.gateways.is_empty() {
            router.hosts_at.clone()
        } else {
            router.document.cursor().at("spec").at("gateways")
        };
        let unknown = self.subjects(router).is_empty();
        at.warning("attaches nowhere: no listener serves it")
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
            let mut compiler = Compiler::new(protocol, 0, &mut *clusters);
            let routes: Vec<Route> = router
                .rules
                .iter()
                .enumerate()
                .map(|(at, rule)| compiler.route(router, at, rule, None, problems))
                .collect();
            if router.whole {
                // The settings for all routes also apply to the route to the host.
                compiler.common(router, &mut Route::new("", Vec::new()), problems);
            }
            warn_unreachable(&routes, protocol.spec(), problems);
        }
    }
}
