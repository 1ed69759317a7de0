//! The corpus of the fuzz targets (`fuzz/corpus`), each entry as it is and changed in many ways.
//!
//! Deterministic, and on every toolchain; `cargo +nightly fuzz run NAME` goes on from here.

#![expect(
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking, and prints what it did"
)]

use std::{fs, path::Path};

#[path = "../fuzz/bodies/mod.rs"]
mod bodies;

/// Changes of each entry.
const CHANGES: u64 = 300;

fn entries(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("it can be listed").path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{target} has no corpus");
    files.iter().map(|file| fs::read(file).expect("it can be read")).collect()
}

/// Some bytes changed, taken out, put in, or taken from another entry.
fn change(entry: &[u8], others: &[Vec<u8>], random: &mut fastrand::Rng) -> Vec<u8> {
    let mut changed = entry.to_vec();
    for _ in 0..random.usize(1..=4) {
        let at = random.usize(0..=changed.len());
        match random.u8(0..4) {
            0 => changed.insert(at, random.u8(..)),
            1 if at < changed.len() => changed[at] ^= 1 << random.u8(0..8),
            2 => {
                let end = changed.len().min(at + random.usize(0..8));
                changed.drain(at..end);
            }
            _ => {
                let other = &others[random.usize(0..others.len())];
                let from = random.usize(0..=other.len());
                let to = other.len().min(from + random.usize(0..32));
                changed.splice(at..at, other[from..to].iter().copied());
            }
        }
    }
    changed
}

#[test]
fn no_target_fails_on_its_corpus_or_on_what_is_like_it() {
    for (target, run) in bodies::TARGETS {
        let entries = entries(target);
        for (number, entry) in entries.iter().enumerate() {
            run(entry);
            let seed = u64::try_from(number).expect("not that many");
            let mut random = fastrand::Rng::with_seed(seed);
            for _ in 0..CHANGES {
                run(&change(entry, &entries, &mut random));
            }
        }
        println!("{target}: {} entries, each changed {CHANGES} times", entries.len());
    }
}
