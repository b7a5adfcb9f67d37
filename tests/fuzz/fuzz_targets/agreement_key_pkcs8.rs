#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    (sealmoot_decoders::named("agreement_key_pkcs8").check)(bytes);
});
