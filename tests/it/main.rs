//! The promises of docs/guarantees.md against a real RabbitMQ and a real PostgreSQL, a file for each.
//!
//! `make test` starts both for them and names them in `HOMING_TEST_AMQP_URL` and
//! `HOMING_TEST_POSTGRES_URL`. Every test has queues of its own by `broker.prefix`, and a database
//! of its own, and deletes them at the end, also when it fails.

#![expect(
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests fail by panicking, and print the account of what they did"
)]

mod support;

mod addresses;
mod any_job;
mod api;
mod archive;
mod attempts;
mod audits;
mod bad_input;
mod broker_url;
mod checkouts;
mod circuits;
mod cli;
mod client_certificates;
mod cloud_events;
mod dashboard;
mod deferrals;
mod delivers;
mod delivery_control;
mod documents;
mod drains;
mod egress;
mod endpoints;
mod explains;
mod fan_out;
mod faults;
mod feature_flags;
mod filters;
mod foreign_clients;
mod groups;
mod held;
mod history;
mod isolation;
mod keeps;
mod ledgers;
mod livestream;
mod metrics;
mod oauth2;
mod overview;
mod own_limits;
mod parks;
mod pauses;
mod payloads;
mod permissions;
mod policies;
mod pools;
mod publishers;
mod refusals;
mod replays;
mod retries;
mod samples;
mod secrets;
mod servers;
mod shards;
mod shared_plans;
mod signatures;
mod slow;
mod states;
mod store;
mod tls;
mod topology;
mod traces;
mod unreadable;
mod upgrades;
mod verification;
