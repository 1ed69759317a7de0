//! See `bodies/config.rs`. In the folder of the program: `cargo +nightly fuzz run config`.

#![no_main]

#[path = "../bodies/config.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
