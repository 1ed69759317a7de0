//! Reads parked deliveries.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use tokio::task::spawn_blocking;

use super::{
    ClaimedByOthers, MAX_PARKED_AT_ONCE, ParkedDelivery, ParkedId, ParkedLimit, ParkedOrder,
    ParkedPage, ParkedTotals, place,
    row::{COLUMNS, ParkedRow, bytes, text},
    search::{Claimed, Range, Search},
    write::push_ids,
};
use crate::{
    StoreError,
    backend::{Backend, SqlStore},
    sealed::{self, SealError},
    statement::{Statement, Value, sql},
};
use homing_domain::{record::Record, time::UnixMillis};

/// Deliveries that one statement counts at most, in milliseconds. So many that pass many tests are
/// dense enough to be found by reading one after another; fewer are sorted in some 40 ms.
pub(super) const COUNTED_AT_ONCE: u32 = 20_000;

/// A count of refused messages that its keeper does not renew counts no more after this time.
pub(super) const REFUSED_KEPT_MS: i64 = 3 * 60 * 1_000;
const PAYLOADS: &str = "SELECT id, payload FROM parked_messages WHERE id IN ";

/// A [`ParkedLimit`] as it is stored.
pub(super) const ROWS: &str = "rows";
pub(super) const BYTES: &str = "bytes";

/// The totals, as the one reads them who locks them.
#[derive(sqlx_macros::FromRow)]
pub(super) struct LockedTotals {
    deliveries: i64,
    bytes: i64,
    reached: Option<String>,
    added: i64,
}

impl LockedTotals {
    /// Deliveries and bytes.
    pub(super) fn amount(&self) -> (u64, u64) {
        (self.deliveries.unsigned_abs(), self.bytes.unsigned_abs())
    }

    /// Transactions that added something.
    pub(super) fn added(&self) -> i64 {
        self.added
    }

    /// The bound that was reached last.
    pub(super) fn limit(&self) -> Option<ParkedLimit> {
        match self.reached.as_deref() {
            Some(ROWS) => Some(ParkedLimit::Rows),
            Some(_) => Some(ParkedLimit::Bytes),
            None => None,
        }
    }
}

#[derive(sqlx_macros::FromRow)]
struct TotalsRow {
    #[sqlx(flatten)]
    locked: LockedTotals,
    refused: i64,
}

/// A part of what is counted.
struct CountedPart {
    deliveries: u32,
    /// The last one, if there may be more.
    last: Option<ParkedId>,
}

impl ParkedPage {
    /// The part of a search that this page is.
    pub(super) fn range(&self, claimed: Claimed) -> Range {
        let limit = self.limit.clamp(1, MAX_PARKED_AT_ONCE);
        Range { order: self.order, after: self.after, up_to: self.up_to, limit, claimed }
    }
}

impl<B: Backend> SqlStore<B> {
    /// A statement with the ids that are found in a range, after `before` and in brackets.
    pub(super) fn found(before: String, search: &Search, range: &Range) -> Statement<B::Database> {
        let statement = sql(before).push("(");
        search.push(statement, range, &B::DIALECT).push(")")
    }

    pub(super) async fn read_parked(
        &self,
        search: &Search,
        page: &ParkedPage,
    ) -> sqlx::Result<Vec<ParkedDelivery>> {
        let range = page.range(Claimed::Any);
        let select =
            Self::found(format!("SELECT {COLUMNS} FROM parked WHERE id IN "), search, &range);
        let order = match range.order {
            ParkedOrder::NewestFirst => " ORDER BY id DESC LIMIT ",
            ParkedOrder::OldestFirst => " ORDER BY id LIMIT ",
        };
        let rows = self.all(select.push(order).push_bind(i64::from(range.limit))).await?;
        rows.into_iter().map(ParkedRow::build).collect()
    }

    /// One look into an index for each record.
    pub(super) async fn read_parked_of(
        &self,
        records: &[Record],
    ) -> sqlx::Result<Vec<ParkedDelivery>> {
        let deliveries = records.iter().filter_map(|record| record.recipient);
        let deliveries: Vec<_> = deliveries.map(|(_, delivery)| bytes(delivery.uuid())).collect();
        let events = records.iter().filter(|record| record.recipient.is_none());
        let events: Vec<_> = events.map(|record| text(&record.event)).collect();
        let mut found = Vec::new();
        if !deliveries.is_empty() {
            let newest = Self::newest_of("delivery = one.column1", deliveries);
            found.extend(self.all::<ParkedRow>(newest).await?);
        }
        if !events.is_empty() {
            let newest = Self::newest_of("event = one.column1 AND delivery IS NULL", events);
            found.extend(self.all::<ParkedRow>(newest).await?);
        }
        found.into_iter().map(ParkedRow::build).collect()
    }

