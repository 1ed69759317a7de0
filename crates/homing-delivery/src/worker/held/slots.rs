//! This worker's view of the slots.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::worker::lane::InFlight;
use homing_broker::{Broker, control::Announcement};
use homing_domain::{clock, url::EndpointUrl};
use homing_store::{HeldSlot, Store, StoreError};
use homing_telemetry::{log_events, metrics};

/// A delivery waits this long for a slot, while it has a place in its lane.
const TAKE_DEADLINE: Duration = Duration::from_secs(1);
/// When none was free, none is asked for during this time.
const NONE_FREE: Duration = Duration::from_secs(5);
/// After a failure of the store, none asks for this long.
const STORE_AWAY: Duration = Duration::from_secs(10);

/// Where there are so many held queues, the last is shared by slow URLs that have none.
const MIN_FOR_SHARED: u16 = 16;
/// After its last use, what comes into the shared queue is taken at once for this long.
const SHARED_IN_USE: Duration = Duration::from_secs(10);

/// Which held queue is whose, as far as this worker knows.
pub(in crate::worker) struct Slots {
    store: Arc<dyn Store>,
    broker: Broker,
    known: Mutex<Known>,
    /// One asks at a time; what it learns answers most of the others.
    taking: tokio::sync::Mutex<()>,
    /// Changes with every slot and every circuit.
    news: watch::Sender<()>,
}

#[derive(Default)]
struct Known {
    is_read: bool,
    slots: BTreeMap<u16, HeldSlot>,
    by_url: HashMap<EndpointUrl, u16>,
    /// None is free, or the store is away: from when on one is asked for again.
    none_until: Option<Instant>,
    /// As `none_until`, for slow URLs.
    none_for_slow_until: Option<Instant>,
    /// The last time when this worker held a delivery in the shared queue.
    shared_used: Option<Instant>,
    /// Consecutive failures of queues.
    failures: HashMap<u16, u32>,
    /// Ends of the sessions that empty queues.
    sessions: HashMap<u16, CancellationToken>,
    /// The work of queues in this process.
    work: HashMap<u16, Arc<InFlight>>,
}

/// The slot of a URL, as far as known.
enum Answer {
    /// Its slot, or `None` if it gets none now.
    Known(Option<u16>),
    /// It has none, and may get one.
    Unknown,
}

impl Known {
    fn learn(&mut self, held: HeldSlot) {
        self.by_url.retain(|_, slot| *slot != held.slot);
        if let Some(url) = &held.url {
            self.by_url.insert(url.clone(), held.slot);
        }
        self.slots.insert(held.slot, held);
    }

    fn is_owned(&self, slot: u16) -> bool {
        self.slots.get(&slot).is_some_and(|held| held.url.is_some())
    }

    fn shares(&self) -> bool {
        self.shared_used.is_some_and(|used| used.elapsed() < SHARED_IN_USE)
    }

    fn found_none(&self) -> bool {
        self.none_until.is_some_and(|until| until > Instant::now())
    }

    fn found_none_for_slow(&self) -> bool {
        self.none_for_slow_until.is_some_and(|until| until > Instant::now())
    }

    fn note_none(&mut self, wait: Duration) {
        self.none_until = Some(Instant::now() + wait);
    }
}

impl Slots {
    pub(in crate::worker) fn new(store: Arc<dyn Store>, broker: Broker) -> Self {
        let (news, _) = watch::channel(());
        let (known, taking) = (Mutex::default(), tokio::sync::Mutex::default());
        Self { store, broker, known, taking, news }
    }

    fn prefix(&self) -> &str {
        self.broker.topology().names().prefix()
    }

    /// The numbers of all held queues: those of the settings, and those that earlier settings had.
    pub(super) fn all(&self) -> Vec<u16> {
        let declared = self.broker.topology().held_queues();
        let known = self.known.lock();
        (0..declared).chain(known.slots.keys().copied().filter(|slot| *slot >= declared)).collect()
    }

    /// True if the slots have been read once.
    pub(super) fn are_read(&self) -> bool {
        self.known.lock().is_read
    }

