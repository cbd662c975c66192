//! Whatever bytes a Thrift peer sends: no panic, the same however they are cut, and they leave as they came.
#![no_main]

use std::sync::LazyLock;

static PROTOCOL: LazyLock<meltemi_thrift::Thrift> = LazyLock::new(meltemi_thrift::Thrift::new);

libfuzzer_sys::fuzz_target!(|data: &[u8]| meltemi_testkit::fuzz::all(&*PROTOCOL, data));
