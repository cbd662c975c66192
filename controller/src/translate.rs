//! Resources to listeners, routes and clusters: what refers to what across documents.

mod attach;
mod authorization;
mod clusters;
mod credentials;
mod directory;
mod idle;
mod listeners;
mod localities;
mod overrides;
mod policy;
mod port;
mod protocols;
mod routes;

use std::collections::BTreeSet;
use std::sync::Arc;

use meltemi_config::{Cluster, Listener, Problem};
use meltemi_frame::Protocol;

use crate::Builtins;
use crate::kinds::Resources;
use authorization::Policies;
use clusters::Clusters;
use credentials::Credentials;
use directory::Directory;
use protocols::Protocols;

/// What resources come to.
pub(crate) struct Translated {
    pub(crate) listeners: Vec<Listener>,
    pub(crate) clusters: Vec<Cluster>,
    /// Those that are built in and those that are declared, in the order of detection.
    pub(crate) protocols: Vec<Arc<dyn Protocol>>,
}

/// Listeners and clusters, as far as they can be made; what is wrong goes to `problems`.
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
    let used: BTreeSet<&str> = listeners
        .iter()
        .flat_map(|listener| &listener.served)
        .flat_map(|served| &served.routes)
        .flat_map(|route| &route.clusters)
        .map(|target| target.cluster.as_str())
        .collect();
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
