//! See `bodies/json.rs`. In the folder of the program: `cargo +nightly fuzz run json`.

#![no_main]

#[path = "../bodies/json.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
