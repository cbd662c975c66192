//! A configuration compiled for the data path. Built outside the data path, replaced as a whole,
//! and shared by all workers.

use std::sync::Arc;

use meltemi_config::{Config, Listener};
use meltemi_frame::{Interest, Protocol};
use meltemi_router_core::{LimitStore, Table};

use crate::cluster::registry::{ClusterRegistry, CompiledCluster};
use crate::telemetry::operations::Names;
use crate::telemetry::spans::TraceKeys;

/// A compiled configuration.
pub(crate) struct Snapshot {
    pub(crate) listeners: Vec<CompiledListener>,
    pub(crate) clusters: Vec<CompiledCluster>,
}

/// State that survives configuration changes and is shared by all workers.
pub(crate) struct ProcessState {
    pub(crate) shared: ClusterRegistry,
    pub(crate) limits: LimitStore,
}

impl ProcessState {
    /// Creates empty state. `seed`: a number that clients do not know (see [`LimitStore::new`]).
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            shared: ClusterRegistry::default(),
            limits: LimitStore::new(seed),
        }
    }
}

/// A listener and the compiled routes of its protocols.
pub(crate) struct CompiledListener {
    /// The listener without its routes. The routes are compiled into `served` and would need
    /// several times as much memory.
    pub(crate) listener: Arc<Listener>,
    pub(crate) served: Vec<CompiledProtocol>,
}

/// A protocol on a listener.
pub(crate) struct CompiledProtocol {
    pub(crate) protocol: Arc<dyn Protocol>,
    pub(crate) table: Arc<Table>,
    /// How deep requests must be parsed for the routes and for the operation's name.
    pub(crate) interest: Interest,
    pub(crate) names: Names,
    /// The keys that carry traces in this protocol.
    pub(crate) trace_keys: Arc<TraceKeys>,
}

impl Snapshot {
    /// Compiles a configuration. It has no effect until [`ClusterRegistry::commit`]. `traced`:
    /// trace contexts must be found in requests.
    pub(crate) fn compile(config: &Config, process: &ProcessState, traced: bool) -> Self {
        let listeners = config
            .listeners()
            .iter()
            .map(|listener| CompiledListener {
                listener: Arc::new(listener.without_routes()),
                served: listener
                    .served
                    .iter()
                    .map(|served| {
                        let spec = served.protocol.spec();
                        let table = Table::compile(served, config, &process.limits);
                        let trace_keys = TraceKeys::of(spec);
                        let mut interest = table.interest();
                        if traced {
                            interest = interest.max(trace_keys.interest());
                        }
                        if table.holds_requests() {
                            interest = Interest::Body;
                        }
                        // Uses operation names in metrics only if they cost nothing extra: requests
                        // are not parsed deeper for them.
                        let cheap = |name: &str| {
                            let (lookup, interest) = spec.lookup(name)?;
                            (interest == Interest::Route).then_some(lookup)
                        };
                        CompiledProtocol {
                            interest,
                            names: Names {
                                protocol: spec.name.to_string(),
                                operation: cheap(&spec.operation),
                                service: spec.service.as_deref().and_then(cheap),
                            },
                            protocol: Arc::clone(&served.protocol),
                            trace_keys: Arc::new(trace_keys),
                            table: Arc::new(table),
                        }
                    })
                    .collect(),
            })
            .collect();
        Self {
            listeners,
            clusters: process.shared.compile(config.clusters()),
        }
    }
}
