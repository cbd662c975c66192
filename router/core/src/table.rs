//! The compiled routes of one served protocol. The first matching route wins, in written order.

mod index;
mod route;

use meltemi_config::{Config, Served};
use meltemi_frame::{Interest, Message};

use crate::explain::Verdict;
use crate::rules::{LimitStore, Policies, Scope, destinations};
use index::Index;
pub use route::CompiledRoute;

/// The compiled routes of one served protocol.
///
/// A table can be shared between threads. A clone for each thread is faster, because threads then
/// do not wait for each other's scratch space of regular expressions.
#[derive(Clone, Debug)]
pub struct Table {
    routes: Box<[CompiledRoute]>,
    index: Index,
    policies: Option<Box<Policies>>,
    interest: Interest,
    response_interest: Interest,
}

impl Table {
    /// Compiles the routes of `served`, which must be a part of the checked `config`. Local limits
    /// keep the state that `limits` has for them.
    pub fn compile(served: &Served, config: &Config, limits: &LimitStore) -> Self {
        let mut scope = Scope::new(served.protocol.spec(), config, limits);
        let policies = Policies::compile(
            served.authorization.as_ref(),
            &served.local_limits,
            &served.global_limits,
            &mut scope,
        );
        scope.destinations = destinations(&served.routes, &mut scope);
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

    /// Returns `true` if requests may have to wait or be copied, and so must be complete before
    /// they are sent.
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

    /// Returns the policies that apply before a route is selected. `None` if there are none.
    pub fn policies(&self) -> Option<&Policies> {
        self.policies.as_deref()
    }

    /// Returns the decode depth for requests, as matches, hashes, edits, limits and policies need
    /// it.
    pub const fn interest(&self) -> Interest {
        self.interest
    }

    /// Returns the decode depth for responses, as edits and retries need it.
    pub const fn response_interest(&self) -> Interest {
        self.response_interest
    }

    /// Returns the position in [`Table::routes`] of the first route that matches. `None` if no
    /// route matches.
    pub fn find(&self, message: &Message<'_>) -> Option<usize> {
        self.index.first(message, |position| {
            self.routes
                .get(position)
                .is_some_and(|route| route.matches(message))
        })
    }

    /// Returns the routes, in written order.
    pub fn routes(&self) -> &[CompiledRoute] {
        &self.routes
    }

    /// Returns the result of each route that was tested on a message, up to and including the one
    /// that matched. For people: it is slow.
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
