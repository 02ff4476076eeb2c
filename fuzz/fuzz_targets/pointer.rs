#![no_main]

#[path = "../targets/pointer.rs"]
mod pointer;

libfuzzer_sys::fuzz_target!(|data: &[u8]| pointer::run(data));
