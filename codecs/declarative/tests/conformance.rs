//! Both shipped descriptions keep the agreement with the router, as hand-written codecs do.

#![expect(clippy::unwrap_used, reason = "a panic here is a failed test")]

meltemi_testkit::conformance!(
    mod bolt,
    meltemi_declarative::bolt().unwrap(),
    samples = "samples/bolt",
);

meltemi_testkit::conformance!(
    mod quill,
    meltemi_declarative::quill().unwrap(),
    samples = "samples/quill",
);
