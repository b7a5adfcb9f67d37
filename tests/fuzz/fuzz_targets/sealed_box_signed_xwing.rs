#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    (sealmoot_decoders::named("sealed_box_signed_xwing").check)(bytes);
});
