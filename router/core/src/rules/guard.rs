//! Policies of destination clusters. They apply to every request to the cluster, by any route.

use std::sync::Arc;

use meltemi_config::Route;

use super::{Authorizer, Scope};

/// The policies of the clusters that a route may send requests or copies to. Never empty.
#[derive(Clone, Debug)]
pub struct Guards(Box<[(usize, Arc<Authorizer>)]>);

impl Guards {
    /// Returns `None` if there are none. A cluster with exactly the policies of the route is left
    /// out, because the route has already evaluated them.
    pub(crate) fn compile(route: &Route, scope: &mut Scope<'_>) -> Option<Self> {
        let config = scope.config;
        let asked = route.authorization.as_deref();
        let targets = route.clusters.iter().map(|target| &target.cluster);
        let copies = route.mirrors.iter().map(|mirror| &mirror.cluster);
        let mut guards: Vec<(usize, Arc<Authorizer>)> = Vec::new();
        for name in targets.chain(copies) {
            let Some(at) = config.cluster_index(name) else {
                continue;
            };
            let cluster = config.clusters().get(at);
            let own = cluster.and_then(|one| one.authorization.get(&*scope.spec.name));
            let Some(own) = own.filter(|own| !own.is_empty()) else {
                continue;
            };
            let known = guards.iter().any(|(cluster, _)| *cluster == at);
            if !known && asked != Some(&**own) {
                guards.push((at, scope.authorizer(own)));
            }
        }
        (!guards.is_empty()).then_some(Self(guards.into()))
    }

    /// Returns the policies of a cluster, by its position in
    /// [`Config::clusters`](meltemi_config::Config::clusters). `None` if nothing has to be
    /// evaluated.
    pub fn of(&self, cluster: usize) -> Option<&Authorizer> {
        let mut guards = self.0.iter();
        let (_, guard) = guards.find(|(guarded, _)| *guarded == cluster)?;
        Some(guard)
    }
}
