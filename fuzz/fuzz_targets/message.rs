//! See `bodies/message.rs`. In the folder of the program: `cargo +nightly fuzz run message`.

#![no_main]

#[path = "../bodies/message.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
