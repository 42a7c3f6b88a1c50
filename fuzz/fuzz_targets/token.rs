//! See `qingniao_fuzz::token`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| qingniao_fuzz::token(bytes));
