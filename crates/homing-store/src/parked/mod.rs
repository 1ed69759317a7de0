//! Parked deliveries: what an operator has not decided yet.
//!
//! The parking queue is the way in; a process that holds the lock of that queue moves its messages
//! here, and acks them once they are committed. Every row is one delivery; a message for a group of
//! subscriptions is several rows and one payload, which is kept as long as one of them is.
//!
//! An id sorts by the time of parking, so one index on ids serves pages, instants and order, and
//! every other index ends with the id.
//!
//! A batch that was committed and not acked comes again. So that nothing of it is there twice, the
//! store remembers which messages may do so, until the intake that added them adds the next batch, or
//! for an hour. Only a message that the queue marks as delivered before, and that has an id of its
//! publisher, is compared with those: without an id, equal messages are several events, and one too
//! many is better than one too few.
//!
//! Adding, claiming and removing lock the row of `parked_totals` first: these writes go one
//! after the other, and none waits for another in a circle.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use uuid::Uuid;

use super::{
    StoreError,
    backend::{Backend, SqlStore},
    keyring::Place,
};
use homing_domain::{record::Record, time::UnixMillis};

mod conditions;
mod delivery;
mod intake;
mod read;
mod renew;
mod row;
mod search;
mod selection;
mod write;

pub use self::{
    delivery::{ParkedDelivery, ParkedId, ParkedMessage},
    selection::{HeldFor, SearchText, SearchTextError, Selection},
};

/// Deliveries that one call of [`ParkedStore::parked`], [`ParkedStore::claim_parked`] or
/// [`ParkedStore::remove_parked`] takes at most.
pub const MAX_PARKED_AT_ONCE: u32 = 1_000;

/// Bounds of the parked deliveries in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParkedBounds {
    /// Deliveries.
    pub rows: u64,
    /// Bytes of their messages, as they are kept.
    pub bytes: u64,
}

/// A bound that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParkedLimit {
    /// [`ParkedBounds::rows`].
    Rows,
    /// [`ParkedBounds::bytes`].
    Bytes,
}

impl ParkedLimit {
    /// The setting that it comes from.
    #[must_use]
    pub fn setting(self) -> &'static str {
        match self {
            Self::Rows => "parking.max_rows",
            Self::Bytes => "parking.max_bytes",
        }
    }
}

/// The one that takes messages out of a queue and adds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intake<'a> {
    /// The queue.
    pub queue: &'a str,
    /// Random: no other intake has it.
    pub id: Uuid,
    /// Grows with each batch. All that it added of earlier batches is acked.
    pub batch: u64,
}

/// The result of adding messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Added {
    /// So many of the messages, counted from the first, are in the store now.
    pub messages: usize,
    /// Deliveries that were not in the store before.
    pub deliveries: u64,
    /// The bound that kept the others out.
    pub limit: Option<ParkedLimit>,
}

/// The amount of parked deliveries in the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ParkedTotals {
    /// Deliveries.
    pub deliveries: u64,
    /// Bytes of their messages, as they are kept.
    pub bytes: u64,
    /// The bound that kept out the last message that was to be added.
    pub limit: Option<ParkedLimit>,
    /// Messages that could not be added, as all keepers [noted](ParkedStore::note_refused) last.
    pub refused: u32,
    /// Transactions that added something; it only grows. Goes into [`ParkedPage::up_to`].
    pub added: u64,
}

/// A part of what is parked, in the order of its ids.
#[derive(Clone, Debug, Default)]
pub struct ParkedPage {
    /// The deliveries to read.
    pub selection: Selection,
    /// The order.
    pub order: ParkedOrder,
    /// Begin behind this one, which need not exist any more; `None`: with the first.
    pub after: Option<ParkedId>,
    /// None that was added after [the totals](ParkedTotals::added) had this number.
    pub up_to: Option<u64>,
    /// Deliveries at most; taken as 1 to [`MAX_PARKED_AT_ONCE`].
    pub limit: u32,
}

/// The order of a [`ParkedPage`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ParkedOrder {
    /// The one parked last comes first.
    #[default]
    NewestFirst,
    /// The one parked first comes first.
    OldestFirst,
}

