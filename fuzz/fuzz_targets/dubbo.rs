//! Whatever bytes a Dubbo peer sends: no panic, the same however they are cut, and they leave as they came.
#![no_main]

use std::sync::LazyLock;

static PROTOCOL: LazyLock<meltemi_dubbo::Dubbo> = LazyLock::new(meltemi_dubbo::Dubbo::new);

libfuzzer_sys::fuzz_target!(|data: &[u8]| meltemi_testkit::fuzz::all(&*PROTOCOL, data));
