//! The fuzz targets as plain functions of their data: `tests/corpus.rs` runs them over the
//! corpus on every toolchain.

pub(crate) mod config;
pub(crate) mod filter;
pub(crate) mod json;
pub(crate) mod message;
pub(crate) mod retry_after;
pub(crate) mod signature;
pub(crate) mod split;
pub(crate) mod topic;

/// Processes the data of one run.
pub(crate) type Body = fn(&[u8]);

/// The targets by the names of their corpora.
pub(crate) const TARGETS: &[(&str, Body)] = &[
    ("config", config::run),
    ("filter", filter::run),
    ("json", json::run),
    ("message", message::run),
    ("retry_after", retry_after::run),
    ("signature", signature::run),
    ("split", split::run),
    ("topic", topic::run),
];
