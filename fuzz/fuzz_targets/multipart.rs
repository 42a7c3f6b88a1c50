//! See `qingniao_fuzz::multipart`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| qingniao_fuzz::multipart(bytes));
