#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    (sealmoot_decoders::named("name_table").check)(bytes);
});
