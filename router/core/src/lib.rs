//! The router's decisions: the route, the cluster and the endpoint of a request, the caller of a
//! reply, and the order of replies.
//!
//! Everything here is pure: no socket, no task, no clock and no source of randomness. Time and
//! random numbers are arguments, so that every decision can be tested and fuzzed alone. This crate
//! depends on no protocol and on no connection.

mod balance;
mod explain;
mod fifo;
mod hash;
mod health;
mod matching;
mod mutation;
mod order;
mod outlier;
mod pending;
mod rules;
mod step;
mod table;

pub use balance::{Balancer, Endpoints, Host, Pick, PickRequest};
pub use explain::{
    AccessGiven, Asked, Decision, EndpointShare, FailedTest, FaultShare, LimitAsked, MirrorShare,
    Plan, RetryPlan, ServiceAsked, TargetShare, Verdict,
};
pub use fifo::{Fifo, Turn};
pub use hash::stable_hash;
pub use health::{ClusterHealth, EndpointHealth, Health, HealthStatus};
pub use mutation::{Changes, Facts};
pub use order::Order;
pub use outlier::{Admission, Cause, Ejection, Outcome, Outliers, Record};
pub use pending::{Pending, Reply};
pub use rules::{
    Access, Authorizer, Budget, Faults, GlobalLimiter, Guards, LimitStore, LocalLimiter,
    MirrorTarget, Mirrors, OptionalRules, Peer, Policies, RetryRule, Rules, SampledFaults,
};
pub use step::Step;
pub use table::{CompiledRoute, Table};

#[cfg(test)]
mod allocation;
#[cfg(test)]
mod fixture;
