//! Policies of destination clusters. They apply to every request to the cluster, by any route.

use std::collections::BTreeSet;
use std::sync::Arc;

use meltemi_config::{Authorization, Config, Route};

use super::{Authorizer, Scope};

/// The policies of the clusters that requests of a route may reach. Never empty.
///
/// A request may reach a cluster that is no target of its route: its client is tied to a connection
/// there, or the request goes to every cluster.
#[derive(Clone, Debug)]
pub struct Guards {
    /// The clusters whose policies the route itself has evaluated.
    asked: Box<[usize]>,
    all: Destinations,
}

/// The policies of every cluster that has some, in the order of the clusters.
pub(crate) type Destinations = Arc<[(usize, Arc<Authorizer>)]>;

/// Returns the policies of every cluster, for the table with these routes. `None` if there are
/// none.
pub(crate) fn destinations(routes: &[Route], scope: &mut Scope<'_>) -> Option<Destinations> {
    let config = scope.config;
    let reached: BTreeSet<usize> = routes.iter().flat_map(|one| own(one, config)).collect();
    let mut all = Vec::new();
    for at in 0..config.clusters().len() {
        let Some(policies) = policies(at, scope) else {
            continue;
        };
        // A client may still be tied to a cluster that no route leads to any more. Nobody may send
        // requests there, and this table does not decode what the policies there need.
        let authorizer = match reached.contains(&at) {
            true => scope.authorizer(policies),
            false => Arc::new(Authorizer::nobody()),
        };
        all.push((at, authorizer));
    }
    (!all.is_empty()).then(|| all.into())
}

/// Returns the clusters that a route sends requests and copies to.
fn own<'a>(route: &'a Route, config: &'a Config) -> impl Iterator<Item = usize> + 'a {
    let targets = route.clusters.iter().map(|target| &target.cluster);
    let copies = route.mirrors.iter().map(|mirror| &mirror.cluster);
    targets
        .chain(copies)
        .filter_map(|name| config.cluster_index(name))
}

fn policies<'a>(at: usize, scope: &Scope<'a>) -> Option<&'a Arc<Authorization>> {
    let cluster = scope.config.clusters().get(at)?;
    let policies = cluster.authorization.get(&*scope.spec.name)?;
    (!policies.is_empty()).then_some(policies)
}

impl Guards {
    /// Returns `None` if there are none.
    pub(crate) fn compile(route: &Route, scope: &Scope<'_>) -> Option<Self> {
        let all = Arc::clone(scope.destinations.as_ref()?);
        let asked = route.authorization.as_deref();
        let is_asked = |at: &usize| {
            let own = policies(*at, scope);
            own.is_some_and(|own| asked == Some(&**own))
        };
        let asked = own(route, scope.config).filter(is_asked).collect();
        Some(Self { asked, all })
    }

    /// Returns the policies of a cluster, by its position in
    /// [`Config::clusters`](meltemi_config::Config::clusters). `None` if nothing has to be
    /// evaluated: the cluster has no policies, or it is a destination of the route and has exactly
    /// the policies of the route.
    pub fn of(&self, cluster: usize) -> Option<&Authorizer> {
        if self.asked.contains(&cluster) {
            return None;
        }
        let at = self
            .all
            .binary_search_by_key(&cluster, |(at, _)| *at)
            .ok()?;
        self.all.get(at).map(|(_, authorizer)| &**authorizer)
    }
}
