//! The compiled routes of one served protocol: the first that matches wins, in written order.

mod index;
mod route;

use meltemi_config::{Config, Served};
use meltemi_frame::{Interest, Message};

use crate::explain::Verdict;
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
    interest: Interest,
    response_interest: Interest,
}

impl Table {
    /// Compiles the routes of `served`, which is a part of `config` and so has been checked.
    pub fn compile(served: &Served, config: &Config) -> Self {
        let spec = served.protocol.spec();
        let mut interest = Interest::Route;
        let mut response_interest = Interest::Route;
        let mut routes = Vec::with_capacity(served.routes.len());
        for route in &served.routes {
            let (compiled, request, response) = CompiledRoute::compile(route, spec, config);
            interest = interest.max(request);
            response_interest = response_interest.max(response);
            routes.push(compiled);
        }
        Self {
            index: Index::new(&routes),
            routes: routes.into(),
            interest,
            response_interest,
        }
    }

    /// How deep `decode` must look into requests, for what is matched, hashed and edited.
    pub const fn interest(&self) -> Interest {
        self.interest
    }

    /// How deep `decode` must look into responses, for what is edited.
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
