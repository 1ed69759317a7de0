//! The installation that a command works on: its own store and broker here, or a running homing
//! over its API. Both give the same documents, so that a command writes them in one way.
//!
//! A file for each noun; `reading` has what is only read.

mod endpoints;
mod parked;
mod reading;
mod replays;
mod sources;
mod subscriptions;
mod tokens;

use super::{failure::Failure, globals, remote::Remote};
use crate::services::Services;

pub(super) use self::{endpoints::set, parked::selection_of, subscriptions::NewSubscription};

/// The place where a command's work is done.
#[derive(Clone, Copy)]
pub(super) enum Target<'a> {
    /// In this process, over the store and the broker of the settings.
    Here(&'a Services),
    /// By a running homing, over its API.
    There(&'a Remote),
}

/// The services that a command needs where it does its work here.
#[derive(Clone, Copy)]
pub(super) enum Needs {
    /// All; connecting declares what is missing at the broker.
    Services,
    /// All, and nothing is declared at the broker.
    Passive,
    /// As [`Passive`](Self::Passive), with a store that exists.
    Existing,
}

impl<'a> Target<'a> {
    /// Remembers the queues that announcing a change may create here.
    async fn prepare(services: &Services) -> Result<(), Failure> {
        globals::remember_queues(services).await.map_err(Failure::Store)
    }

    /// The services, if the work is done here.
    pub(super) fn here(self) -> Option<&'a Services> {
        match self {
            Self::Here(services) => Some(services),
            Self::There(_) => None,
        }
    }
}
