#![no_main]

#[path = "../targets/key.rs"]
mod key;

libfuzzer_sys::fuzz_target!(|data: &[u8]| key::run(data));
