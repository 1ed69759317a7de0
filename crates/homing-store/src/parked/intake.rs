//! Adds what comes from the parking queue, so that nothing of it is there twice.
//!
//! A message that is added is noted in `parked_unacked` until the queue cannot send it again: until the
//! same intake, which acks every batch before the next, adds a later one, or for an hour. So
//!
//! - an id that is noted proves a commit whose answer was lost;
//! - a message that the queue marks as delivered before, with a digest that another batch noted, is
//!   that one: as many as are noted, so that equal messages are all kept.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::{
    Added, Intake, ParkedBounds, ParkedDelivery, ParkedId, ParkedLimit, ParkedMessage, place,
    read::{BYTES, REFUSED_KEPT_MS, ROWS},
    row::{COLUMNS, ParkedRow, bytes},
    write::{change_totals, push_ids},
};
use crate::{
    backend::{Backend, SqlStore},
    sealed,
    statement::{SqlDatabase, Statement, Tx, sql},
};

/// Rows of one statement: 19 values each, far below 32,766. Source: SQLite, *Limits*, 9; PostgreSQL
/// takes twice as many.
const ROWS_AT_ONCE: usize = 200;
/// The notes of an intake that has ended are forgotten after this time, once the queue has messages that
/// it never delivered: it delivers those first that returned.
const UNACKED_KEPT_MS: i64 = 60 * 60 * 1_000;

const ADD_TO_TOTALS: &str = "\
    UPDATE parked_totals \
    SET deliveries = deliveries + $1, bytes = bytes + $2, reached = $3, added = $4";

/// The earlier time at which a message was added.
enum Earlier {
    /// With this id: the answer to that commit was lost.
    Noted,
    /// Under this id, by another batch.
    As(ParkedId),
    /// In this same batch.
    Here,
}

/// Messages that were added and may come again, by digest.
type Unacked = BTreeMap<[u8; 32], Vec<Earlier>>;

impl<B: Backend> SqlStore<B> {
    /// The payloads of `messages` as they are stored; a large one takes milliseconds.
    pub(super) async fn sealed(&self, messages: &[ParkedMessage]) -> sqlx::Result<Vec<Vec<u8>>> {
        let keyring = self.keyring.clone();
        let clear: Vec<_> = messages.iter().map(|one| (one.id, one.payload.clone())).collect();
        let sealing = spawn_blocking(move || {
            let sealed = clear.iter().map(|(id, clear)| {
                let row = id.to_string();
                sealed::seal(&keyring, place(&row), clear)
            });
            sealed.collect()
        });
        sealing.await.map_err(|error| sqlx::Error::Io(io::Error::other(error)))?
    }

    /// Adds `messages` of `intake`, whose payloads are `sealed`.
    pub(super) async fn add_parked(
        &self,
        intake: Intake<'_>,
        messages: &[ParkedMessage],
        sealed: Vec<Vec<u8>>,
        bounds: ParkedBounds,
    ) -> sqlx::Result<Added> {
        let mut added = Added { messages: 0, deliveries: 0, limit: None };
        let mut transaction = self.begin_exclusive().await?;
        let before = Self::lock_totals(&mut transaction).await?;
        let mut totals = before.amount();
        // Before the messages: they refer to it.
        self.note_key(&mut transaction).await?;
        let known = Self::known(&mut transaction, messages).await?;
        let mut unacked = Self::unacked(&mut transaction, intake, messages).await?;
        let (mut new, mut noted, mut replaced) = (Vec::new(), Vec::new(), Vec::new());
        for (message, payload) in messages.iter().zip(sealed) {
            let is_noted = known.contains(&message.id);
            let before =
                if is_noted { Some(Earlier::Noted) } else { earlier(&mut unacked, message) };
            match before {
                Some(Earlier::Noted) => {}
                Some(Earlier::As(id)) => {
                    replaced.push(id);
                    noted.push((message.id, message.digest));
                }
                Some(Earlier::Here) => noted.push((message.id, None)),
                None => {
                    let grown = grown(totals, message, &payload);
                    added.limit = exceeded(grown, bounds);
                    if added.limit.is_some() {
                        break;
                    }
                    totals = grown;
                    new.push((message, payload));
                    noted.push((message.id, message.digest));
                }
            }
            added.messages = added.messages.saturating_add(1);
        }
        Self::forget_unacked(&mut transaction, intake, messages, &replaced).await?;
        Self::note_unacked(&mut transaction, intake, &noted).await?;
        let deliveries: Vec<_> = new.iter().flat_map(|(new, _)| &new.deliveries).collect();
        let urls = Self::urls(&mut transaction, &deliveries).await?;
        let number = before.added().saturating_add(i64::from(!new.is_empty()));
        for chunk in new.chunks(ROWS_AT_ONCE) {
            self.add_messages(chunk).execute(&mut transaction).await?;
        }
        for chunk in deliveries.chunks(ROWS_AT_ONCE) {
            insert(chunk, &urls, number).execute(&mut transaction).await?;
        }
        let (deliveries, bytes) = before.amount();
        added.deliveries = totals.0.saturating_sub(deliveries);
        let add = change_totals(ADD_TO_TOTALS, added.deliveries, totals.1.saturating_sub(bytes));
        // Nothing was to be added: it only was tried whether the store can be written to.
        let limit = if messages.is_empty() { before.limit() } else { added.limit };
        let reached = limit.map(|limit| match limit {
            ParkedLimit::Rows => ROWS,
            ParkedLimit::Bytes => BYTES,
        });
        add.bind(reached).bind(number).execute(&mut transaction).await?;
        transaction.commit().await?;
        Ok(added)
    }

