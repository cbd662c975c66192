//! The settings that all routes of a router share: its faults and its limits, made once; and the
//! mirrors of a route.

use std::sync::Arc;

use meltemi_config::{FaultRule, GlobalLimit, LocalLimits, Mirror, Origin, Problem, Route, Share};
use meltemi_frame::{Protocol, Spec};

use super::clusters::Clusters;
use super::{faults, limits};
use crate::kinds::{Copies, Router};

/// The settings of a router for all of its routes.
pub(super) struct Common {
    /// The document of the router.
    of: Origin,
    faults: Vec<FaultRule>,
    local: Option<Arc<LocalLimits>>,
    global: Option<Arc<GlobalLimit>>,
}

impl Common {
    pub(super) fn new(
        router: &Router<'_>,
        spec: &Spec,
        clusters: &mut Clusters<'_>,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let namespace = &router.document.namespace;
        let faults = router.faults.iter();
        let (local, global) = (router.local.as_ref(), router.global.as_ref());
        Self {
            of: router.document.origin(),
            faults: faults
                .filter_map(|fault| faults::compile(fault, spec, problems))
                .collect(),
            local: local.map(|limit| limits::local(limit, spec, problems)),
            global: global
                .and_then(|limit| limits::global(limit, namespace, spec, clusters, problems)),
        }
    }

    /// Returns `true` if these are the settings of this router.
    pub(super) fn is_of(&self, router: &Router<'_>) -> bool {
        self.of == router.document.origin()
    }

    /// Applies the settings to a route.
    pub(super) fn apply(&self, route: &mut Route, problems: &mut Vec<Problem>) {
        route.faults.extend_from_slice(&self.faults);
        if let Some(before) = &self.local {
            limits::warn_idle(&route.local_limits, before, problems);
        }
        // The limits shared by all routes come before the limits of one route.
        route.local_limits.splice(..0, self.local.clone());
        route.global_limits.extend(self.global.clone());
    }
}

/// Translates a mirror. Makes its cluster if it does not exist.
pub(super) fn mirror(
    copies: &Copies<'_>,
    namespace: &str,
    protocol: &dyn Protocol,
    listener_port: u16,
    clusters: &mut Clusters<'_>,
    problems: &mut Vec<Problem>,
) -> Mirror {
    let destination = &copies.destination;
    let known = clusters.knows(&destination.host, namespace);
    let mut found = Vec::new();
    let cluster = clusters.of(destination, namespace, protocol, listener_port, &mut found);
    if known {
        problems.append(&mut found);
    } else {
        problems.push(
            copies
                .at
                .at("host")
                .warning("mirrors to nowhere: no loaded service has this host")
                .remedy("no copy is made until there is a ServiceEntry for it"),
        );
    }
    if copies.share == Share::NONE {
        problems.push(
            copies
                .at
                .warning("no request is copied: the percentage is 0")
                .remedy("give a percentage, or leave out the mirror"),
        );
    }
    Mirror {
        cluster,
        share: copies.share,
        writes_only: copies.writes_only,
        compare: copies.compare,
        origin: copies.at.origin(),
    }
}
