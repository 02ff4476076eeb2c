#![no_main]

#[path = "../targets/authority.rs"]
mod authority;

libfuzzer_sys::fuzz_target!(|data: &[u8]| authority::run(data));
