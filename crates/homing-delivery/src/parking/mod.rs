//! What was given up, and what a person can do about it: look, send again, drop.
//!
//! Every action is a walk through the parking queue from its head: what matches is acted on, the
//! rest stays. Between its fetching and the end of the walk a message is seen by nobody else, so one
//! goes at a time, in all processes: another one waits for ten seconds, and is then told so.

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

/// For another one to come to its end.
const LOCK_WAIT: Duration = Duration::from_secs(10);
const LOCK_POLL: Duration = Duration::from_secs(1);

/// The parking queue.
#[derive(Clone)]
pub struct Parking {
    broker: Broker,
    /// Between two messages that are acted on.
    pace: Option<Duration>,
}

/// What a look found.
#[derive(Clone, Debug, Serialize)]
pub struct Listing {
    /// Those that match, at most as many as were asked for, in the order in which they were parked.
    pub entries: Vec<Entry>,
    /// How many messages were looked at.
    pub scanned: u32,
    /// How many were in the queue.
    pub total: u32,
}

/// Whether the entries of a [`Listing`] have their bodies, which are up to a megabyte each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bodies {
    /// They have.
    Kept,
    /// They have not.
    Left,
}

impl Bodies {
    fn of(self, entry: Entry) -> Entry {
        match self {
            Self::Kept => entry,
            Self::Left => Entry { body: None, ..entry },
        }
    }
}

/// How far a walk has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = QueueScan)]
pub struct Tally {
    /// Messages looked at.
    pub scanned: u32,
    /// Messages in the queue at the start.
    pub total: u32,
    /// Messages that matched and were acted on.
    pub matched: u32,
}

/// What is done with a message that matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send it again, from attempt 1.
    Replay,
    /// Remove it for ever.
    Drop,
    /// Nothing: only count.
    Count,
}

impl Tally {
    fn has_reached(self, limit: Option<u32>) -> bool {
        limit.is_some_and(|limit| self.matched >= limit)
    }
}

impl Parking {
    /// The parking queue of `broker`.
    #[must_use]
    pub fn new(broker: Broker) -> Self {
        Self { broker, pace: None }
    }

    /// The same, acting on at most so many messages per second.
    #[must_use]
    pub fn paced(&self, max_per_second: u32) -> Self {
        let pace = Some(Duration::from_secs(1) / max_per_second.max(1));
        Self { broker: self.broker.clone(), pace }
    }

    /// At most `limit` parked messages that match, in the order in which they were parked. The
    /// queue keeps its order only roughly, so where there are more, these need not be the oldest.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]; nothing is changed by it.
    pub async fn list(
        &self,
        selection: &Selection,
        limit: u32,
        bodies: Bodies,
    ) -> Result<Listing, BrokerError> {
        let mut entries = Vec::new();
        let visited = self.visit(selection, Some(limit), None, |entry| {
            entries.push(bodies.of(entry));
            ControlFlow::Continue(())
        });
        let Tally { scanned, total, .. } = visited.await?;
        entries.sort_by_key(|entry| entry.parked_ms);
        Ok(Listing { entries, scanned, total })
    }

    /// A page of those that match, in the order in which they were parked: `skip` of them are passed
    /// over, and no message is looked at after `within`, so that `scanned` may be less than `total`.
    /// The queue has no keys to begin behind, so every page is a walk from its head.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]; nothing is changed by it.
    pub async fn page(
        &self,
        selection: &Selection,
        (skip, limit): (u32, u32),
        bodies: Bodies,
        within: Duration,
    ) -> Result<Listing, BrokerError> {
        let mut scan = self.scan().await?;
        let mut listing = Listing { entries: Vec::new(), scanned: 0, total: scan.left() };
        let (mut skipped, limit) = (0, usize::try_from(limit).unwrap_or(usize::MAX));
        let began = Instant::now();
        while began.elapsed() < within
            && listing.entries.len() < limit
            && let Some(fetched) = scan.next().await?
        {
            listing.scanned = listing.scanned.saturating_add(1);
            let entry = Entry::of(&fetched);
            if !selection.matches(&entry) {
                continue;
            }
            if skipped < skip {
                skipped = skipped.saturating_add(1);
            } else {
                listing.entries.push(bodies.of(entry));
            }
        }
        end(scan).await;
        listing.entries.sort_by_key(|entry| entry.parked_ms);
        Ok(listing)
    }

