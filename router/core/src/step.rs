//! The steps of a request before it is sent. The request path and `explain` both walk this list, so
//! that they cannot disagree on the order. This module does not implement any step.

/// A step of a request before it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The policies of the listener: authorization, limits of this process, limits of services.
    Policies,
    /// The first route that matches, one of its clusters, and the timeout.
    Route,
    /// The policies of the route.
    RoutePolicies,
    /// Injected faults: a delay, an answer.
    Faults,
    /// The trace context is written to the request.
    Trace,
    /// The attribute changes of the route.
    Changes,
    /// The request waits: for external services, for the injected delay, for earlier requests.
    Wait,
    /// The policies of the destination, copies, an endpoint, a connection.
    Dispatch,
}

impl Step {
    /// All steps, in the order in which a request takes them. A new step needs one line here, and
    /// one function each in the request path and in `explain`.
    pub const ALL: [Self; 8] = [
        Self::Policies,
        Self::Route,
        Self::RoutePolicies,
        Self::Faults,
        Self::Trace,
        Self::Changes,
        Self::Wait,
        Self::Dispatch,
    ];
}
