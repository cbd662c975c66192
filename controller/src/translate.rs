//! Translates resources to listeners, routes and clusters, and resolves references between
//! documents.

mod attach;
mod attributes;
mod authorization;
mod clusters;
mod common;
mod credentials;
mod directory;
mod faults;
mod idle;
mod limits;
mod listeners;
mod localities;
mod overrides;
mod policy;
mod port;
mod protocols;
mod retry;
mod routes;

use std::collections::BTreeSet;
use std::sync::Arc;

use meltemi_config::{Cluster, Listener, Problem};
use meltemi_frame::Protocol;

use crate::builtins::Builtins;
use crate::kinds::Resources;
use authorization::Policies;
use clusters::Clusters;
use credentials::Credentials;
use directory::Directory;
use protocols::Protocols;

/// The result of the translation.
pub(crate) struct Translated {
    pub(crate) listeners: Vec<Listener>,
    pub(crate) clusters: Vec<Cluster>,
    /// The built-in and the declared protocols, in the order of detection.
    pub(crate) protocols: Vec<Arc<dyn Protocol>>,
}

/// Makes listeners and clusters as far as possible; errors go to `problems`.
pub(crate) fn translate(
    resources: &Resources<'_>,
    builtins: &Builtins,
    problems: &mut Vec<Problem>,
) -> Translated {
    let protocols = Protocols::new(&resources.protocols, builtins, problems);
    let directory = Directory::new(&resources.services, &protocols, problems);
    let credentials = Credentials::new(&resources.secrets);
    let mut clusters = Clusters::new(
        resources,
        &directory,
        &protocols,
        &builtins.locality,
        &credentials,
        problems,
    );
    let policies = Policies::new(resources, &directory, problems);
    let listeners = attach::Attach {
        resources,
        protocols: &protocols,
        directory: &directory,
        credentials: &credentials,
        policies: &policies,
    }
    .listeners(&mut clusters, problems);
    let used = used(&listeners);
    let clusters = clusters
        .into_iter()
        .filter(|cluster| used.contains(cluster.name.as_str()))
        .collect();
    Translated {
        listeners,
        clusters,
        protocols: protocols.all().to_vec(),
    }
}

/// Returns the clusters that receive requests.
fn used(listeners: &[Listener]) -> BTreeSet<&str> {
    let mut used = BTreeSet::new();
    for served in listeners.iter().flat_map(|listener| &listener.served) {
        used.extend(served.global_limits.iter().map(|limit| &*limit.cluster));
        for route in &served.routes {
            used.extend(route.clusters.iter().map(|target| &*target.cluster));
            used.extend(route.mirrors.iter().map(|mirror| &*mirror.cluster));
            used.extend(route.global_limits.iter().map(|limit| &*limit.cluster));
        }
    }
    used
}
