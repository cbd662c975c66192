//! The codec keeps the agreement, on bytes of real clients and servers.

use meltemi_testkit::Options;

meltemi_testkit::conformance!(
    mod dubbo,
    meltemi_dubbo::Dubbo::new(),
    samples = "samples",
    // A status that Dubbo does not define has no text at hand.
    options = Options::default().allocates(&["status-99"]),
);
