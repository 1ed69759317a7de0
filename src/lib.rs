//! homing: durable webhook delivery on RabbitMQ.
//!
//! The map: a module uses only modules on the lines above its own, never its neighbours on the
//! same line (`tests/tidy.rs` checks that). Below all of them are the crates of `crates/`.

pub mod usage;

pub mod config;

pub mod telemetry;

pub mod registry;
pub mod test_event;

pub mod history;

pub mod overview;
pub mod verification;

pub mod services;

pub mod web;

pub mod api;
#[cfg(feature = "dashboard")]
pub mod dashboard;

pub mod process;

pub mod cli;
