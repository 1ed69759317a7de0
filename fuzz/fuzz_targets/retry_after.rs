//! See `bodies/retry_after.rs`. In the folder of the program: `cargo +nightly fuzz run retry_after`.

#![no_main]

#[path = "../bodies/retry_after.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