    /// The ids among those of `messages` that a commit has noted whose answer was lost.
    async fn known(
        transaction: &mut Tx<B::Database>,
        messages: &[ParkedMessage],
    ) -> sqlx::Result<BTreeSet<ParkedId>> {
        let mut known = BTreeSet::new();
        for chunk in messages.chunks(ROWS_AT_ONCE) {
            let select = sql("SELECT id FROM parked_unacked WHERE id IN ");
            let select = push_ids(select, chunk.iter().map(|message| message.id));
            for (id,) in select.all::<(Vec<u8>,)>(transaction).await? {
                known.insert(ParkedId::from_bytes(&id)?);
            }
        }
        Ok(known)
    }

    /// Those that another batch added, and that `messages` may repeat.
    async fn unacked(
        transaction: &mut Tx<B::Database>,
        intake: Intake<'_>,
        messages: &[ParkedMessage],
    ) -> sqlx::Result<Unacked> {
        let returned = messages.iter().filter(|message| message.is_redelivered);
        let digests: BTreeSet<_> = returned.filter_map(|message| message.digest).collect();
        let digests: Vec<_> = digests.into_iter().collect();
        let mut unacked = Unacked::new();
        for chunk in digests.chunks(ROWS_AT_ONCE) {
            let mut select = sql("SELECT id, digest FROM parked_unacked WHERE queue = ");
            select = select.push_bind(intake.queue).push(" AND NOT (intake = ");
            select = select.push_bind(bytes(intake.id)).push(" AND batch = ");
            select = select.push_bind(number(intake.batch)).push(") AND digest IN ");
            for (index, digest) in chunk.iter().enumerate() {
                let before = if index == 0 { "(" } else { ", " };
                select = select.push(before).push_bind(digest.to_vec());
            }
            let select = select.push(") ORDER BY id");
            for (id, digest) in select.all::<(Vec<u8>, Vec<u8>)>(transaction).await? {
                let digest = digest.try_into().map_err(|_| sqlx::Error::decode("no SHA-256"))?;
                let id = ParkedId::from_bytes(&id)?;
                unacked.entry(digest).or_default().push(Earlier::As(id));
            }
        }
        Ok(unacked)
    }

    /// Forgets what cannot come again, and what is noted anew.
    async fn forget_unacked(
        transaction: &mut Tx<B::Database>,
        intake: Intake<'_>,
        messages: &[ParkedMessage],
        replaced: &[ParkedId],
    ) -> sqlx::Result<()> {
        for chunk in replaced.chunks(ROWS_AT_ONCE) {
            let forget = sql("DELETE FROM parked_unacked WHERE id IN ");
            push_ids(forget, chunk.iter().copied()).execute(transaction).await?;
        }
        let acked = sql("DELETE FROM parked_unacked WHERE intake = ").push_bind(bytes(intake.id));
        let acked = acked.push(" AND batch < ").push_bind(number(intake.batch));
        acked.execute(transaction).await?;
        if messages.iter().any(|message| !message.is_redelivered) {
            let old = sql("DELETE FROM parked_unacked WHERE noted_ms < ").push(B::DIALECT.now_ms);
            old.push(" - ").push_bind(UNACKED_KEPT_MS).execute(transaction).await?;
        }
        Ok(())
    }

