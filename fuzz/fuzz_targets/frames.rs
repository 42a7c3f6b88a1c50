//! See `qingniao_fuzz::frames`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| qingniao_fuzz::frames(bytes));
