//! The flows of requests that the demo sends, and how the configuration splits each of them.

use super::speech::{Ask, DUBBO, QUILL, REDIS, Speech, THRIFT};

/// Requests that take the same route.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) speech: &'static Speech,
    /// The route's name in the configuration.
    pub(super) route: &'static str,
    /// What its requests have in common, as text for the table.
    pub(super) about: &'static str,
    method: &'static str,
    /// The text before the number in the argument or key.
    prefix: &'static str,
    header: Option<(&'static str, &'static str)>,
    /// The share that goes to v2, as configured in `demo.yaml`.
    pub(super) v2: f64,
}

impl Flow {
    /// Returns the request with this number.
    pub(super) fn ask(&self, number: u64) -> Ask {
        Ask {
            method: self.method,
            name: format!("{}{number}", self.prefix),
            header: self.header,
        }
    }
}

/// All flows.
pub(super) static FLOWS: [Flow; 8] = [
    Flow {
        speech: &DUBBO,
        route: "split",
        about: "greet",
        method: "greet",
        prefix: "guest-",
        header: Some(("x-user", "somebody")),
        v2: 0.2,
    },
    Flow {
        speech: &DUBBO,
        route: "beta",
        about: "x-user: beta",
        method: "greet",
        prefix: "tester-",
        header: Some(("x-user", "beta")),
        v2: 1.0,
    },
    Flow {
        speech: &THRIFT,
        route: "rest",
        about: "put",
        method: "put",
        prefix: "book-",
        header: None,
        v2: 0.1,
    },
    Flow {
        speech: &THRIFT,
        route: "search",
        about: "search",
        method: "search",
        prefix: "word-",
        header: None,
        v2: 1.0,
    },
    Flow {
        speech: &REDIS,
        route: "users",
        about: "GET user:…",
        method: "GET",
        prefix: "user:",
        header: None,
        v2: 0.0,
    },
    Flow {
        speech: &REDIS,
        route: "orders",
        about: "GET order:…",
        method: "GET",
        prefix: "order:",
        header: None,
        v2: 1.0,
    },
    Flow {
        speech: &QUILL,
        route: "even",
        about: "book",
        method: "book",
        prefix: "sum-",
        header: None,
        v2: 0.5,
    },
    Flow {
        speech: &QUILL,
        route: "acme",
        about: "tenant: acme",
        method: "book",
        prefix: "sum-",
        header: Some(("tenant", "acme")),
        v2: 1.0,
    },
];
