//! What the end of a request says of its endpoint.

use meltemi_frame::{Fault, Status};

/// What the end of a request says of its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The endpoint did its part.
    Success,
    /// It answered that it failed.
    Failure,
    /// It could not be reached, or gave no answer that is one.
    Gateway,
    /// Nothing: the request was never sent, or its client left before the answer.
    Unknown,
}

impl Outcome {
    /// Of an answer.
    ///
    /// An exception of the application is a success: somebody was there to throw it, and would be on
    /// every other endpoint. So are a redirection, and a refusal of what the request asks for. A server
    /// that failed or has too much to do is a failure (what 500 is in HTTP); one that tells of
    /// trouble behind it, or of having been too slow, is a gateway failure (502, 503, 504).
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

    /// Of a request to which the router found no answer. Only what happened between router and endpoint
    /// counts: no connection, a broken one, no answer in time, an answer that is none.
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