/// A right to act on deliveries for a time, after which others may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Random: no other claim has it.
    pub id: Uuid,
    /// Its length, by the clock of the database: the clocks of the processes do not count.
    pub lasts: Duration,
}

/// Deliveries that are claimed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClaimedByOthers {
    /// Their number.
    pub deliveries: u32,
    /// The latest end of their claims, by the clock of the database.
    pub until: UnixMillis,
}

/// The part of a [`Store`](super::Store) that keeps parked deliveries.
#[async_trait]
pub trait ParkedStore: Send + Sync {
    /// Adds messages of `intake` in one transaction, in their order, until a bound is reached. One
    /// that is there already counts as added: one with the same id in the same batch, and one that
    /// is redelivered, and equal to one that another batch added and that perhaps is not acked.
    ///
    /// # Errors
    ///
    /// [`StoreError::Refused`]: one of the messages cannot be added, whenever it is tried;
    /// [`StoreError`]: a step that failed. Then nothing is added, but for a commit whose answer was
    /// lost. Adding the same again, with the same ids, finds that out.
    ///
    /// # Cancel safety
    ///
    /// A message that is added again, with the same id or redelivered, is there once.
    async fn park(
        &self,
        intake: Intake<'_>,
        messages: &[ParkedMessage],
        bounds: ParkedBounds,
    ) -> Result<Added, StoreError>;

    /// One page of parked deliveries, without their messages. One that is there while all pages are
    /// read comes exactly once.
    ///
    /// # Errors
    ///
    /// [`StoreError::TooBroad`]: too many topics, or values in which a text is searched;
    /// [`StoreError`]: a step that failed.
    async fn parked(&self, page: &ParkedPage) -> Result<Vec<ParkedDelivery>, StoreError> {
        Ok(self.parked_counted(page, 0).await?.0)
    }

    /// One page, and the number of all that its selection matches, up to `most`.
    ///
    /// # Errors
    ///
    /// As [`parked`](Self::parked).
    async fn parked_counted(
        &self,
        page: &ParkedPage,
        most: u32,
    ) -> Result<(Vec<ParkedDelivery>, u32), StoreError>;

    /// The parked deliveries of these records, at most [`MAX_PARKED_AT_ONCE`]: the newest of each; of
    /// a record without a delivery, the event that was parked before its fan-out.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn parked_of(&self, records: &[Record]) -> Result<Vec<ParkedDelivery>, StoreError>;

    /// Counts the deliveries of a selection, up to `most`, in steps of a bounded size.
    ///
    /// # Errors
    ///
    /// As [`parked`](Self::parked).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    async fn count_parked(&self, selection: &Selection, most: u32) -> Result<u32, StoreError>;

    /// The amount of parked deliveries; kept, not counted.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn parked_totals(&self) -> Result<ParkedTotals, StoreError>;

    /// Notes for all processes how many messages `keeper` cannot add, which stay in their queue, for
    /// three minutes at most.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn note_refused(&self, keeper: Uuid, messages: u32) -> Result<(), StoreError>;

    /// The messages of these deliveries, as they were added, by
    /// [their own ids](ParkedId::message); those that are not there any more are left out. One that
    /// cannot be decrypted is [`StoreError::ParkedPayload`] and hides no other.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn parked_messages(
        &self,
        ids: &[ParkedId],
    ) -> Result<BTreeMap<ParkedId, Result<Vec<u8>, StoreError>>, StoreError>;

    /// Claims the deliveries of a page that no one else has claimed, and returns them. Of several
    /// that claim the same one, in whatever process, one gets it.
    ///
    /// # Errors
    ///
    /// As [`parked`](Self::parked).
    ///
    /// # Cancel safety
    ///
    /// What was claimed and not returned is free again when the claim ends.
    async fn claim_parked(
        &self,
        page: &ParkedPage,
        claim: Claim,
    ) -> Result<Vec<ParkedDelivery>, StoreError>;

    /// Has a claim on deliveries, at most [`MAX_PARKED_AT_ONCE`], last from now on as long as
    /// `claim` says, which may be no time at all; those that someone else has claimed meanwhile are
    /// left out.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed; the claim ends as before.
    async fn extend_claim(&self, ids: &[ParkedId], claim: Claim) -> Result<(), StoreError>;

    /// The deliveries of a page that are claimed, and the latest end of these claims.
    ///
    /// # Errors
    ///
    /// As [`parked`](Self::parked).
    async fn claimed_parked(&self, page: &ParkedPage) -> Result<ClaimedByOthers, StoreError>;

    /// Removes deliveries, at most [`MAX_PARKED_AT_ONCE`], and the messages of which none is left;
    /// returns how many deliveries were there.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn remove_parked(&self, ids: &[ParkedId]) -> Result<u64, StoreError>;
}

