//! Whatever bytes a Bolt peer sends: no panic, the same however they are cut, and they leave as they came.
#![no_main]

use std::sync::LazyLock;

static PROTOCOL: LazyLock<meltemi_declarative::Declarative> =
    LazyLock::new(|| meltemi_declarative::bolt().expect("a built-in description is valid"));

libfuzzer_sys::fuzz_target!(|data: &[u8]| meltemi_testkit::fuzz::all(&*PROTOCOL, data));
