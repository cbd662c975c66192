//! Selects the endpoint for a request: combines the balancer with the health and the load of the
//! endpoints. The module does not depend on connections.

use std::net::SocketAddr;
use std::rc::Rc;

use meltemi_router_core::{Admission, Balancer, Endpoints, HealthStatus, Host, PickRequest};

use super::ClusterState;
use crate::cluster::endpoint::EndpointState;
use crate::context::WorkerContext;

/// The endpoints, in the form that the balancer reads.
struct Fit<'a> {
    endpoints: &'a [Rc<EndpointState>],
    now_us: u64,
}

impl Endpoints for Fit<'_> {
    fn fitness(&self, at: usize) -> HealthStatus {
        let endpoint = self.endpoints.get(at);
        endpoint.map_or(HealthStatus::Unhealthy, |endpoint| {
            endpoint.fitness(self.now_us)
        })
    }

    fn load(&self, at: usize) -> u32 {
        self.endpoints.get(at).map_or(0, |one| one.in_flight())
    }

    fn since_us(&self, at: usize) -> u64 {
        let endpoint = self.endpoints.get(at);
        let vitals = endpoint.and_then(|endpoint| endpoint.vitals.borrow().clone());
        vitals.map_or(0, |vitals| vitals.since_us())
    }
}

impl ClusterState {
    pub(super) fn balance(&self) {
        let endpoints = self.endpoints.borrow();
        let members: Vec<Host<'_>> = endpoints
            .iter()
            .map(|state| Host {
                weight: state.definition.weight,
                key: meltemi_router_core::stable_hash(state.address.to_string().as_bytes()),
                priority: state.definition.priority,
                locality: &state.definition.locality,
            })
            .collect();
        let config = self.config.borrow();
        *self.balancer.borrow_mut() = Balancer::new(&config, &members);
    }

    /// Returns `true` if there is an endpoint that has not failed this request.
    pub(crate) fn has_untried(&self, tried: &[SocketAddr]) -> bool {
        let endpoints = self.endpoints.borrow();
        endpoints
            .iter()
            .any(|one| one.definition.weight > 0 && !tried.contains(&one.address))
    }

    /// Returns the endpoint for a request, and how it was admitted there. `tried`: endpoints that
    /// failed the request before.
    pub(crate) fn pick(
        &self,
        worker: &WorkerContext,
        hash: Option<u64>,
        tried: &[SocketAddr],
    ) -> Option<(Rc<EndpointState>, Admission)> {
        let endpoints = self.endpoints.borrow();
        let fleet = self.fleet.borrow();
        if let ([only], None) = (endpoints.as_slice(), &*fleet) {
            return (only.definition.weight > 0).then(|| (Rc::clone(only), Admission::Plain));
        }
        let now_us = worker.now_us();
        let fit = Fit {
            endpoints: &endpoints,
            now_us,
        };
        let was_tried = |at: usize| {
            let endpoint = endpoints.get(at);
            endpoint.is_some_and(|endpoint| tried.contains(&endpoint.address))
        };
        let mut balancer = self.balancer.borrow_mut();
        let mut random = || worker.random();
        // Another worker may take the only trial of an endpoint first. Then the next endpoint is
        // tried.
        for _ in 0..=endpoints.len() {
            let ask = PickRequest {
                hash,
                now_us,
                epoch: fleet.as_ref().map_or(0, |fleet| fleet.epoch()),
                tried: (!tried.is_empty()).then_some(&was_tried),
            };
            let choice = balancer.pick(&ask, &mut random, &fit)?;
            let endpoint = endpoints.get(choice.at)?;
            let vitals = endpoint.vitals.borrow();
            let admission = match &*vitals {
                Some(vitals) if !choice.panic => vitals.admit(now_us),
                _ => Some(Admission::Plain),
            };
            if let Some(admission) = admission {
                return Some((Rc::clone(endpoint), admission));
            }
        }
        None
    }
}
