#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    (sealmoot_decoders::named("box_public_key_x25519").check)(bytes);
});
