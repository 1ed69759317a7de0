//! What every request passes before a resource answers it, and how its parts are read.
//!
//! [`auth`] authenticates, [`limits`] bounds time and number, [`extract`] parses ([`distinct`]);
//! [`unknown`] answers where there is no resource.

pub(super) mod auth;
mod distinct;
pub(super) mod extract;
pub(super) mod limits;
pub(super) mod unknown;
