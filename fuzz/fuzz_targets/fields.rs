#![no_main]

#[path = "../targets/fields.rs"]
mod fields;
#[path = "../targets/lines.rs"]
mod lines;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fields::run(data));
