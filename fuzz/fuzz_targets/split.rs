//! See `bodies/split.rs`. In the folder of the program: `cargo +nightly fuzz run split`.

#![no_main]

#[path = "../bodies/split.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
