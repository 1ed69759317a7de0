//! See `bodies/topic.rs`. In the folder of the program: `cargo +nightly fuzz run topic`.

#![no_main]

#[path = "../bodies/topic.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
