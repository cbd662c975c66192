//! The kit's checks on real bytes.

use meltemi_testkit::Options;

meltemi_testkit::conformance!(
    meltemi_thrift::Thrift::new(),
    samples = "samples",
    // The names of compressed messages lie nowhere in their bytes.
    options = Options::default().allocates(&[
        "py_header_binary_zlib_hdr_add",
        "py_header_compact_zlib_hdr_echo"
    ]),
);
