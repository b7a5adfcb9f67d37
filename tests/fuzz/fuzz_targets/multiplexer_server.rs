#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    (sealmoot_decoders::named("multiplexer_server").check)(bytes);
});
