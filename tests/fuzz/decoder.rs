//! The fuzz target of every decoder: `SEALMOOT_DECODER` names the one to fuzz. One
//! program for all: each would take its own tens of megabytes, and a link.
#![no_main]

use std::sync::LazyLock;

use sealmoot_decoders::Decoder;

static DECODER: LazyLock<&Decoder> = LazyLock::new(|| {
    let name = std::env::var("SEALMOOT_DECODER").expect("SEALMOOT_DECODER names a decoder");
    sealmoot_decoders::named(&name)
});

libfuzzer_sys::fuzz_target!(init: { LazyLock::force(&DECODER); }, |bytes: &[u8]| {
    (DECODER.check)(bytes);
});
