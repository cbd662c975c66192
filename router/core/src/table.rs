//! The compiled routes of one served protocol: the first that matches wins, in written order.

mod index;
mod route;

use meltemi_config::{Config, Served};
use meltemi_frame::{Interest, Message};

use crate::explain::Verdict;
use crate::rules::{LimitStore, Policies, Scope};
use index::Index;
pub use route::CompiledRoute;

/// The compiled routes of one served protocol.
///
/// It can be shared between threads; a clone for each of them saves them from waiting for one another's
/// scratch space of regular expressions.
#[derive(Clone, Debug)]
pub struct Table {
    routes: Box<[CompiledRoute]>,
    index: Index,
    policies: Option<Box<Policies>>,
    interest: Interest,
    response_interest: Interest,
}

impl Table {
    /// Compiles the routes of `served`, which is a part of `config` and so has been checked. Local limits
    /// go on with the state that `limits` has of them.
    pub fn compile(served: &Served, config: &Config, limits: &LimitStore) -> Self {
        let mut scope = Scope::new(served.protocol.spec(), config, limits);
        let policies = Policies::compile(
            served.authorization.as_ref(),
            &served.local_limits,
            &served.global_limits,
            &mut scope,
        );
        let compile = |route| CompiledRoute::compile(route, &mut scope);
        let routes: Vec<_> = served.routes.iter().map(compile).collect();
        Self {
            index: Index::new(&routes),
            routes: routes.into(),
            policies: policies.map(Box::new),
            interest: scope.request,
            response_interest: scope.response,
        }
    }

    /// Whether requests may have to wait or be copied, and so must be whole.
    pub fn holds_requests(&self) -> bool {
        let asks = |policies: Option<&Policies>| {
            policies.is_some_and(|policies| !policies.global().is_empty())
        };
        asks(self.policies())
            || self.routes.iter().any(|route| {
                route.rules.extras().is_some_and(|extras| {
                    asks(extras.policies.as_ref())
                        || extras.faults.is_some()
                        || extras.mirrors.is_some()
                })
            })
    }

    /// What is asked of a request before a route is looked for.
    pub fn policies(&self) -> Option<&Policies> {
        self.policies.as_deref()
    }

    /// How deep `decode` must look into requests, for what is matched, hashed, edited, limited
    /// and allowed.
    pub const fn interest(&self) -> Interest {
        self.interest
    }

    /// How deep `decode` must look into responses, for what is edited and tried again.
    pub const fn response_interest(&self) -> Interest {
        self.response_interest
    }

    /// The first route that matches: its position in [`Table::routes`].
    pub fn find(&self, message: &Message<'_>) -> Option<usize> {
        self.index.first(message, |position| {
            self.routes
                .get(position)
                .is_some_and(|route| route.matches(message))
        })
    }

    /// The routes, in written order.
    pub fn routes(&self) -> &[CompiledRoute] {
        &self.routes
    }

    /// Why a message is routed as it is: what each route said, up to and including the one that
    /// matched. For people: it is slow.
    pub fn explain(&self, message: &Message<'_>) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        for (position, route) in self.routes.iter().enumerate() {
            let failed = route.first_failure(message);
            let won = failed.is_none();
            verdicts.push(Verdict {
                position,
                route: route.name.to_string(),
                failed,
            });
            if won {
                break;
            }
        }
        verdicts
    }
}

#[cfg(test)]
mod tests;
