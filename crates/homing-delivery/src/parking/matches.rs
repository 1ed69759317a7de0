//! A scan for what matches, from one message to the next.

use std::{ops::ControlFlow, time::Duration};

use tokio::time::Instant;
use tracing::info;

use super::{Entry, Selection, Tally};
use homing_broker::{
    Outgoing, Recipients,
    error::BrokerError,
    queue_scan::{Fetched, QueueScan},
};
use homing_domain::{id::SubscriptionId, report::Chain};

/// The end of a scan, whichever bound is reached first; none: the end of the queue.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bounds {
    pub(super) matched: Option<u32>,
    pub(super) scanned: Option<u32>,
    pub(super) within: Option<Duration>,
}

/// A scan of the parking queue, from one message that matches to the next.
pub(super) struct Matches {
    scan: QueueScan,
    selection: Selection,
    bounds: Bounds,
    /// The progress; `matched` counts the deliveries that [`next`](Self::next) has returned.
    tally: Tally,
    began: Instant,
}

/// A message with deliveries that match.
pub(super) struct Matched {
    pub(super) fetched: Fetched,
    /// Those that match; not empty.
    pub(super) entries: Vec<Entry>,
}

impl Matched {
    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.entries.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn body_bytes(&self) -> usize {
        self.entries.first().map_or(0, |entry| entry.body_bytes)
    }

    /// The subscriptions of the deliveries that match; empty for an event.
    pub(super) fn subscriptions(&self) -> Vec<SubscriptionId> {
        self.entries.iter().filter_map(|entry| entry.subscription_id).collect()
    }

    /// The messages to replay, one for each delivery, so that workers of every version read them.
    /// Deliveries and events alike go through the retry queue: only that queue keeps the count of
    /// replays.
    pub(super) fn replayed(&self) -> Vec<Outgoing> {
        let message = match &self.fetched.content {
            Ok(message) => message,
            Err(unreadable) => return vec![unreadable.replayed()],
        };
        let to = |recipients| message.to(recipients, message.progress.replayed()).outgoing();
        let subscriptions = self.entries.iter().map(|entry| entry.subscription_id);
        subscriptions.map(|subscription| to(Recipients::named(subscription))).collect()
    }
}

impl Matches {
    pub(super) fn new(scan: QueueScan, selection: Selection, bounds: Bounds) -> Self {
        let tally = Tally { total: scan.left(), ..Tally::default() };
        Self { scan, selection, bounds, tally, began: Instant::now() }
    }

    pub(super) fn scan(&self) -> &QueueScan {
        &self.scan
    }

    pub(super) fn tally(&self) -> Tally {
        self.tally
    }

    /// The next message that matches; `None` at a bound, or where `on_progress` breaks, which is
    /// called after every message that does not match.
    pub(super) async fn next(
        &mut self,
        mut on_progress: impl FnMut(Tally) -> ControlFlow<()> + Send,
    ) -> Result<Option<Matched>, BrokerError> {
        while !self.is_at_bound()
            && let Some(fetched) = self.scan.next().await?
        {
            self.tally.scanned = self.tally.scanned.saturating_add(1);
            let mut entries = Entry::all_of(&fetched);
            entries.retain(|entry| self.selection.matches(entry));
            if let Some(most) = self.bounds.matched {
                let room = most.saturating_sub(self.tally.matched);
                let room = usize::try_from(room).unwrap_or(usize::MAX);
                if entries.len() > room {
                    entries.truncate(room);
                    self.cut();
                }
            }
            if !entries.is_empty() {
                let matched = Matched { fetched, entries };
                self.tally.matched = self.tally.matched.saturating_add(matched.count());
                return Ok(Some(matched));
            }
            if on_progress(self.tally).is_break() {
                break;
            }
        }
        Ok(None)
    }

    /// Notes that deliveries of the latest message are left out: the scan is not complete.
    pub(super) fn cut(&mut self) {
        self.tally.scanned = self.tally.scanned.saturating_sub(1);
    }

    fn is_at_bound(&self) -> bool {
        let Bounds { matched, scanned, within } = self.bounds;
        matched.is_some_and(|most| self.tally.matched >= most)
            || scanned.is_some_and(|most| self.tally.scanned >= most)
            || within.is_some_and(|within| self.began.elapsed() >= within)
    }

    /// Ends the scan. If this fails, the channel ends with the connection; the effect is the same.
    pub(super) async fn end(self) -> Tally {
        if let Err(error) = self.scan.finish().await {
            info!(error = %Chain(&error), "parking.scan_end_failed");
        }
        self.tally
    }
}

/// Scans to a bound.
pub(super) fn go_on(_: Tally) -> ControlFlow<()> {
    ControlFlow::Continue(())
}
