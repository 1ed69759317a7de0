//! Parked messages, and what an operator can do with them: list, replay, drop.
//!
//! Every action scans the parking queue from its head: messages that match are acted on, the rest
//! stays. Until the end of the scan, no other consumer sees a fetched message. So only one scan
//! runs at a time, in all processes: a second one waits for ten seconds, and then fails with that
//! reason.

mod entry;
mod line;
mod selection;

use std::{ops::ControlFlow, time::Duration};

use serde::Serialize;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep};
use tracing::info;

use homing_broker::{
    Broker, Outgoing, Route,
    error::BrokerError,
    queue_scan::{Fetched, QueueScan},
};
use homing_domain::report::Chain;

pub use self::{entry::Entry, line::export_line, selection::Selection};

/// A scan waits this long for another one to finish.
const LOCK_WAIT: Duration = Duration::from_secs(10);
const LOCK_POLL: Duration = Duration::from_secs(1);

/// The parking queue.
#[derive(Clone)]
pub struct Parking {
    broker: Broker,
    /// The minimum time between two messages that are acted on.
    pace: Option<Duration>,
}

/// The result of a scan without changes.
#[derive(Clone, Debug, Serialize)]
pub struct Listing {
    /// Messages that match, up to the requested number, in the order in which they were parked.
    pub entries: Vec<Entry>,
    /// The number of messages scanned.
    pub scanned: u32,
    /// The number of messages in the queue.
    pub total: u32,
}

/// Includes or omits the bodies of the entries of a [`Listing`], which are up to a megabyte each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bodies {
    /// Include them.
    Included,
    /// Omit them.
    Omitted,
}

impl Bodies {
    fn of(self, entry: Entry) -> Entry {
        match self {
            Self::Included => entry,
            Self::Omitted => Entry { body: None, ..entry },
        }
    }
}

/// A part of the messages that match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The number of messages to skip.
    pub skip: u32,
    /// The maximum of messages to return.
    pub limit: u32,
}

/// The progress of a scan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = QueueScan)]
pub struct Tally {
    /// Messages scanned so far.
    pub scanned: u32,
    /// Messages in the queue at the start.
    pub total: u32,
    /// Messages that matched and were acted on.
    pub matched: u32,
}

/// The action on a message that matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send it again, from attempt 1.
    Replay,
    /// Remove it for ever.
    Drop,
    /// Only count it.
    Count,
}

impl Parking {
    /// The parking queue of `broker`.
    #[must_use]
    pub fn new(broker: Broker) -> Self {
        Self { broker, pace: None }
    }

    /// A copy that acts on at most so many messages per second.
    #[must_use]
    pub fn paced(&self, max_per_second: u32) -> Self {
        let pace = Some(Duration::from_secs(1) / max_per_second.max(1));
        Self { broker: self.broker.clone(), pace }
    }

    /// Lists up to `limit` parked messages that match, in the order in which they were parked. The
    /// queue keeps its order only roughly, so if there are more, these need not be the oldest.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]; it changes nothing.
    pub async fn list(
        &self,
        selection: &Selection,
        limit: u32,
        bodies: Bodies,
    ) -> Result<Listing, BrokerError> {
        let bounds = Bounds { matched: Some(limit), ..Bounds::default() };
        self.listing(selection, bounds, 0, bodies).await
    }

    /// Lists a page of the messages that match, in the order in which they were parked: skips the
    /// first `skip`, and stops scanning after `within`, so that `scanned` may be less than `total`.
    /// The queue has no keys to start after, so every page scans from its head.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]; it changes nothing.
    pub async fn page(
        &self,
        selection: &Selection,
        slice: Slice,
        bodies: Bodies,
        within: Duration,
    ) -> Result<Listing, BrokerError> {
        let matched = Some(slice.skip.saturating_add(slice.limit));
        let bounds = Bounds { matched, within: Some(within), ..Bounds::default() };
        self.listing(selection, bounds, slice.skip, bodies).await
    }

    /// Lists the messages that match among the first `max_scanned`, without their bodies: for
    /// results that are a bonus when the queue may be long.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]; it changes nothing.
    pub async fn list_first(
        &self,
        selection: &Selection,
        max_scanned: u32,
    ) -> Result<Listing, BrokerError> {
        let bounds = Bounds { scanned: Some(max_scanned), ..Bounds::default() };
        self.listing(selection, bounds, 0, Bodies::Omitted).await
    }

    async fn listing(
        &self,
        selection: &Selection,
        bounds: Bounds,
        skip: u32,
        bodies: Bodies,
    ) -> Result<Listing, BrokerError> {
        let mut matches = self.matches(selection, bounds).await?;
        let mut entries = Vec::new();
        while let Some((_, entry)) = matches.next(go_on).await? {
            if matches.tally.matched > skip {
                entries.push(bodies.of(entry));
            }
        }
        let Tally { scanned, total, .. } = matches.end().await;
        entries.sort_by_key(|entry| entry.parked_ms);
        Ok(Listing { entries, scanned, total })
    }

    /// Passes `each` parked message that matches, one at a time and with its body, until there are
    /// no more, `limit` were passed, the time `within` is over, or `each` breaks. Keeps nothing in
    /// memory, so the number is unbounded.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]; it changes nothing. Messages may have been passed to `each` before.
    pub async fn scan_each(
        &self,
        selection: &Selection,
        limit: Option<u32>,
        within: Option<Duration>,
        mut each: impl FnMut(Entry) -> ControlFlow<()>,
    ) -> Result<Tally, BrokerError> {
        let bounds = Bounds { matched: limit, within, ..Bounds::default() };
        let mut matches = self.matches(selection, bounds).await?;
        while let Some((_, entry)) = matches.next(go_on).await? {
            if each(entry).is_break() {
                break;
            }
        }
        Ok(matches.end().await)
    }

