//! Adds, claims and removes parked deliveries.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Added, Claim, ParkedBounds, ParkedDelivery, ParkedId, ParkedLimit, ParkedMessage, ParkedPage,
    ParkedTotals,
    read::{BYTES, ROWS, TotalsRow},
    row::{COLUMNS, ParkedRow},
    search::{Claimed, Search},
};
use crate::{
    backend::{Backend, SqlStore},
    statement::{SqlDatabase, Statement, Tx, sql},
};
use homing_domain::time::UnixMillis;

/// Rows of one statement: 17 values each, far below 32,766. Source: SQLite, *Limits*, 9; PostgreSQL
/// takes twice as many.
const ROWS_AT_ONCE: usize = 100;

const ADD_TO_TOTALS: &str =
    "UPDATE parked_totals SET deliveries = deliveries + $1, bytes = bytes + $2, reached = $3";
/// Never below zero: rows that an operator deleted may still be counted.
const TAKE_FROM_TOTALS: &str = "\
    UPDATE parked_totals \
    SET deliveries = CASE WHEN deliveries > $1 THEN deliveries - $1 ELSE 0 END, \
    bytes = CASE WHEN bytes > $2 THEN bytes - $2 ELSE 0 END";
const ADD_MESSAGE: &str =
    "INSERT INTO parked_messages (id, bytes, key_id, payload) VALUES ($1, $2, $3, $4)";
const UNACKED: &str = "SELECT id, digest FROM parked_unacked WHERE queue = $1 ORDER BY id";
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
    async fn lock_totals(transaction: &mut Tx<B::Database>) -> sqlx::Result<ParkedTotals> {
        let row: TotalsRow = sql(B::DIALECT.lock_parked).one(transaction).await?;
        Ok(row.into())
    }

    /// Adds `messages` of `queue`, whose payloads are `sealed`.
    pub(super) async fn add_parked(
        &self,
        queue: &str,
        messages: &[ParkedMessage],
        sealed: Vec<Vec<u8>>,
        bounds: ParkedBounds,
    ) -> sqlx::Result<Added> {
        let mut added = Added { messages: 0, deliveries: 0, limit: None };
        let mut transaction = self.begin_exclusive().await?;
        let mut totals = Self::lock_totals(&mut transaction).await?;
        let before = totals;
        let mut unacked = Self::unacked(&mut transaction, queue).await?;
        let mut new = Vec::new();
        for (message, payload) in messages.iter().zip(sealed) {
            let digest = message.digest.filter(|_| message.is_redelivered);
            let again = digest.and_then(|digest| unacked.get_mut(&digest[..]));
            if again.and_then(Vec::pop).is_none() {
                let grown = grown(totals, message, &payload);
                added.limit = exceeded(grown, bounds);
                if added.limit.is_some() {
                    break;
                }
                totals = grown;
                self.add_message(&mut transaction, message, payload).await?;
                new.push(message);
            }
            added.messages = added.messages.saturating_add(1);
        }
        if messages.iter().any(|message| !message.is_redelivered) {
            // What returned to the queue came before, so these were acked.
            let acked: Vec<_> = unacked.into_values().flatten().collect();
            Self::forget_unacked(&mut transaction, &acked).await?;
        }
        Self::note_unacked(&mut transaction, queue, &new).await?;
        let deliveries: Vec<_> = new.iter().flat_map(|message| &message.deliveries).collect();
        let urls = Self::urls(&mut transaction, &deliveries).await?;
        for chunk in deliveries.chunks(ROWS_AT_ONCE) {
            insert(chunk, &urls).execute(&mut transaction).await?;
        }
        self.note_key(&mut transaction).await?;
        added.deliveries = totals.deliveries.saturating_sub(before.deliveries);
        let bytes = totals.bytes.saturating_sub(before.bytes);
        let add = change_totals(ADD_TO_TOTALS, added.deliveries, bytes);
        // Nothing was to be added: it only was tried whether the store can be written to.
        let limit = if messages.is_empty() { totals.limit } else { added.limit };
        let reached = limit.map(|limit| match limit {
            ParkedLimit::Rows => ROWS,
            ParkedLimit::Bytes => BYTES,
        });
        add.bind(reached).execute(&mut transaction).await?;
        transaction.commit().await?;
        Ok(added)
    }

    /// The messages of `queue` that may come again, by digest.
    async fn unacked(
        transaction: &mut Tx<B::Database>,
        queue: &str,
    ) -> sqlx::Result<BTreeMap<Vec<u8>, Vec<Vec<u8>>>> {
        let rows: Vec<(Vec<u8>, Vec<u8>)> = sql(UNACKED).bind(queue).all(transaction).await?;
        let mut unacked = BTreeMap::<_, Vec<_>>::new();
        for (id, digest) in rows {
            unacked.entry(digest).or_default().push(id);
        }
        Ok(unacked)
    }

    async fn forget_unacked(
        transaction: &mut Tx<B::Database>,
        ids: &[Vec<u8>],
    ) -> sqlx::Result<()> {
        for chunk in ids.chunks(ROWS_AT_ONCE) {
            let mut forget = sql("DELETE FROM parked_unacked WHERE id IN ");
            for (index, id) in chunk.iter().enumerate() {
                forget = forget.push(if index == 0 { "(" } else { ", " }).push_bind(id.as_slice());
            }
            forget.push(")").execute(transaction).await?;
        }
        Ok(())
    }

    async fn note_unacked(
        transaction: &mut Tx<B::Database>,
        queue: &str,
        messages: &[&ParkedMessage],
    ) -> sqlx::Result<()> {
        let known = messages.iter().filter_map(|message| Some((message.id, message.digest?)));
        let known: Vec<_> = known.collect();
        for chunk in known.chunks(ROWS_AT_ONCE) {
            let mut note = sql("INSERT INTO parked_unacked (id, queue, digest) VALUES ");
            for (index, (id, digest)) in chunk.iter().enumerate() {
                note = note.push(if index == 0 { "(" } else { "), (" });
                note = note.push_bind(id.bytes()).push(", ").push_bind(queue);
                note = note.push(", ").push_bind(digest.to_vec());
            }
            note.push(")").execute(transaction).await?;
        }
        Ok(())
    }

    async fn add_message(
        &self,
        transaction: &mut Tx<B::Database>,
        message: &ParkedMessage,
        payload: Vec<u8>,
    ) -> sqlx::Result<()> {
        let bytes = i64::try_from(payload.len()).unwrap_or(i64::MAX);
        let add = sql(ADD_MESSAGE).bind(message.id.bytes()).bind(bytes);
        let add = add.bind(self.keyring.primary().as_str()).bind(payload);
        add.execute(transaction).await.map(drop)
    }

    /// The present URLs of the subscriptions of `deliveries`, by id.
    async fn urls(
        transaction: &mut Tx<B::Database>,
        deliveries: &[&ParkedDelivery],
    ) -> sqlx::Result<BTreeMap<String, String>> {
        let ids = deliveries.iter().filter_map(|delivery| delivery.recipient);
        let ids: BTreeSet<_> = ids.map(|(subscription, _)| subscription.to_string()).collect();
        let ids: Vec<_> = ids.into_iter().collect();
        let mut urls = BTreeMap::new();
        for chunk in ids.chunks(ROWS_AT_ONCE) {
            let mut select = sql("SELECT id, url FROM subscriptions WHERE id IN ");
            for (index, id) in chunk.iter().enumerate() {
                select = select.push(if index == 0 { "(" } else { ", " }).push_bind(id.as_str());
            }
            urls.extend(select.push(")").all::<(String, String)>(transaction).await?);
        }
        Ok(urls)
    }

    /// Claims what is found. The search is outside of the lock, so that what others have claimed
    /// meanwhile is left out; where that is everything, it searches again.
    pub(super) async fn claim_found(
        &self,
        search: &Search,
        page: &ParkedPage,
        claim: Claim,
    ) -> sqlx::Result<Vec<ParkedDelivery>> {
        let range = page.range(Claimed::NotAt(claim.now));
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
        let update = sql("UPDATE parked SET claimed_until_ms = ").push_bind(claim.until.get());
        let update = update.push(" WHERE claimed_until_ms <= ").push_bind(claim.now.get());
        let update = push_ids(update.push(" AND id IN "), ids);
        let rows = update.push(" RETURNING ").push(COLUMNS).all(&mut transaction).await?;
        transaction.commit().await?;
        Ok(rows)
    }

    pub(super) async fn move_claim(
        &self,
        ids: &[ParkedId],
        claim: Claim,
        until: UnixMillis,
    ) -> sqlx::Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let mut transaction = self.begin().await?;
        Self::lock_totals(&mut transaction).await?;
        let change = sql("UPDATE parked SET claimed_until_ms = ").push_bind(until.get());
        let change = change.push(" WHERE claimed_until_ms = ").push_bind(claim.until.get());
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

