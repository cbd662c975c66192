//! Every kind of failure, and the coarser reason that a codec reports in its protocol.

/// The failure of a request, which the router detected or a peer's response reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Fault {
    /// No route matches the request.
    NoRoute,
    /// The route's cluster or subset does not exist, or has no usable endpoint.
    NoEndpoint,
    /// No upstream connection could be made (nothing was sent).
    Connect,
    /// The upstream connection ended before the response did.
    Reset,
    /// The timeout of the request is over.
    Timeout,
    /// A limit of connections, pending requests or buffers was reached.
    Overload,
    /// A rate limit was reached.
    RateLimited,
    /// The request's bytes are not a message of its protocol.
    Malformed,
    /// The request is larger than the limit.
    TooLarge,
    /// The request is legal, but cannot be carried through a proxy.
    Unsupported,
    /// A policy forbids the request.
    Denied,
    /// The request belongs to a pinned connection that leads to another cluster than its route.
    Misrouted,
    /// The router is shutting down.
    Draining,
    /// A configured fault was injected.
    Injected,
    /// The response's bytes are not a message of the protocol, or match no request.
    BadResponse,
    /// The application failed: a declared or undeclared exception, an error reply.
    Application,
    /// The server failed outside of the application.
    Server,
}

impl Fault {
    /// Returns the reason to report to the caller. Every failure has one.
    pub const fn reason(self) -> Reason {
        match self {
            Self::NoRoute => Reason::NotFound,
            Self::NoEndpoint | Self::Connect | Self::Reset | Self::Draining => Reason::Unavailable,
            Self::Timeout => Reason::Timeout,
            Self::Overload | Self::RateLimited => Reason::Overloaded,
            Self::Malformed | Self::TooLarge | Self::Unsupported | Self::Misrouted => {
                Reason::BadRequest
            }
            Self::Denied => Reason::Denied,
            Self::Injected | Self::BadResponse | Self::Application | Self::Server => {
                Reason::Internal
            }
        }
    }

    /// Returns the name used in logs, metrics and `meltemi decode`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoRoute => "no_route",
            Self::NoEndpoint => "no_endpoint",
            Self::Connect => "connect",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::Overload => "overload",
            Self::RateLimited => "rate_limited",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::Unsupported => "unsupported",
            Self::Denied => "denied",
            Self::Misrouted => "misrouted",
            Self::Draining => "draining",
            Self::Injected => "injected",
            Self::BadResponse => "bad_response",
            Self::Application => "application",
            Self::Server => "server",
        }
    }
}

/// The reason in a local reply, coarse enough to exist in every protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The request cannot be understood or carried.
    BadRequest,
    /// No service has the requested operation.
    NotFound,
    /// The service exists, but cannot be reached now.
    Unavailable,
    /// The response did not arrive in time.
    Timeout,
    /// Too many requests at once.
    Overloaded,
    /// The caller is not allowed to do this.
    Denied,
    /// Another failure on this side.
    Internal,
}

impl Reason {
    /// All reasons, for codecs and tests that iterate over them.
    pub const ALL: &'static [Self] = &[
        Self::BadRequest,
        Self::NotFound,
        Self::Unavailable,
        Self::Timeout,
        Self::Overloaded,
        Self::Denied,
        Self::Internal,
    ];
}