    /// Does `action` with at most `limit` messages that match; calls `on_progress` after every
    /// message scanned. Scans at most as many messages as are parked at the start, so that replayed
    /// messages that return meanwhile are not taken twice.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]: actions taken until then stay done, the rest is still parked.
    ///
    /// # Cancel safety
    ///
    /// Dropped between publishing and removing, one message is both replayed and still parked.
    pub async fn act(
        &self,
        action: Action,
        selection: &Selection,
        limit: Option<u32>,
        mut on_progress: impl FnMut(Tally) + Send,
    ) -> Result<Tally, BrokerError> {
        let continuing = |tally| {
            on_progress(tally);
            ControlFlow::Continue(())
        };
        self.act_while(action, selection, limit, continuing).await
    }

    /// As [`act`](Self::act), until `on_progress` stops it; no message is left half done.
    ///
    /// # Errors
    ///
    /// As [`act`](Self::act).
    ///
    /// # Cancel safety
    ///
    /// As [`act`](Self::act).
    pub async fn act_while(
        &self,
        action: Action,
        selection: &Selection,
        limit: Option<u32>,
        mut on_progress: impl FnMut(Tally) -> ControlFlow<()> + Send,
    ) -> Result<Tally, BrokerError> {
        let bounds = Bounds { matched: limit, ..Bounds::default() };
        let mut matches = self.matches(selection, bounds).await?;
        let mut pace = self.pace.map(at_pace);
        while let Some((fetched, _)) = matches.next(&mut on_progress).await? {
            if let Some(pace) = &mut pace {
                pace.tick().await;
            }
            self.act_on(action, &matches.scan, &fetched).await?;
            if on_progress(matches.tally).is_break() {
                break;
            }
        }
        let tally = matches.end().await;
        info!(?action, matched = tally.matched, scanned = tally.scanned, "parking.scanned");
        Ok(tally)
    }

    async fn act_on(
        &self,
        action: Action,
        scan: &QueueScan,
        fetched: &Fetched,
    ) -> Result<(), BrokerError> {
        match action {
            Action::Count => Ok(()),
            Action::Drop => scan.remove(fetched).await,
            Action::Replay => {
                self.broker.publish(&replayed(fetched), Route::Retry).await?;
                scan.remove(fetched).await
            }
        }
    }

    /// Starts a scan for messages that match once no other one is running; waits a while for that.
    async fn matches<'a>(
        &self,
        selection: &'a Selection,
        bounds: Bounds,
    ) -> Result<Matches<'a>, BrokerError> {
        let began = Instant::now();
        let lock = loop {
            match self.broker.scan_lock().await? {
                Some(lock) => break lock,
                None if began.elapsed() >= LOCK_WAIT => return Err(BrokerError::Busy),
                None => sleep(LOCK_POLL).await,
            }
        };
        let scan = self.broker.scan(&self.broker.topology().names().parked()).await?;
        let scan = scan.holding(lock);
        let tally = Tally { total: scan.left(), ..Tally::default() };
        Ok(Matches { scan, selection, bounds, tally, began: Instant::now() })
    }
}

/// The end of a scan, whichever bound is reached first; none: the end of the queue.
#[derive(Clone, Copy, Debug, Default)]
struct Bounds {
    matched: Option<u32>,
    scanned: Option<u32>,
    within: Option<Duration>,
}

/// A scan of the parking queue, from one message that matches to the next.
struct Matches<'a> {
    scan: QueueScan,
    selection: &'a Selection,
    bounds: Bounds,
    /// The progress; `matched` counts the messages that [`next`](Self::next) has returned.
    tally: Tally,
    began: Instant,
}

impl Matches<'_> {
    /// The next message that matches; `None` at a bound, or where `on_progress` breaks, which is
    /// called after every message that does not match.
    async fn next(
        &mut self,
        mut on_progress: impl FnMut(Tally) -> ControlFlow<()> + Send,
    ) -> Result<Option<(Fetched, Entry)>, BrokerError> {
        while !self.is_at_bound()
            && let Some(fetched) = self.scan.next().await?
        {
            self.tally.scanned = self.tally.scanned.saturating_add(1);
            let entry = Entry::of(&fetched);
            if self.selection.matches(&entry) {
                self.tally.matched = self.tally.matched.saturating_add(1);
                return Ok(Some((fetched, entry)));
            }
            if on_progress(self.tally).is_break() {
                break;
            }
        }
        Ok(None)
    }

    fn is_at_bound(&self) -> bool {
        let Bounds { matched, scanned, within } = self.bounds;
        matched.is_some_and(|most| self.tally.matched >= most)
            || scanned.is_some_and(|most| self.tally.scanned >= most)
            || within.is_some_and(|within| self.began.elapsed() >= within)
    }

    /// Ends the scan. If this fails, the channel ends with the connection; the effect is the same.
    async fn end(self) -> Tally {
        if let Err(error) = self.scan.finish().await {
            info!(error = %Chain(&error), "parking.scan_end_failed");
        }
        self.tally
    }
}

/// Scans to a bound.
fn go_on(_: Tally) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// The message to replay. Deliveries and events alike go through the retry queue: only that queue
/// keeps the count of replays.
fn replayed(fetched: &Fetched) -> Outgoing {
    match &fetched.content {
        Ok(message) => message.replayed().outgoing(),
        Err(unreadable) => unreadable.replayed(),
    }
}

/// Scanning past messages takes time that is not caught up on: the pace is never exceeded.
fn at_pace(between: Duration) -> Interval {
    let mut pace = interval(between);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pace
}
