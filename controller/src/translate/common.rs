//! What is the same on all routes of a router: its faults and its limits, made once; and the copies that a route
//! sends.

use std::sync::Arc;

use meltemi_config::{FaultRule, GlobalLimit, LocalLimits, Mirror, Origin, Problem, Route, Share};

use super::routes::Compiler;
use super::{faults, limits};
use crate::kinds::{Copies, Router};

/// What a router says of all of its routes.
pub(super) struct Common {
    /// The router's document.
    of: Origin,
    faults: Vec<FaultRule>,
    local: Option<Arc<LocalLimits>>,
    global: Option<Arc<GlobalLimit>>,
}

impl Compiler<'_, '_> {
    /// Puts on a route what its router says of all of them.
    pub(super) fn common(
        &mut self,
        router: &Router<'_>,
        route: &mut Route,
        problems: &mut Vec<Problem>,
    ) {
        let of = router.document.origin();
        let common = match self.common.take().filter(|common| common.of == of) {
            Some(common) => common,
            None => self.made(router, of, problems),
        };
        route.faults.extend_from_slice(&common.faults);
        if let Some(before) = &common.local {
            limits::warn_idle(&route.local_limits, before, problems);
        }
        // What all routes share is asked before what is a route's own.
        route.local_limits.splice(..0, common.local.clone());
        route.global_limits.extend(common.global.clone());
        self.common = Some(common);
    }

    fn made(&mut self, router: &Router<'_>, of: Origin, problems: &mut Vec<Problem>) -> Common {
        let spec = self.protocol.spec();
        let namespace = &router.document.namespace;
        Common {
            of,
            faults: router
                .faults
                .iter()
                .filter_map(|fault| faults::compile(fault, spec, problems))
                .collect(),
            local: router
                .local
                .as_ref()
                .map(|limit| limits::local(limit, spec, problems)),
            global: router
                .global
                .as_ref()
                .and_then(|limit| limits::global(limit, namespace, spec, self.clusters, problems)),
        }
    }

    /// A mirror, whose cluster is made if it is not there.
    pub(super) fn mirror(
        &mut self,
        copies: &Copies<'_>,
        namespace: &str,
        problems: &mut Vec<Problem>,
    ) -> Mirror {
        let destination = &copies.destination;
        let known = self.clusters.knows(&destination.host, namespace);
        let mut found = Vec::new();
        let cluster = self.clusters.of(
            destination,
            namespace,
            self.protocol.as_ref(),
            self.listener_port,
            &mut found,
        );
        if known {
            problems.append(&mut found);
        } else {
            problems.push(
                copies
                    .at
                    .at("host")
                    .warning("mirrors to nowhere: no service that is loaded has this host")
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
}
