//! The pool that delivers: takes events and due deliveries from the broker, attempts each at its
//! endpoint, and hands on what failed.
//!
//! - [`worker`] takes messages and makes attempts; the call is behind its trait `Handler`;
//! - [`endpoint`] is the built-in handler: signed POST requests to the URLs of subscriptions;
//! - [`parking`] is what was given up, for operators;
//! - [`circuits`] is the circuits of URLs, as operators see and set them;
//! - [`traces`] sends spans of attempts to a collector.

pub mod endpoint;
pub mod parking;
pub mod settings;
pub mod circuits;
pub mod traces;
pub mod worker;
