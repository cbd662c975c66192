//! The outcome of a request, as outlier detection counts it.

use meltemi_frame::{Fault, Status};

/// The outcome of a request, as outlier detection counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The endpoint worked.
    Success,
    /// The endpoint reported its own failure.
    Failure,
    /// The endpoint could not be reached, or sent no valid response.
    Gateway,
    /// No conclusion: the request was never sent, or its client left before the response.
    Unknown,
}

impl Outcome {
    /// Returns the outcome of a response.
    ///
    /// An exception of the application is a success: the endpoint works, and any other endpoint
    /// would throw the same exception. A redirection, and the refusal of a request for its content,
    /// are successes too. A server that failed or is overloaded is a failure (500 in HTTP). A
    /// server that reports a failure or a timeout behind it is a gateway failure (502, 503, 504).
    pub const fn of_answer(status: Status) -> Self {
        match status {
            Status::Ok | Status::Redirect(_) => Self::Success,
            Status::Failed(fault) => match fault {
                Fault::Server | Fault::Overload => Self::Failure,
                Fault::Connect
                | Fault::Reset
                | Fault::Timeout
                | Fault::BadResponse
                | Fault::NoEndpoint
                | Fault::Draining => Self::Gateway,
                _ => Self::Success,
            },
        }
    }

    /// Returns the outcome of a request without a response. Only failures between router and
    /// endpoint count: no connection, a broken connection, a timeout, or an invalid response.
    pub const fn of_fault(fault: Fault) -> Self {
        match fault {
            Fault::Connect | Fault::Reset | Fault::Timeout | Fault::BadResponse => Self::Gateway,
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_an_endpoint_can_be_blamed_for_counts() {
        let answer = |fault| Outcome::of_answer(Status::Failed(fault));
        assert_eq!(Outcome::of_answer(Status::Ok), Outcome::Success);
        assert_eq!(answer(Fault::Application), Outcome::Success);
        assert_eq!(answer(Fault::NoRoute), Outcome::Success);
        assert_eq!(answer(Fault::Server), Outcome::Failure);
        assert_eq!(answer(Fault::Overload), Outcome::Failure);
        assert_eq!(answer(Fault::Timeout), Outcome::Gateway);
        for fault in [
            Fault::Connect,
            Fault::Reset,
            Fault::Timeout,
            Fault::BadResponse,
        ] {
            assert_eq!(Outcome::of_fault(fault), Outcome::Gateway);
        }
        // The router's own limits and policies.
        for fault in [Fault::Overload, Fault::RateLimited, Fault::Denied] {
            assert_eq!(Outcome::of_fault(fault), Outcome::Unknown);
        }
    }
}
