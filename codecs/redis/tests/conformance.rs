//! The kit's proof that the codec keeps the agreement, on bytes of real clients and servers.

use meltemi_frame::Side;
use meltemi_testkit::Options;

meltemi_testkit::conformance!(
    meltemi_redis::Redis::new(),
    samples = "samples",
    options = Options::default()
        // Escapes, names that are not known, and what changes a session: all rare.
        .allocates(&["inline_set_quoted", "r2_error_unknown"])
        .large(
            Side::Client,
            [b"*9000\r\n".to_vec(), b":1\r\n".repeat(9000)].concat()
        )
        .large(
            Side::Client,
            [b"+".to_vec(), vec![b'x'; 40_000], b"\r\n".to_vec()].concat()
        )
        .large(
            Side::Server,
            [
                b"*9000\r\n$3\r\nDEL\r\n".to_vec(),
                b"$1\r\nk\r\n".repeat(8999)
            ]
            .concat()
        )
        .large(
            Side::Server,
            [b"SET k ".to_vec(), vec![b'x'; 40_000], b"\r\n".to_vec()].concat()
        )
);
