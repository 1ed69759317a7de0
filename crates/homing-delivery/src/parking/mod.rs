//! Parked messages, and what an operator can do with them: list, replay, drop.
//!
//! Every action scans the parking queue from its head: messages that match are acted on, the rest
//! stays. A message for several subscriptions counts as a delivery to each of them; those that do
//! not match are parked anew. Until the end of the scan, no other consumer sees a fetched message. So
//! only one scan runs at a time, in all processes: a second one waits for ten seconds, and then fails
//! with that reason.

mod entry;
mod line;
mod matches;
mod selection;

use std::{ops::ControlFlow, panic::resume_unwind, time::Duration};

use futures_util::future::join_all;
use serde::Serialize;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::task::TaskTracker;
use tracing::info;

use homing_broker::{Broker, Route, error::BrokerError, queue_scan::QueueScan};

use self::matches::{Bounds, Matched, Matches, go_on};

pub use self::{
    entry::{Carried, Entry},
    line::export_line,
    selection::Selection,
};

/// A scan waits this long for another one to finish.
const LOCK_WAIT: Duration = Duration::from_secs(10);
const LOCK_POLL: Duration = Duration::from_secs(1);
/// For the actions under way at the end.
const FINISH_DEADLINE: Duration = Duration::from_secs(10);
/// Messages that are acted on at once: as many as one group of publishes takes, or as come in this
/// time where there is a pace.
const MAX_AT_ONCE: usize = 128;
const MAX_BYTES_AT_ONCE: usize = 8 * 1_024 * 1_024;
const PACED_AT_ONCE: Duration = Duration::from_millis(50);
/// Deliveries that were found are acted on after this time, though more may match.
const MAX_TAKING: Duration = Duration::from_secs(1);

/// The parking queue.
#[derive(Clone)]
pub struct Parking {
    broker: Broker,
    /// The actions under way.
    acting: TaskTracker,
    /// The minimum time between two messages that are acted on.
    pace: Option<Duration>,
}

