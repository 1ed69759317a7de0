//! Parked deliveries, and what an operator can do with them: find, replay, drop.
//!
//! They are in the store, where the [`keeper`] of a worker puts them. Every list first waits until
//! what is in the queue has arrived, for two seconds at most, an action or an export for a minute, and
//! reports what still waits, or that the broker does not answer. Any number of people act at a time:
//! what is acted on is claimed for as long as that takes, so that two replays of one delivery send it
//! once. A replay publishes, waits for the confirm, and removes the row only then: where it dies in
//! between, the claim ends after two minutes, and the next replay sends a copy too many. Until then,
//! actions report how many they left out because they are claimed.

mod act;
mod arriving;
mod entry;
mod keeper;
mod line;
mod listing;
mod present;
mod recorded;
mod refused;

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    ops::ControlFlow,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use homing_broker::{Broker, error::BrokerError, fetched::Fetched};
use homing_domain::id::SubscriptionId;
use homing_store::{
    MAX_PARKED_AT_ONCE, ParkedBounds, ParkedDelivery, ParkedId, ParkedOrder, ParkedPage, Store,
    StoreError,
};

use self::arriving::{Look, Patience};
pub use self::{
    arriving::{Arriving, Claimed},
    entry::{Carried, Entry},
    line::export_line,
    listing::{Begin, Bodies, Listing, MAX_COUNTED},
};
pub use homing_store::{HeldFor, SearchText, Selection};

/// For the actions under way at the end.
const FINISH_DEADLINE: Duration = Duration::from_secs(10);
/// Subscriptions whose deliveries are counted one after the other at most: a look into an index each.
const MAX_COUNTED_ONE_BY_ONE: usize = 1_000;
/// Deliveries whose messages are read at once, and bytes of their bodies, except a single one.
const BODIES_AT_ONCE: u32 = 50;
const MAX_BYTES_AT_ONCE: u64 = 8 * 1_024 * 1_024;

/// The parked deliveries.
#[derive(Clone)]
pub struct Parking {
    broker: Broker,
    store: Arc<dyn Store>,
    bounds: ParkedBounds,
    /// The actions under way.
    acting: TaskTracker,
    /// Deliveries that were sent and could not be removed from the store yet.
    sent: Arc<Mutex<BTreeSet<ParkedId>>>,
    /// The last look into the queue, which all lists and actions of this process share.
    last_look: Arc<tokio::sync::Mutex<Option<Look>>>,
    /// The minimum time between two deliveries that are acted on.
    pace: Option<Duration>,
}

/// The reason why an action failed.
#[derive(Debug, thiserror::Error)]
pub enum ParkingError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The broker failed.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// A message cannot be read; others can.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// Deliveries were sent and stay parked until the store removes them.
    #[error(
        "{sent} were sent again and are still in the store, which does not remove them; homing tries \
         on as long as it runs, and sends none of them again meanwhile"
    )]
    NotRemoved {
        /// Their number.
        sent: usize,
        /// The store's last error.
        #[source]
        source: StoreError,
    },
}

/// A parked message cannot be read: the reason, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub String);

/// The progress of an action.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ParkedProgress)]
pub struct Tally {
    /// Deliveries that matched and were acted on.
    pub matched: u32,
    /// Deliveries in the store at the start, whether they match or not.
    pub total: u64,
    /// Those that were not in the store yet at the start.
    pub arriving: Arriving,
    /// Those that match and were left out, because another process acts on them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claimed: Option<Claimed>,
}

