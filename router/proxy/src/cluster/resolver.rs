//! Resolves the named endpoints of a cluster with the system's resolver.

use std::rc::Weak;
use std::time::Duration;

use meltemi_config::Address;

use crate::cluster::ClusterState;

/// Resolves the cluster's names periodically until the cluster is dropped or the task is aborted.
/// If a name cannot be resolved, its last addresses stay.
pub(crate) async fn keep_resolved(cluster: Weak<ClusterState>) {
    let mut known = std::collections::HashMap::new();
    loop {
        let Some(state) = cluster.upgrade() else {
            return;
        };
        let config = state.config.borrow().clone();
        drop(state);
        let mut endpoints = Vec::new();
        for endpoint in &config.endpoints {
            match &endpoint.address {
                Address::Socket(address) => endpoints.push((*address, endpoint.clone())),
                Address::Name { host, port } => {
                    match tokio::net::lookup_host((host.as_str(), *port)).await {
                        Ok(found) => {
                            let mut found: Vec<_> = found.collect();
                            found.sort_unstable();
                            found.dedup();
                            known.insert((host.clone(), *port), found);
                        }
                        Err(error) => {
                            tracing::warn!(cluster = config.name, host, %error, "DNS lookup failed");
                        }
                    }
                    let found = known.get(&(host.clone(), *port)).into_iter().flatten();
                    endpoints.extend(found.map(|address| (*address, endpoint.clone())));
                }
            }
        }
        endpoints.dedup_by(|a, b| a.0 == b.0);
        let Some(state) = cluster.upgrade() else {
            return;
        };
        state.set_endpoints(endpoints);
        drop(state);
        tokio::time::sleep(config.dns_refresh.max(Duration::from_millis(100))).await;
    }
}
