//! Whatever bytes a Redis peer sends: no panic, the same however they are cut, and they leave as they came.
#![no_main]

use std::sync::LazyLock;

static PROTOCOL: LazyLock<meltemi_redis::Redis> = LazyLock::new(meltemi_redis::Redis::new);

libfuzzer_sys::fuzz_target!(|data: &[u8]| meltemi_testkit::fuzz::all(&*PROTOCOL, data));
