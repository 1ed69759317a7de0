//! The attempt log: a record of every attempt, and of every time that a delivery was deferred or parked
//! without one, written to the store beside the deliveries.
//!
//! The [`Sender`] puts records into a bounded channel, the [`Writer`] takes batches from its other
//! end. No delivery waits for either.

mod sender;
mod writer;

pub(super) use self::{
    sender::Sender,
    writer::{Writer, open},
};
