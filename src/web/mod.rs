//! The parts that API and dashboard share: the server for both, the state that they answer from,
//! and the limits of who may ask how much at a time.
//!
//! Promises: every wait for a client has a deadline; connections, requests, bodies and answers are
//! bounded in number and memory; a panic is an answer.
//!
//! The path of a request: [`connections`] accepts the connection, [`capacity`] bounds their number,
//! and [`exchange`] tracks whose turn it is; then API or dashboard answer it from one [`App`]:
//! [`auth`] knows the tokens, and [`acting`] who makes a change ([`guesses`] counts wrong ones, [`local`] recognises this machine,
//! `sessions` remembers logins), [`uploads`] reads bodies, [`parameters`] queries and forms,
//! [`permits`] bounds the number of requests, [`idempotency`] recognises repetitions, and `jobs`
//! act on many parked messages. Errors of the API and of the server are [`problem`] documents.

pub(crate) mod acting;
mod app;
pub(crate) mod auth;
mod connections;
mod exchange;
mod guesses;
pub(crate) mod idempotency;
#[cfg(feature = "dashboard")]
pub(crate) mod jobs;
pub(crate) mod local;
pub(crate) mod parameters;
pub(crate) mod permits;
mod capacity;
pub(crate) mod problem;
#[cfg(feature = "dashboard")]
pub(crate) mod sessions;
pub(crate) mod uploads;

use axum::{Router, middleware::from_fn};

pub use self::{
    app::{App, AppState, Process},
    connections::serve,
};

/// `router` with what all answers have in common: a panic becomes an answer, and headers keep
/// browsers from guessing the content type and, by default, from storing.
pub fn finished(router: Router) -> Router {
    router.layer(from_fn(connections::restrict)).layer(from_fn(problem::answer))
}
