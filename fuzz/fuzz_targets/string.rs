#![no_main]

#[path = "../targets/string.rs"]
mod string;

libfuzzer_sys::fuzz_target!(|data: &[u8]| string::run(data));
