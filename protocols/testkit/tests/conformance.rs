//! The kit passes a codec that keeps the agreement.

mod toy;

use toy::Chat;

meltemi_testkit::conformance!(Chat::new(), samples = "tests/samples");

meltemi_testkit::conformance!(
    mod shared,
    std::sync::Arc::new(Chat::new()) as std::sync::Arc<dyn meltemi_frame::Protocol>,
    samples = "tests/samples",
    options = meltemi_testkit::Options::default(),
);
