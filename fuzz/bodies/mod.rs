//! What the fuzz targets do with their data, as plain functions: `tests/corpus.rs` runs them over the
//! corpus on every toolchain.

pub mod config;
pub mod filter;
pub mod message;
pub mod retry_after;
pub mod signature;
pub mod topic;

/// A target by the name of its corpus.
pub const TARGETS: &[(&str, fn(&[u8]))] = &[
    ("config", config::run),
    ("filter", filter::run),
    ("message", message::run),
    ("retry_after", retry_after::run),
    ("signature", signature::run),
    ("topic", topic::run),
];
