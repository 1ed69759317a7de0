//! Slots: which held queue holds the deliveries to which URL.
//!
//! A slot is the number of a held queue. It belongs to one URL at a time, and a URL has one slot at
//! most, whichever processes write. Nothing is locked: a slot is taken and given back by comparing
//! and setting its row.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;

use super::{
    StoreError,
    backend::{Backend, SqlStore},
    statement::sql,
    statements::{GIVE_BACK_SLOT, HELD_SLOTS, TAKE_SLOT},
};
use homing_domain::{time::UnixMillis, url::EndpointUrl};

/// A slot that was given back is not taken for this long: several times as long as a worker needs
/// to learn of it, so that none publishes into it for the URL that had it.
pub const SLOT_REST: Duration = Duration::from_secs(60);

/// Times that a slot is looked for when other processes take the one that was found.
const MAX_TRIES: usize = 8;

/// A slot, and since when it has its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldSlot {
    /// The number of its held queue.
    pub slot: u16,
    /// The URL whose deliveries it holds; `None`: it was given back.
    pub url: Option<EndpointUrl>,
    /// The time when it was taken or given back.
    pub since: UnixMillis,
}

/// The owners of held queues, by the prefix of the installation. Part of [`Store`](super::Store),
/// with its promises.
#[async_trait]
pub trait HeldStore: Send + Sync {
    /// Takes one of the first `slots` for `url`, the one that was free for the longest time;
    /// returns the one that it has already, whatever its number. `None`: none is free.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed; it may have been taken, and the next call returns it.
    async fn take_slot(
        &self,
        prefix: &str,
        url: &EndpointUrl,
        slots: u16,
        now: UnixMillis,
    ) -> Result<Option<HeldSlot>, StoreError>;

    /// Gives a slot back; returns `false` if it is not what `held` says any more.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn give_back_slot(
        &self,
        prefix: &str,
        held: &HeldSlot,
        now: UnixMillis,
    ) -> Result<bool, StoreError>;

    /// All slots that were ever taken, ordered by number. A slot whose URL cannot be read is left
    /// out.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn held_slots(&self, prefix: &str) -> Result<Vec<HeldSlot>, StoreError>;
}

/// A row of `held_slots` but its prefix.
#[derive(sqlx_macros::FromRow)]
struct SlotRow {
    slot: i64,
    url: Option<String>,
    since_ms: i64,
}

impl SlotRow {
    /// `None`: it cannot be read. The slot stays taken, and its queue is emptied like any other
    /// that no URL has.
    fn read(self) -> Option<HeldSlot> {
        let url = self.url.map(|url| url.parse()).transpose().ok()?;
        let slot = u16::try_from(self.slot).ok()?;
        Some(HeldSlot { slot, url, since: UnixMillis::new(self.since_ms) })
    }
}

/// Chooses the slot among the first `slots` that was free for the longest time, and since when.
fn choose(rows: &[SlotRow], slots: u16, now: UnixMillis) -> Option<(u16, i64)> {
    let known: BTreeMap<_, _> = rows.iter().map(|row| (row.slot, row)).collect();
    let free_since = |slot: u16| match known.get(&i64::from(slot)) {
        None => Some(0),
        Some(row) => row.url.is_none().then_some(row.since_ms),
    };
    let free = (0..slots).filter_map(|slot| Some((slot, free_since(slot)?)));
    let rested = free.filter(|(_, since)| now.since(UnixMillis::new(*since)) >= SLOT_REST);
    rested.min_by_key(|(slot, since)| (*since, *slot))
}

impl<B: Backend> SqlStore<B> {
    async fn slot_rows(&self, prefix: &str) -> sqlx::Result<Vec<SlotRow>> {
        self.all(sql(HELD_SLOTS).bind(prefix)).await
    }

    async fn take(
        &self,
        prefix: &str,
        url: &EndpointUrl,
        slots: u16,
        now: UnixMillis,
    ) -> sqlx::Result<Option<HeldSlot>> {
        for _ in 0..MAX_TRIES {
            let rows = self.slot_rows(prefix).await?;
            if let Some(own) = rows.iter().find(|row| row.url.as_deref() == Some(url.as_str())) {
                let slot = u16::try_from(own.slot).map_err(sqlx::Error::decode)?;
                let since = UnixMillis::new(own.since_ms);
                return Ok(Some(HeldSlot { slot, url: Some(url.clone()), since }));
            }
            let Some((slot, free_since)) = choose(&rows, slots, now) else { return Ok(None) };
            let take = sql(TAKE_SLOT).bind(prefix).bind(i64::from(slot)).bind(url.as_str());
            let taken = self.execute(take.bind(now.get()).bind(free_since)).await;
            match taken {
                Ok(1..) => {
                    return Ok(Some(HeldSlot { slot, url: Some(url.clone()), since: now }));
                }
                // Another process was faster, with this slot or for this URL.
                Ok(0) => {}
                Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

#[async_trait]
impl<B: Backend> HeldStore for SqlStore<B> {
    async fn take_slot(
        &self,
        prefix: &str,
        url: &EndpointUrl,
        slots: u16,
        now: UnixMillis,
    ) -> Result<Option<HeldSlot>, StoreError> {
        self.ask("taking a slot", self.take(prefix, url, slots, now)).await
    }

    async fn give_back_slot(
        &self,
        prefix: &str,
        held: &HeldSlot,
        now: UnixMillis,
    ) -> Result<bool, StoreError> {
        let Some(url) = &held.url else { return Ok(false) };
        let give_back = sql(GIVE_BACK_SLOT)
            .bind(prefix)
            .bind(i64::from(held.slot))
            .bind(url.as_str())
            .bind(held.since.get())
            .bind(now.get());
        Ok(self.ask("giving a slot back", self.execute(give_back)).await? > 0)
    }

    async fn held_slots(&self, prefix: &str) -> Result<Vec<HeldSlot>, StoreError> {
        let rows = self.ask("reading the slots", self.slot_rows(prefix)).await?;
        Ok(rows.into_iter().filter_map(SlotRow::read).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slot_that_was_free_for_the_longest_time_is_chosen() {
        let row = |slot, url: Option<&str>, since_ms| SlotRow {
            slot,
            url: url.map(str::to_owned),
            since_ms,
        };
        let rows =
            [row(0, Some("https://a.example/"), 5), row(1, None, 2_000), row(2, None, 1_000)];
        let at = |ms| UnixMillis::new(ms);
        assert_eq!(choose(&rows, 3, at(100_000)), Some((2, 1_000)));
        assert_eq!(choose(&rows, 4, at(100_000)), Some((3, 0)), "one that was never taken");
        assert_eq!(choose(&rows, 2, at(100_000)), Some((1, 2_000)), "none beyond the number");
        assert_eq!(choose(&rows, 3, at(60_999)), None, "it rests");
        assert_eq!(choose(&rows, 1, at(100_000)), None);
    }
}