/// The result of a scan without changes.
#[derive(Clone, Debug, Serialize)]
pub struct Listing {
    /// Deliveries that match, up to the requested number, in the order in which they were parked.
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
    /// The number of deliveries to skip.
    pub skip: u32,
    /// The maximum of deliveries to return.
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
    /// Deliveries that matched and were acted on; one message may be several.
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
        Self { broker, acting: TaskTracker::new(), pace: None }
    }

    /// A copy that acts on at most so many messages per second.
    #[must_use]
    pub fn paced(&self, max_per_second: u32) -> Self {
        let pace = Some(Duration::from_secs(1) / max_per_second.max(1));
        Self { pace, ..self.clone() }
    }

    /// Waits for the actions under way, for ten seconds at most.
    pub async fn finish(&self) {
        self.acting.close();
        let _elapsed = timeout(FINISH_DEADLINE, self.acting.wait()).await;
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
    /// results that are a bonus when the queue may be long. At most as many deliveries are listed.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]; it changes nothing.
    pub async fn list_first(
        &self,
        selection: &Selection,
        max_scanned: u32,
    ) -> Result<Listing, BrokerError> {
        let bounds =
            Bounds { scanned: Some(max_scanned), matched: Some(max_scanned), ..Bounds::default() };
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
        let (mut entries, mut skip) = (Vec::new(), usize::try_from(skip).unwrap_or(usize::MAX));
        while let Some(Matched { entries: more, .. }) = matches.next(go_on).await? {
            let skipped = more.len().min(skip);
            skip = skip.saturating_sub(skipped);
            entries.extend(more.into_iter().skip(skipped).map(|entry| bodies.of(entry)));
        }
        let Tally { scanned, total, .. } = matches.end().await;
        entries.sort_by_key(|entry| entry.parked_ms);
        Ok(Listing { entries, scanned, total })
    }

    /// Passes `each` parked delivery that matches, one at a time and with its body, until there are
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
        'scan: while let Some(Matched { entries, .. }) = matches.next(go_on).await? {
            let mut entries = entries.into_iter();
            while let Some(entry) = entries.next() {
                if each(entry).is_continue() {
                    continue;
                }
                if entries.len() > 0 {
                    matches.cut();
                }
                break 'scan;
            }
        }
        Ok(matches.end().await)
    }

    /// Does `action` with at most `limit` deliveries that match, many at once; calls `on_progress`
    /// after every message scanned. Scans at most as many messages as are parked at the start, so
    /// that replayed messages that return meanwhile are not taken twice.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]: actions taken until then stay done, the rest is still parked.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: what is being acted on when it is dropped is finished by a task of its own.
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
        let mut tally = matches.tally();
        let mut is_stopped = false;
        while !is_stopped {
            let acted = tally.matched;
            let mut progress = |tally| {
                let progress = on_progress(Tally { matched: acted, ..tally });
                is_stopped |= progress.is_break();
                progress
            };
            let taken = self.take(&mut matches, pace.as_mut(), &mut progress).await?;
            if taken.is_empty() || is_stopped {
                break;
            }
            let (done, ended);
            (matches, done, ended) = self.act_on_all(action, matches, taken).await;
            tally = Tally { matched: acted.saturating_add(done), ..matches.tally() };
            is_stopped = on_progress(tally).is_break();
            ended?;
        }
        let tally = Tally { matched: tally.matched, ..matches.end().await };
        info!(?action, matched = tally.matched, scanned = tally.scanned, "parking.scanned");
        Ok(tally)
    }

    /// Takes the messages that are acted on at once; empty at a bound.
    async fn take(
        &self,
        matches: &mut Matches,
        mut pace: Option<&mut Interval>,
        mut on_progress: impl FnMut(Tally) -> ControlFlow<()> + Send,
    ) -> Result<Vec<Matched>, BrokerError> {
        let at_pace = self.pace.map(|pace| PACED_AT_ONCE.as_nanos() / pace.as_nanos().max(1));
        let most = at_pace.map_or(MAX_AT_ONCE, |most| usize::try_from(most).unwrap_or(MAX_AT_ONCE));
        let (mut taken, mut bytes, began) = (Vec::new(), 0_usize, Instant::now());
        while taken.len() < most.clamp(1, MAX_AT_ONCE) && bytes < MAX_BYTES_AT_ONCE {
            let has_some = !taken.is_empty();
            let progress = |tally| {
                on_progress(tally)?;
                let is_late = has_some && began.elapsed() >= MAX_TAKING;
                if is_late { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            let Some(found) = matches.next(progress).await? else { break };
            if let Some(pace) = &mut pace {
                pace.tick().await;
            }
            bytes = bytes.saturating_add(found.body_bytes());
            taken.push(found);
        }
        Ok(taken)
    }

    /// Acts on the deliveries that match, in a task of its own, which ends the scan if this is
    /// dropped meanwhile; returns how many are done.
    async fn act_on_all(
        &self,
        action: Action,
        matches: Matches,
        taken: Vec<Matched>,
    ) -> (Matches, u32, Result<(), BrokerError>) {
        let parking = self.clone();
        let acting = self.acting.spawn(async move {
            let acting = taken.iter().map(|one| parking.act_on(action, matches.scan(), one));
            let results = join_all(acting).await;
            let done = taken.iter().zip(&results).filter(|(_, result)| result.is_ok());
            let done = done.map(|(matched, _)| matched.count()).sum();
            (matches, done, results.into_iter().collect())
        });
        // It is never aborted.
        acting.await.unwrap_or_else(|panicked| resume_unwind(panicked.into_panic()))
    }

    /// Acts on the deliveries of one message that match. The others are parked anew last: if that
    /// fails, what was asked for is repeated, and nothing else.
    async fn act_on(
        &self,
        action: Action,
        scan: &QueueScan,
        matched: &Matched,
    ) -> Result<(), BrokerError> {
        if action == Action::Count {
            return Ok(());
        }
        if action == Action::Replay {
            let replayed = matched.replayed();
            let publishes = replayed.iter().map(|out| self.broker.publish(out, Route::Retry));
            join_all(publishes).await.into_iter().collect::<Result<(), _>>()?;
        }
        let left = matched.fetched.parked_without(&matched.subscriptions());
        if let Some(left) = &left {
            self.broker.publish(left, Route::Parked).await?;
        }
        scan.remove(&matched.fetched, left.is_some()).await
    }

    /// Starts a scan for messages that match once no other one is running; waits a while for that.
    async fn matches(&self, selection: &Selection, bounds: Bounds) -> Result<Matches, BrokerError> {
        let began = Instant::now();
        let lock = loop {
            match self.broker.scan_lock().await? {
                Some(lock) => break lock,
                None if began.elapsed() >= LOCK_WAIT => return Err(BrokerError::Busy),
                None => sleep(LOCK_POLL).await,
            }
        };
        let scan = self.broker.scan(&self.broker.topology().names().parked()).await?;
        Ok(Matches::new(scan.holding(lock), selection.clone(), bounds))
    }
}

/// Scanning past messages takes time that is not caught up on: the pace is never exceeded.
fn at_pace(between: Duration) -> Interval {
    let mut pace = interval(between);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pace
}
