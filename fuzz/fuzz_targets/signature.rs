//! See `bodies/signature.rs`. In the folder of the program: `cargo +nightly fuzz run signature`.

#![no_main]

#[path = "../bodies/signature.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