    /// The newest row for each of `values`, at least one, for which `condition` holds.
    fn newest_of<V: Value<'static>>(condition: &str, values: Vec<V>) -> Statement<B::Database> {
        let mut select = sql(format!(
            "SELECT {COLUMNS} FROM parked WHERE id IN (SELECT (SELECT id FROM parked \
             WHERE {condition} ORDER BY id DESC LIMIT 1) FROM (VALUES "
        ));
        for (index, value) in values.into_iter().enumerate() {
            select = select.push(if index == 0 { "(" } else { "), (" }).push_bind(value);
        }
        select.push(")) AS one)")
    }

    /// Counts what is found, up to `most`, in steps of a bounded size.
    pub(super) async fn count_search(&self, search: Search, most: u32) -> Result<u32, StoreError> {
        if most == 0 {
            return Ok(0);
        }
        let (step, at_once) = ("counting parked deliveries", most.min(COUNTED_AT_ONCE));
        let few = if search.is_dense {
            at_once
        } else {
            self.ask(step, self.count_found(&search, at_once)).await?
        };
        if few < COUNTED_AT_ONCE {
            return Ok(few);
        }
        let search = search.in_order();
        let (mut count, mut after) = (0_u32, None);
        loop {
            let limit = most.saturating_sub(count).min(COUNTED_AT_ONCE);
            if limit == 0 {
                return Ok(count);
            }
            let part = self.ask(step, self.count_part(&search, after, limit)).await?;
            count = count.saturating_add(part.deliveries);
            after = part.last;
            if after.is_none() {
                return Ok(count);
            }
        }
    }

    pub(super) async fn count_found(&self, search: &Search, most: u32) -> sqlx::Result<u32> {
        let count = sql("SELECT CAST(count(*) AS bigint) FROM (");
        let count = search.push_unordered(count, most, &B::DIALECT).push(") AS found");
        let (count,): (i64,) = self.one(count).await?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX).min(most))
    }

    /// Counts at most `limit` of those behind `after`, in the order of their ids.
    async fn count_part(
        &self,
        search: &Search,
        after: Option<ParkedId>,
        limit: u32,
    ) -> sqlx::Result<CountedPart> {
        let (order, claimed) = (ParkedOrder::OldestFirst, Claimed::Any);
        let range = Range { order, after, up_to: None, limit, claimed };
        let found = Self::found("WITH found(id) AS MATERIALIZED ".to_owned(), search, &range);
        let count = found.push(
            " SELECT CAST(count(*) AS bigint), (SELECT id FROM found ORDER BY id DESC LIMIT 1) \
             FROM found",
        );
        let (count, last): (i64, Option<Vec<u8>>) = self.one(count).await?;
        let deliveries = u32::try_from(count).unwrap_or(u32::MAX);
        let last = last.filter(|_| deliveries >= limit);
        let last = last.map(|last| ParkedId::from_bytes(&last)).transpose()?;
        Ok(CountedPart { deliveries, last })
    }

    /// Counts what is claimed, up to the limit of `page`.
    pub(super) async fn claimed_found(
        &self,
        search: &Search,
        page: &ParkedPage,
    ) -> sqlx::Result<ClaimedByOthers> {
        const COUNT: &str = "SELECT CAST(count(*) AS bigint), max(claimed_until_ms) FROM parked \
            WHERE id IN ";
        let count = Self::found(COUNT.to_owned(), search, &page.range(Claimed::Yes));
        let (count, until): (i64, Option<i64>) = self.one(count).await?;
        Ok(ClaimedByOthers {
            deliveries: u32::try_from(count).unwrap_or(u32::MAX),
            until: UnixMillis::new(until.unwrap_or_default()),
        })
    }

    pub(super) async fn read_totals(&self) -> sqlx::Result<ParkedTotals> {
        let select = sql("SELECT deliveries, bytes, reached, added, \
            (SELECT CAST(coalesce(sum(messages), 0) AS bigint) FROM parked_refused \
            WHERE noted_ms >= ");
        let select = select.push(B::DIALECT.now_ms).push(" - ").push_bind(REFUSED_KEPT_MS);
        let row: TotalsRow = self.one(select.push(") AS refused FROM parked_totals")).await?;
        let (deliveries, bytes) = row.locked.amount();
        let refused = u32::try_from(row.refused).unwrap_or(u32::MAX);
        let (limit, added) = (row.locked.limit(), row.locked.added().unsigned_abs());
        Ok(ParkedTotals { deliveries, bytes, limit, refused, added })
    }

    /// The payloads of the messages of these deliveries, as they were added, or why one cannot be
    /// read.
    pub(super) async fn read_payloads(
        &self,
        ids: &[ParkedId],
    ) -> sqlx::Result<BTreeMap<ParkedId, Result<Vec<u8>, StoreError>>> {
        let ids: BTreeSet<_> = ids.iter().map(|id| id.message()).collect();
        if ids.is_empty() {
            return Ok(BTreeMap::new());
        }
        let rows: Vec<(Vec<u8>, Vec<u8>)> = self.all(push_ids(sql(PAYLOADS), ids)).await?;
        let keyring = self.keyring.clone();
        let opening = spawn_blocking(move || {
            let opened = rows.into_iter().map(|(id, kept)| {
                let id = ParkedId::from_bytes(&id)?;
                let row = id.to_string();
                let opened = sealed::open(&keyring, place(&row), &kept);
                let unreadable = |error: SealError| StoreError::ParkedPayload {
                    id: row.clone(),
                    why: error.to_string(),
                };
                Ok((id, opened.map_err(unreadable)))
            });
            opened.collect()
        });
        opening.await.map_err(|error| sqlx::Error::Io(io::Error::other(error)))?
    }
}
