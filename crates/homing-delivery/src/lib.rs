//! The pool that delivers: takes events and due deliveries from the broker, attempts each at its
//! endpoint, and schedules or parks what failed.
//!
//! - [`worker`] takes messages and makes attempts; the call itself is behind its trait `Handler`;
//! - [`endpoint`] is the built-in handler: signed POST requests to the URLs of subscriptions;
//! - [`parking`] lists, replays and drops parked messages;
//! - [`circuits`] shows and sets the circuits of URLs;
//! - [`traces`] sends spans of attempts to a collector.

pub mod endpoint;
pub mod parking;
pub mod settings;
pub mod circuits;
pub mod traces;
pub mod worker;