fn grown(totals: ParkedTotals, message: &ParkedMessage, payload: &[u8]) -> ParkedTotals {
    let rows = u64::try_from(message.deliveries.len()).unwrap_or(u64::MAX);
    let bytes = u64::try_from(payload.len()).unwrap_or(u64::MAX);
    ParkedTotals {
        deliveries: totals.deliveries.saturating_add(rows),
        bytes: totals.bytes.saturating_add(bytes),
        ..totals
    }
}

fn exceeded(totals: ParkedTotals, bounds: ParkedBounds) -> Option<ParkedLimit> {
    if totals.deliveries > bounds.rows {
        return Some(ParkedLimit::Rows);
    }
    (totals.bytes > bounds.bytes).then_some(ParkedLimit::Bytes)
}

fn change_totals<DB: SqlDatabase>(
    change: &'static str,
    deliveries: u64,
    bytes: u64,
) -> Statement<DB> {
    let number = |number| i64::try_from(number).unwrap_or(i64::MAX);
    sql(change).bind(number(deliveries)).bind(number(bytes))
}

/// Inserts deliveries, at least one.
fn insert<DB: SqlDatabase>(
    deliveries: &[&ParkedDelivery],
    urls: &BTreeMap<String, String>,
) -> Statement<DB> {
    let mut insert = sql(format!("INSERT INTO parked ({COLUMNS}) VALUES "));
    for (index, delivery) in deliveries.iter().enumerate() {
        let subscription = delivery.recipient.map(|(subscription, _)| subscription.to_string());
        let row = ParkedRow::new(delivery, subscription.and_then(|id| urls.get(&id)));
        insert = insert.push(if index == 0 { "(" } else { "), (" }).push_bind(row.id);
        macro_rules! push {
            ($($column:ident),*) => {
                insert$(.push(", ").push_bind(row.$column))*
            };
        }
        insert = push!(
            event,
            topic,
            subscription,
            delivery,
            url,
            reason,
            status,
            attempts,
            replays,
            parked_ms,
            received_ms,
            first_failure_ms,
            last_outcome,
            content_type,
            content_encoding,
            body_bytes
        );
    }
    insert.push(")")
}
