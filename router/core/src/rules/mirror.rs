//! Mirrors: selects the clusters that get a copy of a request. It sends no copy.

use std::net::IpAddr;

use meltemi_config::{Mirror, Share};
use meltemi_frame::{Bind, Head, Kind, Message, Safety};

use super::{Scope, hits};
use crate::hash::HashPolicy;

/// The mirrors of a route. Never empty.
#[derive(Clone, Debug)]
pub struct Mirrors(Box<[MirrorTarget]>);

/// A cluster that gets copies.
#[derive(Clone, Debug)]
pub struct MirrorTarget {
    /// Its position in [`Config::clusters`](meltemi_config::Config::clusters).
    pub cluster: usize,
    /// `true` if responses to the copies are compared with the responses to the callers.
    pub compare: bool,
    pub(crate) share: Share,
    writes_only: bool,
    hash: HashPolicy,
}

impl Mirrors {
    /// Returns `None` if there are none. A checked configuration has all clusters.
    pub(crate) fn compile(mirrors: &[Mirror], scope: &mut Scope<'_>) -> Option<Self> {
        let mut targets = Vec::with_capacity(mirrors.len());
        for mirror in mirrors {
            let Some(cluster) = scope.config.cluster_index(&mirror.cluster) else {
                continue;
            };
            let Some(found) = scope.config.clusters().get(cluster) else {
                continue;
            };
            let (hash, interest) = HashPolicy::compile(&found.balancing, scope.spec);
            scope.request = scope.request.max(interest);
            targets.push(MirrorTarget {
                cluster,
                compare: mirror.compare,
                share: mirror.share,
                writes_only: mirror.writes_only,
                hash,
            });
        }
        (!targets.is_empty()).then_some(Self(targets.into()))
    }

    /// Returns the clusters that get a copy of a request. Each one is drawn independently, when the
    /// iterator reaches it. A request that changes the state of its connection (a transaction, a
    /// subscription, a log-in) is never copied. `random()` returns any number, evenly distributed.
    pub fn draw<'a>(
        &'a self,
        head: &'a Head,
        random: &'a mut dyn FnMut() -> u64,
    ) -> impl Iterator<Item = &'a MirrorTarget> + 'a {
        let targets = self.0.iter().filter(|target| target.takes(head));
        targets.filter(|target| hits(target.share, random))
    }

    /// Returns the clusters that may get a copy of a request.
    pub(crate) fn taking(&self, head: &Head) -> impl Iterator<Item = &MirrorTarget> {
        self.0.iter().filter(|target| target.takes(head))
    }
}

impl MirrorTarget {
    fn takes(&self, head: &Head) -> bool {
        matches!(head.kind, Kind::Request | Kind::OneWay)
            && matches!(head.bind, Bind::Free | Bind::Dedicated)
            && !(self.writes_only && head.safety == Safety::Read)
    }

    /// Returns the hash of a request for the cluster's balancer, like
    /// [`CompiledRoute::hash`](crate::CompiledRoute::hash) for a route's clusters. `None` if there
    /// is no hash.
    pub fn hash(&self, message: &Message<'_>, source: IpAddr) -> Option<u64> {
        self.hash.hash(message, source)
    }
}
