#![no_main]

#[path = "../targets/identity.rs"]
mod identity;
#[path = "../targets/lines.rs"]
mod lines;

libfuzzer_sys::fuzz_target!(|data: &[u8]| identity::run(data));
