//! Mirrors: which clusters get a copy of a request. Whether and how a copy is sent is not known here.

use std::net::IpAddr;

use meltemi_config::{Mirror, Share};
use meltemi_frame::{Bind, Head, Kind, Message, Safety};

use super::{Scope, hits};
use crate::hash::HashPolicy;

/// The mirrors of a route; there is at least one.
#[derive(Clone, Debug)]
pub struct Mirrors(Box<[MirrorTarget]>);

/// A cluster that gets copies.
#[derive(Clone, Debug)]
pub struct MirrorTarget {
    /// Its position in [`Config::clusters`](meltemi_config::Config::clusters).
    pub cluster: usize,
    /// Its answers are compared with those that the callers get.
    pub compare: bool,
    pub(crate) share: Share,
    writes_only: bool,
    hash: HashPolicy,
}

impl Mirrors {
    /// `None` if there are none. A configuration that has been checked has the clusters.
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

    /// The clusters that get a copy of a request; each is drawn by itself, as the iterator comes to it.
    /// A request that makes its connection something else (a transaction, a subscription, a log-in)
    /// is never copied. `random()`: any number, evenly.
    pub fn draw<'a>(
        &'a self,
        head: &'a Head,
        random: &'a mut dyn FnMut() -> u64,
    ) -> impl Iterator<Item = &'a MirrorTarget> + 'a {
        let targets = self.0.iter().filter(|target| target.takes(head));
        targets.filter(|target| hits(target.share, random))
    }

    /// The clusters that may get a copy of a request.
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

    /// The hash of a request for the cluster's balancer, as
    /// [`CompiledRoute::hash`](crate::CompiledRoute::hash) is for a route's clusters.
    pub fn hash(&self, message: &Message<'_>, source: IpAddr) -> Option<u64> {
        self.hash.hash(message, source)
    }
}
