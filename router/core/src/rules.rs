//! The rules of a mesh, compiled: what is asked before a route is looked for ([`Policies`]), and what a
//! route does to its requests besides sending them somewhere ([`Rules`]).
//!
//! A rule that is not configured costs one look at an `Option`. Nothing here waits, counts time, or knows
//! what a refusal looks like.

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
pub use limit::{LimitStore, LocalLimiter};
pub use mirror::{MirrorTarget, Mirrors};
pub use peer::Peer;
pub use retry::{Budget, RetryRule};

/// What is asked of a request: of every one before a route is looked for, or of those of a route. In this
/// order: authorization, local limits, global limits.
#[derive(Clone, Debug)]
pub struct Policies {
    authorization: Option<Arc<Authorizer>>,
    local: Box<[Arc<LocalLimiter>]>,
    global: Box<[Arc<GlobalLimiter>]>,
}

impl Policies {
    /// `None` if there is nothing to ask.
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

    /// Who may ask for what; `None`: everybody for everything.
    pub fn authorization(&self) -> Option<&Authorizer> {
        self.authorization.as_deref()
    }

    /// Limits of this process; all must let a request pass.
    pub fn local(&self) -> &[Arc<LocalLimiter>] {
        &self.local
    }

    /// Limits that a service decides; all must let a request pass.
    pub fn global(&self) -> &[Arc<GlobalLimiter>] {
        &self.global
    }
}

/// What a route does to its requests besides sending them somewhere.
#[derive(Clone, Debug)]
pub struct Rules {
    /// What is done about requests that failed.
    pub retry: RetryRule,
    extras: Option<Box<OptionalRules>>,
}

/// The rules that few routes have.
#[derive(Clone, Debug)]
pub struct OptionalRules {
    /// What is asked, after the policies of the listener.
    pub policies: Option<Policies>,
    /// Faults that are injected; `None`: none.
    pub faults: Option<Faults>,
    /// Clusters that get copies; `None`: none.
    pub mirrors: Option<Mirrors>,
    /// What is asked where a request or its copy goes; `None`: nothing.
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

    /// The rules that few routes have; `None`: this one has none of them.
    pub fn extras(&self) -> Option<&OptionalRules> {
        self.extras.as_deref()
    }

    /// What is asked where requests go; `None`: nothing.
    pub fn guards(&self) -> Option<&Guards> {
        self.extras()?.guards.as_ref()
    }
}

/// What rules are compiled from and for; it learns how deep `decode` must look. What several routes
/// share is compiled once.
pub(crate) struct Scope<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) config: &'a Config,
    /// How deep into requests.
    pub(crate) request: Interest,
    /// How deep into responses.
    pub(crate) response: Interest,
    limits: &'a LimitStore,
    authorizers: Shared<Authorization, Authorizer>,
    locals: Shared<LocalLimits, LocalLimiter>,
    globals: Shared<GlobalLimit, GlobalLimiter>,
}

/// What was compiled already. It lives no longer than the configuration, so that an address means one
/// thing.
type Shared<Plain, Compiled> = HashMap<*const Plain, Arc<Compiled>>;

impl<'a> Scope<'a> {
    pub(crate) fn new(spec: &'a Spec, config: &'a Config, limits: &'a LimitStore) -> Self {
        Self {
            spec,
            config,
            request: Interest::Route,
            response: Interest::Route,
            limits,
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

/// Whether a request is one of this share. No random number is drawn for all or none.
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