/// The action on a delivery that matches.
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
    /// Parked deliveries at `broker` and in `store`, which keeps as much as `bounds` say.
    #[must_use]
    pub fn new(broker: Broker, store: Arc<dyn Store>, bounds: ParkedBounds) -> Self {
        Self {
            broker,
            store,
            bounds,
            acting: TaskTracker::new(),
            sent: Arc::default(),
            last_look: Arc::default(),
            pace: None,
        }
    }

    /// A copy that acts on at most so many deliveries per second.
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

    /// Lists up to `limit` parked deliveries that match, what was parked last first.
    ///
    /// # Errors
    ///
    /// [`ParkingError`]; it changes nothing.
    pub async fn list(
        &self,
        selection: &Selection,
        limit: u32,
        bodies: Bodies,
    ) -> Result<Listing, ParkingError> {
        self.page(selection, Begin::default(), limit, bodies).await
    }

    /// Lists up to `limit` parked deliveries that match, from `begin` on; with bodies, as many as
    /// have 16 MiB of them. One that is parked while all pages are read comes exactly once.
    ///
    /// # Errors
    ///
    /// [`ParkingError`]; it changes nothing. A broker that is away is none.
    pub async fn page(
        &self,
        selection: &Selection,
        Begin { order, after, mut count }: Begin,
        limit: u32,
        bodies: Bodies,
    ) -> Result<Listing, ParkingError> {
        let arriving = Box::pin(self.arriving(Patience::Short)).await?;
        let total = self.store.parked_totals().await?.deliveries;
        let mut matched = 0;
        if selection.is_everything() {
            matched = up_to(mem::take(&mut count), total);
        }
        let selection = selection.clone();
        let mut page = ParkedPage { selection, order, after, up_to: None, limit: 0 };
        let (mut entries, mut next) = (Vec::new(), None);
        let (mut left, mut bytes) = (limit, 0_u64);
        while left > 0 && bytes < MAX_BYTES_AT_ONCE {
            page.limit = left.min(page_size(bodies));
            let part = self.read(&page, bodies, mem::take(&mut count)).await?;
            matched = matched.max(part.matched);
            let found = u32::try_from(part.entries.len()).unwrap_or(u32::MAX);
            left = left.saturating_sub(found);
            if bodies == Bodies::Included {
                bytes = bytes.saturating_add(part.entries.iter().map(|one| one.body_bytes).sum());
            }
            entries.extend(part.entries);
            (page.after, next) = (part.last, part.last.filter(|_| part.is_whole));
            if next.is_none() {
                break;
            }
        }
        Ok(Listing { entries, next, total, arriving, matched })
    }

    /// Counts the parked deliveries that match, up to `most`.
    async fn count(&self, selection: &Selection, most: u32) -> Result<u32, ParkingError> {
        if selection.is_everything() {
            let total = self.store.parked_totals().await?.deliveries;
            return Ok(up_to(most, total));
        }
        Ok(self.store.count_parked(selection, most).await?)
    }

    /// Counts the parked deliveries that match and are for each of these groups of subscriptions, among
    /// the first `limit` that match; first waits for what arrives, as an action does.
    ///
    /// # Errors
    ///
    /// [`ParkingError`].
    pub async fn count_each(
        &self,
        selection: &Selection,
        limit: Option<u32>,
        groups: &[&BTreeSet<SubscriptionId>],
    ) -> Result<Vec<u32>, ParkingError> {
        let mut counts = vec![0_u32; groups.len()];
        let asked = groups.iter().map(|group| group.len()).fold(0, usize::saturating_add);
        if limit.is_none() && selection.subscription.is_none() && asked <= MAX_COUNTED_ONE_BY_ONE {
            self.begin(Patience::Long).await?;
            for (count, group) in counts.iter_mut().zip(groups) {
                for subscription in *group {
                    let selection =
                        Selection { subscription: Some(*subscription), ..selection.clone() };
                    let more = self.store.count_parked(&selection, u32::MAX).await?;
                    *count = count.saturating_add(more);
                }
            }
            return Ok(counts);
        }
        let group_of = |id| groups.iter().position(|group| group.contains(&id));
        let count = |entry: Entry| {
            let at = entry.subscription_id.and_then(group_of);
            if let Some(count) = at.and_then(|at| counts.get_mut(at)) {
                *count = count.saturating_add(1);
            }
            ControlFlow::Continue(())
        };
        self.scan_each(selection, limit, Bodies::Omitted, count).await?;
        Ok(counts)
    }

    /// Passes `each` parked delivery that matches, with its body, in the order in which they were
    /// parked, until there are no more, `limit` were passed, or `each` breaks. Keeps little in
    /// memory, so the number is unbounded.
    ///
    /// # Errors
    ///
    /// [`ParkingError`]; it changes nothing. Deliveries may have been passed to `each` before: after
    /// [`ParkingError::Unreadable`] all that can be read.
    pub async fn scan_each(
        &self,
        selection: &Selection,
        limit: Option<u32>,
        bodies: Bodies,
        mut each: impl FnMut(Entry) -> ControlFlow<()>,
    ) -> Result<Tally, ParkingError> {
        let mut tally = self.begin(Patience::Long).await?;
        let (selection, order) = (selection.clone(), ParkedOrder::OldestFirst);
        let mut page = ParkedPage { selection, order, ..ParkedPage::default() };
        let most = limit.unwrap_or(u32::MAX);
        let mut unreadable = None;
        while tally.matched < most {
            page.limit = most.saturating_sub(tally.matched).min(page_size(bodies));
            let part = self.read(&page, bodies, 0).await?;
            page.after = part.last;
            for entry in part.entries {
                if let Some(why) = entry.unreadable {
                    unreadable.get_or_insert(Unreadable(why));
                    continue;
                }
                tally.matched = tally.matched.saturating_add(1);
                if each(entry).is_break() {
                    return Ok(tally);
                }
            }
            if !part.is_whole {
                break;
            }
        }
        unreadable.map_or(Ok(tally), |unreadable| Err(unreadable.into()))
    }

    /// Waits for what arrives; the progress before anything is done.
    async fn begin(&self, patience: Patience) -> Result<Tally, ParkingError> {
        let arriving = Box::pin(self.arriving(patience)).await?;
        let total = self.store.parked_totals().await?.deliveries;
        Ok(Tally { total, arriving, ..Tally::default() })
    }

    async fn read(
        &self,
        page: &ParkedPage,
        bodies: Bodies,
        count: u32,
    ) -> Result<Part, ParkingError> {
        let (mut rows, matched) = self.store.parked_counted(page, count).await?;
        let mut is_whole = rows.len() >= usize::try_from(page.limit).unwrap_or(usize::MAX);
        if bodies == Bodies::Omitted {
            let last = rows.last().map(|row| row.id);
            let entries = rows.into_iter().map(Entry::from).collect();
            return Ok(Part { entries, last, is_whole, matched });
        }
        let fit = part_length(&rows);
        is_whole |= fit < rows.len();
        rows.truncate(fit);
        let last = rows.last().map(|row| row.id);
        let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
        let messages = self.store.parked_messages(&ids).await?;
        let restored =
            messages.iter().map(|(id, payload)| (*id, self.restored(*id, Some(payload))));
        let restored: BTreeMap<_, _> = restored.collect();
        let whole = |row| {
            let entry = Entry::from(row);
            // One that is not there was removed meanwhile.
            Some(match restored.get(&entry.id.message())? {
                Ok(fetched) => entry.with_message(fetched),
                Err(why) => Entry { unreadable: Some(why.to_string()), ..entry },
            })
        };
        let entries = rows.into_iter().filter_map(whole).collect();
        Ok(Part { entries, last, is_whole, matched })
    }

    /// The message of a delivery, of which the store has `payload`.
    fn restored(
        &self,
        id: ParkedId,
        payload: Option<&Result<Vec<u8>, StoreError>>,
    ) -> Result<Fetched, Unreadable> {
        let unreadable = |why: &str| {
            let (id, why) = (id.message().to_string(), why.to_owned());
            Unreadable(StoreError::ParkedPayload { id, why }.to_string())
        };
        let payload = payload.ok_or_else(|| unreadable("is not in the store any more"))?;
        let payload = payload.as_ref().map_err(|error| Unreadable(error.to_string()))?;
        let restored = self.broker.restored(payload, id.unique());
        restored.ok_or_else(|| unreadable("has a form that this version does not know"))
    }
}

/// Some of the deliveries of a page.
struct Part {
    entries: Vec<Entry>,
    /// The last one that was read, even if it was removed meanwhile.
    last: Option<ParkedId>,
    /// True if there may be more.
    is_whole: bool,
    /// All that match, as far as they are counted.
    matched: u32,
}

/// The number of all that is parked, if it is not more than `most`.
fn up_to(most: u32, total: u64) -> u32 {
    u32::try_from(total).unwrap_or(u32::MAX).min(most)
}

/// The number of deliveries, at least one if there is any, whose bodies are in memory at once.
fn part_length(rows: &[ParkedDelivery]) -> usize {
    let mut bytes = 0_u64;
    let fit = rows.iter().take_while(|one| {
        bytes = bytes.saturating_add(one.body_bytes);
        bytes <= MAX_BYTES_AT_ONCE
    });
    fit.count().max(1).min(rows.len())
}

fn page_size(bodies: Bodies) -> u32 {
    match bodies {
        Bodies::Included => BODIES_AT_ONCE,
        Bodies::Omitted => MAX_PARKED_AT_ONCE,
    }
}
