//! Services by host. Resolves the names that documents use for them.

use std::collections::BTreeMap;
use std::sync::Arc;

use meltemi_config::Problem;
use meltemi_frame::Protocol;

use super::protocols::{Protocols, Told};
use crate::kinds::ServiceEntry;

/// The suffix that Kubernetes adds to `name.namespace`.
const CLUSTER_DOMAIN: &str = ".svc.cluster.local";

pub(super) struct Directory<'r> {
    by_host: BTreeMap<&'r str, Service<'r>>,
}

/// A host, defined by one ServiceEntry or by several that are merged.
pub(super) struct Service<'r> {
    pub(super) host: &'r str,
    pub(super) entries: Vec<&'r ServiceEntry<'r>>,
    pub(super) ports: Vec<Port>,
}

pub(super) struct Port {
    pub(super) number: u16,
    /// `None` if the port does not speak one of our protocols.
    pub(super) protocol: Option<Arc<dyn Protocol>>,
}

impl Service<'_> {
    /// The namespace of its first entry.
    pub(super) fn namespace(&self) -> &str {
        self.entries
            .first()
            .map_or("", |entry| &entry.document.namespace)
    }

    /// The Dubbo interface of the service.
    pub(super) fn interface(&self) -> Option<&str> {
        self.entries
            .iter()
            .find_map(|entry| entry.interface.as_deref())
    }

    /// Returns the ports that speak a protocol.
    pub(super) fn ports_of(&self, protocol: &str) -> Vec<u16> {
        self.ports
            .iter()
            .filter(|port| {
                port.protocol
                    .as_ref()
                    .is_some_and(|own| own.spec().name == protocol)
            })
            .map(|port| port.number)
            .collect()
    }
}

impl<'r> Directory<'r> {
    pub(super) fn new(
        entries: &'r [ServiceEntry<'r>],
        protocols: &Protocols,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let mut by_host: BTreeMap<&'r str, Service<'r>> = BTreeMap::new();
        for entry in entries {
            let ports: Vec<(u16, Option<Arc<dyn Protocol>>)> = entry
                .ports
                .iter()
                .map(|port| {
                    let protocol = match protocols.told(&port.name, &port.protocol) {
                        Told::Protocol(protocol) => Some(protocol),
                        told @ (Told::Unknown | Told::Stray) => {
                            let name = port.at.at("name");
                            let what = "names a protocol that is not there; the port is left alone";
                            let meant = matches!(told, Told::Unknown);
                            // Ports of other kinds of services may have any name except one with Aeraki's
                            // prefix.
                            let problem = match (meant, protocols.is_slip(&port.name)) {
                                (true, true) => Some(name.error(what)),
                                (false, false) => None,
                                _ => Some(name.warning(what)),
                            };
                            problems
                                .extend(problem.map(|one| one.remedy(protocols.hint(&port.name))));
                            None
                        }
                        Told::Auto | Told::Nothing => None,
                    };
                    (port.number, protocol)
                })
                .collect();
            for host in &entry.hosts {
                let service = by_host.entry(host).or_insert_with(|| Service {
                    host,
                    entries: Vec::new(),
                    ports: Vec::new(),
                });
                service.entries.push(entry);
                for (number, protocol) in &ports {
                    if !service.ports.iter().any(|port| port.number == *number) {
                        service.ports.push(Port {
                            number: *number,
                            protocol: protocol.clone(),
                        });
                    }
                }
            }
        }
        Self { by_host }
    }

    /// Returns the service for a name that is written in a namespace.
    pub(super) fn find(&self, written: &str, namespace: &str) -> Option<&Service<'r>> {
        candidates(written, namespace)
            .iter()
            .find_map(|host| self.by_host.get(host.as_str()))
    }

    /// Returns the full host for a name: the host of a service, or else the host that Kubernetes
    /// would derive.
    pub(super) fn full(&self, written: &str, namespace: &str) -> String {
        if let Some(service) = self.find(written, namespace) {
            return service.host.to_owned();
        }
        if written.contains('.') || written.contains('*') {
            written.to_owned()
        } else {
            format!("{written}.{namespace}{CLUSTER_DOMAIN}")
        }
    }

    /// Returns all services, by host.
    pub(super) fn services(&self) -> impl Iterator<Item = &Service<'r>> {
        self.by_host.values()
    }
}

/// Returns the possible hosts for a name, the most literal first.
fn candidates(written: &str, namespace: &str) -> Vec<String> {
    let mut all = vec![written.to_owned()];
    match written.split('.').count() {
        1 => {
            all.push(format!("{written}.{namespace}{CLUSTER_DOMAIN}"));
            all.push(format!("{written}.{namespace}"));
        }
        2 => all.push(format!("{written}{CLUSTER_DOMAIN}")),
        3 if written.ends_with(".svc") => all.push(format!("{written}.cluster.local")),
        _ => {}
    }
    all
}
