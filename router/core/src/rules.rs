//! The compiled rules of a mesh: the policies that apply before a route is selected ([`Policies`]),
//! and the effects of a route besides the choice of a cluster ([`Rules`]).
//!
//! A rule that is not configured costs one check of an `Option`. Nothing here waits, measures time,
//! or depends on the form of an error response.

mod authorization;
mod bucket;
mod buckets;
mod fault;
mod global;
mod guard;
mod key;
mod limit;
mod mirror;
mod peer;
mod retry;

use std::collections::HashMap;
use std::sync::Arc;

use meltemi_config::{Authorization, Config, GlobalLimit, LocalLimits, Route, Share};
use meltemi_frame::{Interest, Spec};

use crate::balance::below;
pub use authorization::{Access, Authorizer};
pub use fault::{Faults, SampledFaults};
pub use global::GlobalLimiter;
pub use guard::Guards;
pub(crate) use guard::destinations;
pub use limit::{LimitStore, LocalLimiter};
pub use mirror::{MirrorTarget, Mirrors};
pub use peer::Peer;
pub use retry::{Budget, RetryRule};

/// The policies that apply to a request: those of a listener, before a route is selected, or those
/// of a route. They are evaluated in this order: authorization, local limits, global limits.
#[derive(Clone, Debug)]
pub struct Policies {
    authorization: Option<Arc<Authorizer>>,
    local: Box<[Arc<LocalLimiter>]>,
    global: Box<[Arc<GlobalLimiter>]>,
}

impl Policies {
    /// Returns `None` if there are no policies.
    pub(crate) fn compile(
        authorization: Option<&Arc<Authorization>>,
        local: &[Arc<LocalLimits>],
        global: &[Arc<GlobalLimit>],
        scope: &mut Scope<'_>,
    ) -> Option<Self> {
        let authorization = authorization.filter(|policies| !policies.is_empty());
        if authorization.is_none() && local.is_empty() && global.is_empty() {
            return None;
        }
        Some(Self {
            authorization: authorization.map(|policies| scope.authorizer(policies)),
            local: local.iter().map(|limits| scope.local(limits)).collect(),
            global: global.iter().map(|limit| scope.global(limit)).collect(),
        })
    }

    /// Returns the authorization policies. `None` if every request is allowed.
    pub fn authorization(&self) -> Option<&Authorizer> {
        self.authorization.as_deref()
    }

    /// Returns the limits of this process. All of them must let a request pass.
    pub fn local(&self) -> &[Arc<LocalLimiter>] {
        &self.local
    }

    /// Returns the limits of external services. All of them must let a request pass.
    pub fn global(&self) -> &[Arc<GlobalLimiter>] {
        &self.global
    }
}

/// The effects of a route on its requests besides the choice of a cluster.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The retry rule.
    pub retry: RetryRule,
    extras: Option<Box<OptionalRules>>,
}

/// The rules that few routes have.
#[derive(Clone, Debug)]
pub struct OptionalRules {
    /// The policies that apply after those of the listener. `None` if there are none.
    pub policies: Option<Policies>,
    /// The faults to inject. `None` if there are none.
    pub faults: Option<Faults>,
    /// The clusters that get copies. `None` if there are none.
    pub mirrors: Option<Mirrors>,
    /// The policies of the clusters that requests and copies may reach. `None` if there are none.
    pub guards: Option<Guards>,
}

impl Rules {
    pub(crate) fn compile(route: &Route, scope: &mut Scope<'_>) -> Self {
        let policies = Policies::compile(
            route.authorization.as_ref(),
            &route.local_limits,
            &route.global_limits,
            scope,
        );
        let faults = Faults::compile(&route.faults, scope.spec, &mut scope.request);
        let mirrors = Mirrors::compile(&route.mirrors, scope);
        let guards = Guards::compile(route, scope);
        let any = policies.is_some() || faults.is_some() || mirrors.is_some() || guards.is_some();
        let extras = || {
            Box::new(OptionalRules {
                policies,
                faults,
                mirrors,
                guards,
            })
        };
        Self {
            retry: RetryRule::compile(&route.retry, scope.spec, &mut scope.response),
            extras: any.then(extras),
        }
    }

    /// Returns the rules that few routes have. `None` if this route has none of them.
    pub fn extras(&self) -> Option<&OptionalRules> {
        self.extras.as_deref()
    }

    /// Returns the policies of the destinations. `None` if there are none.
    pub fn guards(&self) -> Option<&Guards> {
        self.extras()?.guards.as_ref()
    }
}

/// The context in which rules are compiled. Collects the decode depth that they need. Rules that
/// several routes share are compiled once.
pub(crate) struct Scope<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) config: &'a Config,
    /// The decode depth for requests.
    pub(crate) request: Interest,
    /// The decode depth for responses.
    pub(crate) response: Interest,
    limits: &'a LimitStore,
    /// The policies of every cluster. `None` if there are none.
    pub(crate) destinations: Option<guard::Destinations>,
    authorizers: Shared<Authorization, Authorizer>,
    locals: Shared<LocalLimits, LocalLimiter>,
    globals: Shared<GlobalLimit, GlobalLimiter>,
}

/// Rules that were already compiled, by address. Lives no longer than the configuration, so that an
/// address stays unique.
type Shared<Plain, Compiled> = HashMap<*const Plain, Arc<Compiled>>;

impl<'a> Scope<'a> {
    pub(crate) fn new(spec: &'a Spec, config: &'a Config, limits: &'a LimitStore) -> Self {
        Self {
            spec,
            config,
            request: Interest::Route,
            response: Interest::Route,
            limits,
            destinations: None,
            authorizers: HashMap::new(),
            locals: HashMap::new(),
            globals: HashMap::new(),
        }
    }

    fn authorizer(&mut self, plain: &Arc<Authorization>) -> Arc<Authorizer> {
        let (spec, request) = (self.spec, &mut self.request);
        let compile = || {
            let (compiled, interest) = Authorizer::compile(plain, spec);
            *request = (*request).max(interest);
            Arc::new(compiled)
        };
        let kept = self.authorizers.entry(Arc::as_ptr(plain));
        Arc::clone(kept.or_insert_with(compile))
    }

    fn local(&mut self, plain: &Arc<LocalLimits>) -> Arc<LocalLimiter> {
        let (spec, limits, request) = (self.spec, self.limits, &mut self.request);
        let compile = || {
            let (compiled, interest) = LocalLimiter::new(plain, spec, limits);
            *request = (*request).max(interest);
            Arc::new(compiled)
        };
        let kept = self.locals.entry(Arc::as_ptr(plain));
        Arc::clone(kept.or_insert_with(compile))
    }

    fn global(&mut self, plain: &Arc<GlobalLimit>) -> Arc<GlobalLimiter> {
        let (spec, config, request) = (self.spec, self.config, &mut self.request);
        let compile = || {
            let (compiled, interest) = GlobalLimiter::compile(plain, spec, config);
            *request = (*request).max(interest);
            Arc::new(compiled)
        };
        let kept = self.globals.entry(Arc::as_ptr(plain));
        Arc::clone(kept.or_insert_with(compile))
    }
}

/// Draws whether a request belongs to this share. A share of all or none draws no random number.
fn hits(share: Share, random: &mut dyn FnMut() -> u64) -> bool {
    match share {
        Share::ALL => true,
        Share::NONE => false,
        some => {
            let all = u64::from(Share::ALL.as_millionths());
            below(random(), all) < u64::from(some.as_millionths())
        }
    }
}

#[cfg(test)]
mod tests;
