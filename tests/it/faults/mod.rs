//! Nothing is lost, whatever dies: a fault for each file, under load, and the account at the end.
//!
//! Each test prints its account; docs/RELIABILITY.md has a table of them from one run.

mod bindings;
mod broker_alarm;
mod broker_killed;
mod channel;
mod chaos;
mod clock;
mod cluster;
mod connection;
mod endpoint;
mod frames;
mod held;
mod held_queue;
mod keeper;
mod names;
mod operator;
mod poison;
mod policies;
mod redeliveries;
mod scaling;
mod silent_leader;
mod shards;
mod size;
mod store;
mod worker_killed;

pub(crate) use self::clock::library as clock_library;
