//! The history: figures by the hour, and the topics that were seen, written to the store in the
//! background.
//!
//! The [`Collector`] adds up in memory what happens; the [`Writer`] takes the sums every few
//! seconds. No delivery waits for either. What a process has not written when it is killed is
//! missing from the history.

mod collector;
mod writer;

pub(super) use self::{
    collector::{Collector, Ended},
    writer::{Writer, open},
};
