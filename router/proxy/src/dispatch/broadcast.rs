//! Requests for every endpoint: sends one copy to each. The codec decides which requests these are.

use std::collections::BTreeSet;
use std::rc::Rc;

use meltemi_frame::Message;
use meltemi_router_core::HealthStatus;

use crate::call::gathering::Gathering;
use crate::call::{Call, Who};
use crate::cluster::ClusterState;
use crate::cluster::endpoint::EndpointState;
use crate::dispatch::mirror::PATIENCE;
use crate::dispatch::{Dispatch, Sent};

impl Dispatch<'_> {
    /// Sends copies of a request to every endpoint that may serve the client, in every cluster that a
    /// route of the table leads to.
    #[cold]
    pub(super) fn everywhere(
        &self,
        message: &Message<'_>,
        mut call: Box<Call>,
        must: bool,
    ) -> Sent {
        self.copy(message, &mut call);
        let places = self.places(must);
        let deadline_ms = call.deadline_ms.min(self.worker.after(PATIENCE));
        let gathering = Gathering::new(call, places.len(), must);
        for (at, cluster, endpoint) in places {
            let who = Who::Part(gathering.part(endpoint));
            let Some(mut call) = self.copy_for(at, who, message) else {
                continue;
            };
            call.deadline_ms = deadline_ms;
            let cluster = &cluster;
            Dispatch { cluster, ..*self }.run(&mut message.clone(), call);
        }
        gathering.end(self.worker);
        Sent::Ended
    }

    /// Returns every endpoint once, with its cluster. Unless the request `must` reach all, leaves
    /// out the unhealthy endpoints of a cluster that has others.
    fn places(&self, must: bool) -> Vec<(usize, Rc<ClusterState>, Rc<EndpointState>)> {
        let routes = self.served.table.routes().iter();
        let targets = routes.flat_map(|route| route.targets());
        let clusters: BTreeSet<usize> = targets.map(|(cluster, _)| cluster).collect();
        let mut seen = BTreeSet::new();
        let mut places = Vec::new();
        for at in clusters {
            let Some(cluster) = self.served.clusters.get(at) else {
                continue;
            };
            let now_us = self.worker.now_us();
            let fits = |one: &Rc<EndpointState>| one.fitness(now_us) != HealthStatus::Unhealthy;
            let mut endpoints = cluster.all();
            endpoints.retain(|one| one.definition.weight > 0);
            if !must && endpoints.iter().any(fits) {
                endpoints.retain(fits);
            }
            for endpoint in endpoints {
                if seen.insert(endpoint.address) {
                    places.push((at, Rc::clone(cluster), endpoint));
                }
            }
        }
        places
    }
}