/// The place of a message in the store.
fn place(row: &str) -> Place<'_> {
    Place { column: "parked", row }
}

#[async_trait]
impl<B: Backend> ParkedStore for SqlStore<B> {
    async fn park(
        &self,
        intake: Intake<'_>,
        messages: &[ParkedMessage],
        bounds: ParkedBounds,
    ) -> Result<Added, StoreError> {
        let keeping = async {
            let sealed = self.sealed(messages).await?;
            self.add_parked(intake, messages, sealed, bounds).await
        };
        let added = self.ask("keeping parked messages", keeping).await;
        let Err(StoreError::Step { step, source }) = added else { return added };
        Err(if B::is_refusal(&source) {
            StoreError::Refused { step, source }
        } else {
            StoreError::Step { step, source }
        })
    }

    async fn parked_counted(
        &self,
        page: &ParkedPage,
        most: u32,
    ) -> Result<(Vec<ParkedDelivery>, u32), StoreError> {
        let Some(search) = self.search(&page.selection).await? else { return Ok((Vec::new(), 0)) };
        let found = self.ask("reading parked deliveries", self.read_parked(&search, page)).await?;
        Ok((found, self.count_search(search, most).await?))
    }

    async fn parked_of(&self, records: &[Record]) -> Result<Vec<ParkedDelivery>, StoreError> {
        self.ask("looking up parked deliveries", self.read_parked_of(records)).await
    }

    async fn count_parked(&self, selection: &Selection, most: u32) -> Result<u32, StoreError> {
        let Some(search) = self.search(selection).await? else { return Ok(0) };
        self.count_search(search, most).await
    }

    async fn parked_totals(&self) -> Result<ParkedTotals, StoreError> {
        self.ask("reading how much is parked", self.read_totals()).await
    }

    async fn note_refused(&self, keeper: Uuid, messages: u32) -> Result<(), StoreError> {
        self.ask("noting refused messages", self.note_not_added(keeper, messages)).await
    }

    async fn parked_messages(
        &self,
        ids: &[ParkedId],
    ) -> Result<BTreeMap<ParkedId, Result<Vec<u8>, StoreError>>, StoreError> {
        self.ask("reading parked messages", self.read_payloads(ids)).await
    }

    async fn claim_parked(
        &self,
        page: &ParkedPage,
        claim: Claim,
    ) -> Result<Vec<ParkedDelivery>, StoreError> {
        let Some(search) = self.search(&page.selection).await? else { return Ok(Vec::new()) };
        self.ask("claiming parked deliveries", self.claim_found(&search, page, claim)).await
    }

    async fn extend_claim(&self, ids: &[ParkedId], claim: Claim) -> Result<(), StoreError> {
        self.ask("changing a claim on parked deliveries", self.move_claim(ids, claim)).await
    }

    async fn claimed_parked(&self, page: &ParkedPage) -> Result<ClaimedByOthers, StoreError> {
        let Some(search) = self.search(&page.selection).await? else {
            return Ok(ClaimedByOthers::default());
        };
        self.ask("counting claimed deliveries", self.claimed_found(&search, page)).await
    }

    async fn remove_parked(&self, ids: &[ParkedId]) -> Result<u64, StoreError> {
        self.ask("removing parked deliveries", self.remove(ids)).await
    }
}
