//! homing: durable webhook delivery on RabbitMQ.
//!
//! The map; a module uses only modules on the lines above its own, never its neighbours on the
//! same line (`tests/tidy.rs` holds that).

pub mod domain;

pub mod clock;
pub mod files;
pub mod report;
pub mod usage;

pub mod config;

pub mod certificates;
pub mod telemetry;

pub mod broker;
pub mod endpoint;
pub mod store;

pub mod parking;
pub mod registry;
pub mod sample;
pub mod simulator;
pub mod traces;

pub mod switchboard;

pub mod history;
pub mod source;
pub mod worker;

pub mod overview;

pub mod api;

pub mod dashboard;

pub mod service;

pub mod cli;
