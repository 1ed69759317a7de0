//! Claims and removes parked deliveries.

use std::collections::BTreeSet;

use super::{
    Claim, ParkedDelivery, ParkedId, ParkedPage,
    read::LockedTotals,
    row::{COLUMNS, ParkedRow, bytes},
    search::{Claimed, Search},
};
use crate::{
    backend::{Backend, SqlStore},
    statement::{SqlDatabase, Statement, Tx, sql},
};

/// Never below zero: rows that an operator deleted may still be counted.
const TAKE_FROM_TOTALS: &str = "\
    UPDATE parked_totals \
    SET deliveries = CASE WHEN deliveries > $1 THEN deliveries - $1 ELSE 0 END, \
    bytes = CASE WHEN bytes > $2 THEN bytes - $2 ELSE 0 END";
const REST_OF_MESSAGE: &str = "SELECT id FROM parked WHERE id >= $1 AND id <= $2 LIMIT 1";

/// Continues with a list of placeholders, one for each value.
pub(super) fn push_ids<DB: SqlDatabase>(
    mut statement: Statement<DB>,
    ids: impl IntoIterator<Item = ParkedId>,
) -> Statement<DB> {
    for (index, id) in ids.into_iter().enumerate() {
        statement = statement.push(if index == 0 { "(" } else { ", " }).push_bind(id.bytes());
    }
    statement.push(")")
}

impl<B: Backend> SqlStore<B> {
    /// Reads the totals and locks out all other writers of parked deliveries.
    pub(super) async fn lock_totals(
        transaction: &mut Tx<B::Database>,
    ) -> sqlx::Result<LockedTotals> {
        sql(B::DIALECT.lock_parked).one(transaction).await
    }

    /// Claims what is found. The search is outside of the lock, so that what others have claimed
    /// meanwhile is left out; where that is everything, it searches again.
    pub(super) async fn claim_found(
        &self,
        search: &Search,
        page: &ParkedPage,
        claim: Claim,
    ) -> sqlx::Result<Vec<ParkedDelivery>> {
        let range = page.range(Claimed::No);
        loop {
            let ids = Self::found("SELECT id FROM parked WHERE id IN ".to_owned(), search, &range);
            let ids = ids.push(" ORDER BY id LIMIT ").push_bind(i64::from(range.limit));
            let ids: Vec<(Vec<u8>,)> = self.all(ids).await?;
            if ids.is_empty() {
                return Ok(Vec::new());
            }
            let ids = ids.iter().map(|(id,)| ParkedId::from_bytes(id));
            let rows = self.claim_free(ids.collect::<sqlx::Result<_>>()?, claim).await?;
            if !rows.is_empty() {
                let mut claimed: Vec<_> =
                    rows.into_iter().map(ParkedRow::build).collect::<sqlx::Result<_>>()?;
                claimed.sort_unstable_by_key(|delivery| delivery.id);
                return Ok(claimed);
            }
        }
    }

    /// Claims those of `ids` that no one else has claimed.
    async fn claim_free(&self, ids: Vec<ParkedId>, claim: Claim) -> sqlx::Result<Vec<ParkedRow>> {
        let mut transaction = self.begin().await?;
        Self::lock_totals(&mut transaction).await?;
        let update = Self::push_claim(claim).push(" WHERE claimed_until_ms <= ");
        let update = push_ids(update.push(B::DIALECT.now_ms).push(" AND id IN "), ids);
        let rows = update.push(" RETURNING ").push(COLUMNS).all(&mut transaction).await?;
        transaction.commit().await?;
        Ok(rows)
    }

    /// Begins a statement that has deliveries claimed by `claim` from now on.
    fn push_claim(claim: Claim) -> Statement<B::Database> {
        let lasts = i64::try_from(claim.lasts.as_millis()).unwrap_or(i64::MAX);
        let set = sql("UPDATE parked SET claimed_by = ").push_bind(bytes(claim.id));
        set.push(", claimed_until_ms = ").push(B::DIALECT.now_ms).push(" + ").push_bind(lasts)
    }

    pub(super) async fn move_claim(&self, ids: &[ParkedId], claim: Claim) -> sqlx::Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let mut transaction = self.begin().await?;
        Self::lock_totals(&mut transaction).await?;
        let change = Self::push_claim(claim).push(" WHERE claimed_by = ");
        let change = change.push_bind(bytes(claim.id));
        let change = push_ids(change.push(" AND id IN "), ids.iter().copied());
        change.execute(&mut transaction).await?;
        transaction.commit().await
    }

    pub(super) async fn remove(&self, ids: &[ParkedId]) -> sqlx::Result<u64> {
        if ids.is_empty() {
            return Ok(0);
        }
        let mut transaction = self.begin().await?;
        Self::lock_totals(&mut transaction).await?;
        let remove = push_ids(sql("DELETE FROM parked WHERE id IN "), ids.iter().copied());
        let removed: Vec<(Vec<u8>,)> = remove.push(" RETURNING id").all(&mut transaction).await?;
        let removed: Vec<_> =
            removed.iter().map(|(id,)| ParkedId::from_bytes(id)).collect::<sqlx::Result<_>>()?;
        let mut messages = BTreeSet::new();
        for id in &removed {
            let message = id.message();
            if id.is_alone()
                || !messages.contains(&message) && self.is_over(&mut transaction, message).await?
            {
                messages.insert(message);
            }
        }
        let mut bytes = 0_i64;
        if !messages.is_empty() {
            let remove = push_ids(sql("DELETE FROM parked_messages WHERE id IN "), messages);
            let freed: Vec<(i64,)> = remove.push(" RETURNING bytes").all(&mut transaction).await?;
            bytes = freed.into_iter().map(|(bytes,)| bytes).fold(0, i64::saturating_add);
        }
        let count = u64::try_from(removed.len()).unwrap_or(u64::MAX);
        let change = change_totals(TAKE_FROM_TOTALS, count, bytes.unsigned_abs());
        change.execute(&mut transaction).await?;
        transaction.commit().await?;
        Ok(count)
    }

    /// True if no delivery of this message is parked any more.
    async fn is_over(
        &self,
        transaction: &mut Tx<B::Database>,
        message: ParkedId,
    ) -> sqlx::Result<bool> {
        let rest = sql(REST_OF_MESSAGE).bind(message.bytes());
        let rest = rest.bind(message.last_of_message().bytes());
        Ok(rest.optional::<(Vec<u8>,)>(transaction).await?.is_none())
    }
}

pub(super) fn change_totals<DB: SqlDatabase>(
    change: &'static str,
    deliveries: u64,
    bytes: u64,
) -> Statement<DB> {
    let number = |number| i64::try_from(number).unwrap_or(i64::MAX);
    sql(change).bind(number(deliveries)).bind(number(bytes))
}
