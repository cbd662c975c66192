//! The router's decisions: which route, which cluster, which endpoint, whose reply, in what order.
//!
//! Everything here is pure: no socket, no task, no clock and no source of randomness. Time and random
//! numbers come in as arguments, so that every decision can be tested and fuzzed by itself. It knows
//! no protocol by name, and nothing of connections.

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