    async fn note_unacked(
        transaction: &mut Tx<B::Database>,
        intake: Intake<'_>,
        noted: &[(ParkedId, Option<[u8; 32]>)],
    ) -> sqlx::Result<()> {
        for chunk in noted.chunks(ROWS_AT_ONCE) {
            let mut note = sql(
                "INSERT INTO parked_unacked (id, queue, intake, batch, digest, noted_ms) VALUES ",
            );
            for (index, (id, digest)) in chunk.iter().enumerate() {
                note = note.push(if index == 0 { "(" } else { ", (" }).push_bind(id.bytes());
                note = note.push(", ").push_bind(intake.queue);
                note = note.push(", ").push_bind(bytes(intake.id));
                note = note.push(", ").push_bind(number(intake.batch));
                note = note.push(", ").push_bind(digest.map(|digest| digest.to_vec()));
                note = note.push(", ").push(B::DIALECT.now_ms).push(")");
            }
            note.execute(transaction).await?;
        }
        Ok(())
    }

    fn add_messages(&self, messages: &[(&ParkedMessage, Vec<u8>)]) -> Statement<B::Database> {
        let mut add = sql("INSERT INTO parked_messages (id, bytes, key_id, payload) VALUES ");
        for (index, (message, payload)) in messages.iter().enumerate() {
            let bytes = i64::try_from(payload.len()).unwrap_or(i64::MAX);
            add = add.push(if index == 0 { "(" } else { "), (" }).push_bind(message.id.bytes());
            add = add.push(", ").push_bind(bytes);
            add = add.push(", ").push_bind(self.keyring.primary().as_str());
            add = add.push(", ").push_bind(payload.as_slice());
        }
        add.push(")")
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

    /// Notes what `keeper` cannot add, in place of what it noted before.
    pub(super) async fn note_not_added(&self, keeper: Uuid, messages: u32) -> sqlx::Result<()> {
        let mut transaction = self.begin_exclusive().await?;
        let forget = sql("DELETE FROM parked_refused WHERE keeper = ").push_bind(bytes(keeper));
        let forget = forget.push(" OR noted_ms < ").push(B::DIALECT.now_ms);
        forget.push(" - ").push_bind(REFUSED_KEPT_MS).execute(&mut transaction).await?;
        if messages > 0 {
            let note = sql("INSERT INTO parked_refused (keeper, messages, noted_ms) VALUES (");
            let note = note.push_bind(bytes(keeper)).push(", ").push_bind(i64::from(messages));
            let note = note.push(", ").push(B::DIALECT.now_ms).push(")");
            note.execute(&mut transaction).await?;
        }
        transaction.commit().await
    }
}

/// The earlier time at which the queue delivered `message`, if it was added then.
fn earlier(unacked: &mut Unacked, message: &ParkedMessage) -> Option<Earlier> {
    let digest = message.digest?;
    if message.is_redelivered {
        return unacked.get_mut(&digest)?.pop();
    }
    // A queue that lost its leader may deliver it again at once.
    unacked.entry(digest).or_default().push(Earlier::Here);
    None
}

fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Deliveries and bytes with `message`.
fn grown(totals: (u64, u64), message: &ParkedMessage, payload: &[u8]) -> (u64, u64) {
    let (deliveries, bytes) = totals;
    let rows = u64::try_from(message.deliveries.len()).unwrap_or(u64::MAX);
    let more = u64::try_from(payload.len()).unwrap_or(u64::MAX);
    (deliveries.saturating_add(rows), bytes.saturating_add(more))
}

fn exceeded((deliveries, bytes): (u64, u64), bounds: ParkedBounds) -> Option<ParkedLimit> {
    if deliveries > bounds.rows {
        return Some(ParkedLimit::Rows);
    }
    (bytes > bounds.bytes).then_some(ParkedLimit::Bytes)
}

/// Inserts deliveries, at least one, in the transaction with this `number`.
fn insert<DB: SqlDatabase>(
    deliveries: &[&ParkedDelivery],
    urls: &BTreeMap<String, String>,
    number: i64,
) -> Statement<DB> {
    let mut insert = sql(format!("INSERT INTO parked (added, {COLUMNS}) VALUES "));
    for (index, delivery) in deliveries.iter().enumerate() {
        let subscription = delivery.recipient.map(|(subscription, _)| subscription.to_string());
        let row = ParkedRow::new(delivery, subscription.and_then(|id| urls.get(&id)));
        insert = insert.push(if index == 0 { "(" } else { "), (" }).push_bind(number);
        macro_rules! push {
            ($($column:ident),*) => {
                insert$(.push(", ").push_bind(row.$column))*
            };
        }
        insert = push!(
            id,
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
            body_bytes,
            error
        );
    }
    insert.push(")")
}
