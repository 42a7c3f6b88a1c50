//! See `qingniao_fuzz::payload`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| qingniao_fuzz::payload(bytes));
