//! The attempt log: a record of every attempt, and of every delivery deferred or parked without
//! one, written to the store in the background.
//!
//! With them go payloads, as far as these fit into memory.
//!
//! The [`Sender`] puts records into a bounded channel, the [`Writer`] takes batches from its other
//! end. No delivery waits for either.

mod sender;
#[cfg(test)]
mod tests;
mod writer;

pub(super) use self::{
    sender::Sender,
    writer::{Writer, open},
};
