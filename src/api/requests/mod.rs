//! The way of every request to the resource that answers it, and the reading of its parts.
//!
//! [`auth`] authenticates, [`limits`] bounds time and number, [`extract`] parses paths and
//! bodies ([`distinct`]), [`query`] parameters;
//! [`unknown`] answers where there is no resource.

pub(super) mod auth;
mod distinct;
pub(super) mod extract;
pub(super) mod limits;
pub(super) mod query;
pub(super) mod unknown;
