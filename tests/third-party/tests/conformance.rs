//! The agreement is kept.

meltemi_testkit::conformance!(pigeon::Pigeon::new(), samples = "samples");