    /// Those of the first `max_scanned` parked messages that match, without their bodies: where
    /// what is looked for is only a help, and the queue may be long.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]; nothing is changed by it.
    pub async fn glance(
        &self,
        selection: &Selection,
        max_scanned: u32,
    ) -> Result<Listing, BrokerError> {
        let mut scan = self.scan().await?;
        let mut listing = Listing { entries: Vec::new(), scanned: 0, total: scan.left() };
        while listing.scanned < max_scanned
            && let Some(fetched) = scan.next().await?
        {
            listing.scanned = listing.scanned.saturating_add(1);
            let entry = Entry::of(&fetched);
            if selection.matches(&entry) {
                listing.entries.push(Entry { body: None, ..entry });
            }
        }
        end(scan).await;
        Ok(listing)
    }

    /// Shows `each` parked message that matches to its visitor, one at a time and with its body,
    /// until there are no more, `limit` were shown, the time `within` which messages are looked at is
    /// over, or the visitor has seen enough. Nothing is kept here, so any number can be visited.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]; nothing is changed by it, and what was shown was shown.
    pub async fn visit(
        &self,
        selection: &Selection,
        limit: Option<u32>,
        within: Option<Duration>,
        mut each: impl FnMut(Entry) -> ControlFlow<()>,
    ) -> Result<Tally, BrokerError> {
        let mut scan = self.scan().await?;
        let mut tally = Tally { total: scan.left(), ..Tally::default() };
        let began = Instant::now();
        while within.is_none_or(|within| began.elapsed() < within)
            && !tally.has_reached(limit)
            && let Some(fetched) = scan.next().await?
        {
            tally.scanned = tally.scanned.saturating_add(1);
            let entry = Entry::of(&fetched);
            if selection.matches(&entry) {
                tally.matched = tally.matched.saturating_add(1);
                if each(entry).is_break() {
                    break;
                }
            }
        }
        end(scan).await;
        Ok(tally)
    }

    /// Does `action` with what matches, at most `limit` messages of it; `told` hears of every
    /// message looked at. At most the messages that are parked now are looked at, so that what
    /// comes back while walking is not taken twice.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]: what was acted on until then stays done, the rest is parked still.
    ///
    /// # Cancel safety
    ///
    /// Dropped between publishing and removing, one message is both sent again and parked still.
    pub async fn act(
        &self,
        action: Action,
        selection: &Selection,
        limit: Option<u32>,
        mut told: impl FnMut(Tally) + Send,
    ) -> Result<Tally, BrokerError> {
        let goes_on = |tally| {
            told(tally);
            ControlFlow::Continue(())
        };
        self.act_while(action, selection, limit, goes_on).await
    }

    /// The same until `told` breaks it off; then nothing is left half done.
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
        mut told: impl FnMut(Tally) -> ControlFlow<()> + Send,
    ) -> Result<Tally, BrokerError> {
        let mut scan = self.scan().await?;
        let mut tally = Tally { total: scan.left(), ..Tally::default() };
        let mut pace = self.pace.map(at_pace);
        while !tally.has_reached(limit)
            && let Some(fetched) = scan.next().await?
        {
            tally.scanned = tally.scanned.saturating_add(1);
            if selection.matches(&Entry::of(&fetched)) {
                if let Some(pace) = &mut pace {
                    pace.tick().await;
                }
                self.act_on(action, &scan, &fetched).await?;
                tally.matched = tally.matched.saturating_add(1);
            }
            if told(tally).is_break() {
                break;
            }
        }
        end(scan).await;
        info!(?action, matched = tally.matched, scanned = tally.scanned, "parking.walked");
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
                self.broker.publish(&again(fetched), Route::Retry).await?;
                scan.remove(fetched).await
            }
        }
    }

    /// Starts a queue scan under its lock, for which it waits for a while.
    async fn scan(&self) -> Result<QueueScan, BrokerError> {
        let began = Instant::now();
        let lock = loop {
            match self.broker.scan_lock().await? {
                Some(lock) => break lock,
                None if began.elapsed() >= LOCK_WAIT => return Err(BrokerError::Busy),
                None => sleep(LOCK_POLL).await,
            }
        };
        let scan = self.broker.scan(&self.broker.topology().names().parked()).await?;
        Ok(scan.holding(lock))
    }
}

/// The message as it is sent again. Deliveries and events alike go through the retry queue: only
/// that one keeps the count of replays.
fn again(fetched: &Fetched) -> Outgoing {
    match &fetched.content {
        Ok(message) => message.replayed().outgoing(),
        Err(unreadable) => unreadable.replayed(),
    }
}

/// Messages that are looked at and left cost time that is not made up for: no more than the pace,
/// ever.
fn at_pace(between: Duration) -> Interval {
    let mut pace = interval(between);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pace
}

/// Without a polite end the channel ends with the connection; the effect is the same.
async fn end(scan: QueueScan) {
    if let Err(error) = scan.finish().await {
        info!(error = %Chain(&error), "parking.walk_end_failed");
    }
}