    /// Reports when a slot or a circuit has changed.
    pub(super) fn news(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    /// Wakes all who wait for a change.
    pub(in crate::worker) fn wake(&self) {
        self.news.send_replace(());
    }

    /// The slot of `url`, as far as known.
    pub(in crate::worker) fn of(&self, url: &EndpointUrl) -> Option<u16> {
        self.known.lock().by_url.get(url).copied()
    }

    /// The slot with this number, if a URL has it.
    pub(super) fn owned(&self, slot: u16) -> Option<HeldSlot> {
        self.known.lock().slots.get(&slot).filter(|held| held.url.is_some()).cloned()
    }

    /// The slot of `url`, which an open or frozen circuit refuses; takes one where it has none.
    /// `None`: none is free, or the store is away.
    ///
    /// # Cancel safety
    ///
    /// A slot may be taken although it is not returned; it is learned of by polling.
    pub(in crate::worker) async fn of_refused(&self, url: &EndpointUrl) -> Option<u16> {
        if let Answer::Known(slot) = self.answer(url) {
            return slot;
        }
        let _taking = self.taking.lock().await;
        if let Answer::Known(slot) = self.answer(url) {
            return slot;
        }
        self.take(url, "its circuit is not closed").await
    }

    /// The number of slots that a URL may have.
    fn to_take(&self) -> u16 {
        self.shared().unwrap_or_else(|| self.broker.topology().held_queues())
    }

    /// The slot of the queue that slow URLs share. No URL has it, so it is always emptied.
    pub(in crate::worker) fn shared(&self) -> Option<u16> {
        let declared = self.broker.topology().held_queues();
        (declared >= MIN_FOR_SHARED).then(|| declared.saturating_sub(1))
    }

    /// True if slow URLs share the queue of `slot`.
    pub(in crate::worker) fn is_shared(&self, slot: u16) -> bool {
        self.shared() == Some(slot) && !self.known.lock().is_owned(slot)
    }

    /// True if this worker puts deliveries into the queue of `slot`, which is shared.
    pub(super) fn shares(&self, slot: u16) -> bool {
        self.is_shared(slot) && self.known.lock().shares()
    }

    /// The slot of the queue that slow URLs share, for another delivery. `None`: there is none, or a
    /// URL has it since other settings.
    pub(super) fn share(&self) -> Option<u16> {
        let slot = self.shared().filter(|slot| self.is_shared(*slot))?;
        let was_in_use = {
            let mut known = self.known.lock();
            let was_in_use = known.shares();
            known.shared_used = Some(Instant::now());
            was_in_use
        };
        if !was_in_use {
            self.wake();
        }
        Some(slot)
    }

    /// The slot of `url`, which is slow; takes one where it has none, unless half of all slots are
    /// those of URLs that `are_alike`.
    ///
    /// # Cancel safety
    ///
    /// As [`of_refused`](Self::of_refused).
    pub(super) async fn of_slow(
        &self,
        url: &EndpointUrl,
        are_alike: impl Fn(&EndpointUrl) -> bool,
    ) -> Option<u16> {
        let answer = || match self.answer(url) {
            Answer::Unknown if self.known.lock().found_none_for_slow() => Answer::Known(None),
            answer @ (Answer::Known(_) | Answer::Unknown) => answer,
        };
        if let Answer::Known(slot) = answer() {
            return slot;
        }
        let _taking = self.taking.lock().await;
        if let Answer::Known(slot) = answer() {
            return slot;
        }
        let owners: Vec<_> = self.known.lock().by_url.keys().cloned().collect();
        let alike = owners.iter().filter(|owner| are_alike(owner)).count();
        if alike >= usize::from(self.broker.topology().held_queues() / 2) {
            self.known.lock().none_for_slow_until = Some(Instant::now() + NONE_FREE);
            return None;
        }
        self.take(url, "it is slow").await
    }

    fn answer(&self, url: &EndpointUrl) -> Answer {
        let known = self.known.lock();
        let slot = known.by_url.get(url).copied();
        let has_none = self.broker.topology().held_queues() == 0 || known.found_none();
        if slot.is_some() || has_none { Answer::Known(slot) } else { Answer::Unknown }
    }

    /// Takes a slot because of `why`.
    async fn take(&self, url: &EndpointUrl, why: &str) -> Option<u16> {
        let declared = self.to_take();
        let taking = self.store.take_slot(self.prefix(), url, declared, clock::now());
        match timeout(TAKE_DEADLINE, taking).await {
            Ok(Ok(Some(held))) => {
                let slot = held.slot;
                info!(%url, slot, why, "slot.taken: deliveries to the URL are held in its queue");
                self.known.lock().learn(held);
                self.changed().await;
                Some(slot)
            }
            Ok(Ok(None)) => {
                self.known.lock().note_none(NONE_FREE);
                None
            }
            Ok(Err(error)) => {
                log_events::store_unavailable("taking a slot", &error);
                self.known.lock().note_none(STORE_AWAY);
                None
            }
            Err(_elapsed) => {
                self.known.lock().note_none(STORE_AWAY);
                None
            }
        }
    }

    /// Gives a slot back whose queue is empty.
    pub(super) async fn give_back(&self, held: &HeldSlot) {
        match self.store.give_back_slot(self.prefix(), held, clock::now()).await {
            Ok(is_given_back) => {
                if is_given_back {
                    let url = held.url.as_ref().map(tracing::field::display);
                    info!(url, slot = held.slot, "slot.given_back: its queue is empty");
                }
                // Otherwise another worker was faster.
                if let Err(error) = self.refresh().await {
                    log_events::store_unavailable("reading the slots", &error);
                }
                if is_given_back {
                    self.changed().await;
                }
            }
            Err(error) => log_events::store_unavailable("giving a slot back", &error),
        }
    }

    /// Reads the slots again.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: what is known stays in force.
    pub(in crate::worker) async fn refresh(&self) -> Result<(), StoreError> {
        let slots = self.store.held_slots(self.prefix()).await?;
        let slots: BTreeMap<_, _> = slots.into_iter().map(|held| (held.slot, held)).collect();
        let has_changed = {
            let mut known = self.known.lock();
            known.is_read = true;
            let has_changed = known.slots != slots;
            if has_changed {
                (known.none_until, known.none_for_slow_until) = (None, None);
            }
            let owned = slots.values().filter_map(|held| Some((held.url.clone()?, held.slot)));
            known.by_url = owned.collect();
            known.slots = slots;
            has_changed
        };
        if has_changed {
            self.wake();
        }
        self.measure();
        Ok(())
    }

    fn measure(&self) {
        let known = self.known.lock();
        let (now, declared) = (clock::now(), self.to_take());
        let is_free = |slot: &u16| {
            known.slots.get(slot).is_none_or(|held| {
                held.url.is_none() && now.since(held.since) >= homing_store::SLOT_REST
            })
        };
        let free = (0..declared).filter(is_free).count();
        let owned = known.slots.values().filter(|held| held.url.is_some());
        let since: Vec<_> = owned.map(|held| held.since).collect();
        let longest = since.iter().min().map_or(Duration::ZERO, |first| now.since(*first));
        metrics::held_slots(since.len(), free, longest);
    }

    /// Has this worker and all others read the slots again.
    async fn changed(&self) {
        self.wake();
        if let Err(error) = self.broker.announce(&Announcement::Slots).await {
            log_events::not_announced(&error.report());
        }
    }

    /// Counts a failure of the queue of `slot`; returns how many there were since it was last used.
    pub(super) fn failed(&self, slot: u16) -> u32 {
        let mut known = self.known.lock();
        let failures = known.failures.entry(slot).or_default();
        *failures = failures.saturating_add(1);
        *failures
    }

    /// Notes that the queue of `slot` can be used; returns true if all can.
    pub(super) fn recovered(&self, slot: u16) -> bool {
        let mut known = self.known.lock();
        known.failures.remove(&slot);
        known.failures.is_empty()
    }

    /// Registers the work of the queue of `slot`.
    pub(super) fn begin_work(&self, slot: u16, work: &Arc<InFlight>) {
        self.known.lock().work.insert(slot, Arc::clone(work));
    }

    /// Deliveries of the queue of `slot` in flight in this process.
    pub(in crate::worker) fn in_flight(&self, slot: u16) -> usize {
        self.known.lock().work.get(&slot).map_or(0, |work| work.count())
    }

    /// Registers the session that empties the queue of `slot`: it ends when `over` is cancelled.
    pub(super) fn begin_session(&self, slot: u16, over: &CancellationToken) {
        self.known.lock().sessions.insert(slot, over.clone());
    }

    /// The end of the session that empties the queue of `slot`.
    pub(in crate::worker) fn session(&self, slot: u16) -> CancellationToken {
        self.known.lock().sessions.get(&slot).cloned().unwrap_or_default()
    }
}
