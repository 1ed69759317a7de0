//! The store of one machine: a SQLite file, shared by all processes on it.
//!
//! Every write takes SQLite's write lock before it reads (`BEGIN IMMEDIATE`): a transaction that
//! reads first and writes later would be refused, not made to wait, when another process wrote in
//! between.

use async_trait::async_trait;
use futures_util::TryFutureExt;
use sqlx::{Sqlite, SqliteConnection, SqlitePool, Transaction, sqlite::SqliteRow};

use super::{
    CircuitListing, CircuitPage, Intervention, Keys, Listing, MergedTallies, PAGE_LIMIT_MAX, Page,
    ProbeClaim, Reencrypted, Snapshot, Store, StoreError, UnsettledCircuits,
    encryption::renew_all,
    error::within,
    keyring::Keyring,
    row::{self, Written, parse_id},
    statements::{
        AT_URL, BEHIND, BY_FINGERPRINT, BY_ID, COUNT, EXISTS, FORGET_QUEUE, INSERT, QUEUES, REMOVE,
        REMOVE_TOKEN, UPDATE, VERSION,
    },
};
use crate::clock;
use crate::domain::{
    api_token::ApiToken,
    circuit::{Circuit, CircuitRules, Turn},
    id::SubscriptionId,
    outcome::Outcome,
    subscription::Subscription,
    tally::Tally,
    time::UnixMillis,
    url::EndpointUrl,
};

mod activity;
mod attempts;
mod circuits;
mod encryption;
mod open;
mod publications;
mod sources;
mod workfront;
#[cfg(test)]
mod tests;

use encryption::used_keys;

const BEGIN_WRITE: &str = "BEGIN IMMEDIATE";
const BUSY: i32 = 5;

/// A SQLite file that is known to be ours and up to date.
pub(super) struct SqliteStore {
    keyring: Keyring,
    writer: SqlitePool,
    readers: SqlitePool,
}

impl SqliteStore {
    async fn write(&self) -> sqlx::Result<Transaction<'static, Sqlite>> {
        self.writer.begin_with(BEGIN_WRITE).await
    }

    async fn insert(&self, subscription: &Subscription) -> sqlx::Result<Written> {
        let mut transaction = self.write().await?;
        self.note_key(&mut transaction).await?;
        let insert = row::bind(INSERT, subscription, &self.keyring)?;
        let insert = insert.bind(subscription.created.get());
        let inserted = insert.execute(&mut *transaction).await?;
        if inserted.rows_affected() > 0 {
            transaction.commit().await?;
            return Ok(Written::Done);
        }
        let existing = with_fingerprint_of(subscription, &mut transaction).await?;
        transaction.rollback().await?;
        existing.map(Written::Duplicate).ok_or(sqlx::Error::RowNotFound)
    }

    async fn update(&self, subscription: &Subscription) -> sqlx::Result<Written> {
        let mut transaction = self.write().await?;
        let exists = sqlx::query_scalar(EXISTS).bind(subscription.id.to_string());
        if !exists.fetch_one(&mut *transaction).await? {
            transaction.rollback().await?;
            return Ok(Written::Missing);
        }
        match with_fingerprint_of(subscription, &mut transaction).await? {
            Some(other) if other != subscription.id => {
                transaction.rollback().await?;
                Ok(Written::Duplicate(other))
            }
            Some(_) | None => {
                self.note_key(&mut transaction).await?;
                let update = row::bind(UPDATE, subscription, &self.keyring)?;
                update.execute(&mut *transaction).await?;
                transaction.commit().await?;
                Ok(Written::Done)
            }
        }
    }

    async fn remember(&self, names: &[String]) -> sqlx::Result<()> {
        let now = clock::now();
        let mut transaction = self.write().await?;
        for name in names {
            let insert = "INSERT INTO queues (name, first_declared_ms) VALUES (?1, ?2) \
                          ON CONFLICT (name) DO NOTHING";
            let insert = sqlx::query(insert).bind(name).bind(now.get());
            insert.execute(&mut *transaction).await?;
        }
        transaction.commit().await
    }

    /// Deletes at most one row, found by a text.
    async fn delete(&self, statement: &'static str, key: &str) -> sqlx::Result<bool> {
        let mut transaction = self.write().await?;
        let deleted = sqlx::query(statement).bind(key).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(deleted.rows_affected() > 0)
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn insert_subscription(&self, subscription: &Subscription) -> Result<(), StoreError> {
        let written = ask("adding a subscription", self.insert(subscription)).await?;
        written.into_answer(subscription.id)
    }

    async fn update_subscription(&self, subscription: &Subscription) -> Result<(), StoreError> {
        let written = ask("changing a subscription", self.update(subscription)).await?;
        written.into_answer(subscription.id)
    }

    async fn remove_subscription(&self, id: SubscriptionId) -> Result<bool, StoreError> {
        let id = id.to_string();
        let delete = self.delete(REMOVE, &id);
        ask("removing a subscription", delete).await
    }

    async fn subscription(&self, id: SubscriptionId) -> Result<Option<Subscription>, StoreError> {
        let row = sqlx::query(BY_ID).bind(id.to_string()).fetch_optional(&self.readers);
        let read = |row: &SqliteRow| row::read(row, &self.keyring);
        let read = row.and_then(async |row| row.as_ref().map(read).transpose());
        let read = ask("reading a subscription", read).await?;
        read.transpose().map_err(StoreError::Corrupt)
    }

    async fn subscriptions(&self, page: Page) -> Result<Listing, StoreError> {
        let limit = page.limit.clamp(1, PAGE_LIMIT_MAX);
        let read = async {
            let mut connection = self.readers.acquire().await?;
            read_page(&mut connection, page.after, limit, &self.keyring).await
        };
        ask("listing subscriptions", read).await
    }

    async fn subscriptions_at(&self, url: &EndpointUrl, page: Page) -> Result<Listing, StoreError> {
        let limit = page.limit.clamp(1, PAGE_LIMIT_MAX);
        let after = page.after.map(|id| id.to_string()).unwrap_or_default();
        let rows = sqlx::query(AT_URL).bind(after).bind(limit.saturating_add(1)).bind(url.as_str());
        let rows = rows.fetch_all(&self.readers);
        let read = rows.and_then(async |rows| row::page(&rows, limit, &self.keyring));
        ask("listing the subscriptions of a URL", read).await
    }

    async fn all_subscriptions(&self) -> Result<Snapshot, StoreError> {
        let mut snapshot = Snapshot::default();
        let begun = async {
            // One transaction sees one instant, however long the batches take.
            let mut transaction = self.readers.begin().await?;
            snapshot.version = sqlx::query_scalar(VERSION).fetch_one(&mut *transaction).await?;
            Ok(transaction)
        };
        let mut transaction = ask("beginning to read all subscriptions", begun).await?;
        let mut after = None;
        loop {
            let page = read_page(&mut transaction, after, PAGE_LIMIT_MAX, &self.keyring);
            let page = ask("reading all subscriptions", page).await?;
            snapshot.subscriptions.extend(page.subscriptions);
            snapshot.corrupt.extend(page.corrupt);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        ask("ending to read all subscriptions", transaction.rollback()).await?;
        Ok(snapshot)
    }

    async fn count_subscriptions(&self) -> Result<u64, StoreError> {
        let count = sqlx::query_scalar(COUNT);
        let count: i64 = ask("counting subscriptions", count.fetch_one(&self.readers)).await?;
        Ok(count.unsigned_abs())
    }

    async fn subscriptions_version(&self) -> Result<i64, StoreError> {
        let version = sqlx::query_scalar(VERSION).fetch_one(&self.readers);
        ask("reading the version of the subscriptions", version).await
    }

    async fn keys(&self) -> Result<Keys, StoreError> {
        let used = used_keys(&self.readers).await?;
        Ok(Keys { primary: self.keyring.primary().clone(), used })
    }

    async fn reencrypt(&self) -> Result<Reencrypted, StoreError> {
        renew_all(self).await
    }

    async fn insert_token(&self, token: &ApiToken) -> Result<bool, StoreError> {
        ask("adding a token", self.add_token(token)).await
    }

    async fn remove_token(&self, name: &str) -> Result<bool, StoreError> {
        let delete = self.delete(REMOVE_TOKEN, name);
        ask("removing a token", delete).await
    }

    async fn tokens(&self) -> Result<Vec<ApiToken>, StoreError> {
        ask("reading the tokens", self.list_tokens()).await
    }

    async fn merge_tallies(
        &self,
        tallies: &[(EndpointUrl, Tally)],
        rules: &CircuitRules,
        now: UnixMillis,
    ) -> Result<MergedTallies, StoreError> {
        ask("counting attempts", self.merge(tallies, rules, now)).await
    }

    async fn claim_probe(
        &self,
        url: &EndpointUrl,
        rules: &CircuitRules,
        now: UnixMillis,
    ) -> Result<ProbeClaim, StoreError> {
        let claim = ask("claiming a probe", self.claim(url, rules, now)).await?;
        claim.map_err(StoreError::CorruptCircuit)
    }

    async fn probe_ended(
        &self,
        url: &EndpointUrl,
        outcome: &Outcome,
        rules: &CircuitRules,
        now: UnixMillis,
    ) -> Result<Turn, StoreError> {
        let ended = ask("counting a probe", self.end_probe(url, outcome, rules, now)).await?;
        ended.map_err(StoreError::CorruptCircuit)
    }

    async fn set_circuit(
        &self,
        url: &EndpointUrl,
        intervention: Intervention,
        now: UnixMillis,
    ) -> Result<Turn, StoreError> {
        ask("changing a circuit", self.intervene(url, intervention, now)).await
    }

    async fn circuit(&self, url: &EndpointUrl) -> Result<Option<Circuit>, StoreError> {
        let found = ask("reading a circuit", self.find_circuit(url)).await?;
        found.map_err(StoreError::CorruptCircuit)
    }

    async fn circuits(&self, page: &CircuitPage) -> Result<CircuitListing, StoreError> {
        ask("listing circuits", self.list_circuits(page)).await
    }

    async fn unsettled_circuits(&self) -> Result<UnsettledCircuits, StoreError> {
        self.read_unsettled().await
    }

    async fn circuits_version(&self) -> Result<i64, StoreError> {
        ask("reading the version of the circuits", self.version_of_circuits()).await
    }

    async fn prune_circuits(&self, before: UnixMillis) -> Result<u64, StoreError> {
        ask("forgetting closed circuits", self.prune(before)).await
    }

    async fn remember_queues(&self, names: &[String]) -> Result<(), StoreError> {
        ask("remembering queues", self.remember(names)).await
    }

    async fn known_queues(&self) -> Result<Vec<String>, StoreError> {
        let names = sqlx::query_scalar(QUEUES);
        ask("reading the known queues", names.fetch_all(&self.readers)).await
    }

    async fn forget_queue(&self, name: &str) -> Result<bool, StoreError> {
        let delete = self.delete(FORGET_QUEUE, name);
        ask("forgetting a queue", delete).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.subscriptions_version().await.map(drop)
    }

    async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// [`within`] the deadline, with SQLite's word for a lock that did not come free translated.
async fn ask<T>(
    step: &'static str,
    work: impl Future<Output = sqlx::Result<T>>,
) -> Result<T, StoreError> {
    let busy = |error: &StoreError| {
        matches!(error,
        StoreError::Step { source, .. } if primary_code(source) == Some(BUSY))
    };
    within(step, work)
        .await
        .map_err(|error| if busy(&error) { StoreError::Busy { step } } else { error })
}

/// SQLite's result code without its extension. Source: SQLite, *Result and Error Codes*, 3.
fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let code: i32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(code & 0xff)
}

async fn with_fingerprint_of(
    subscription: &Subscription,
    transaction: &mut Transaction<'static, Sqlite>,
) -> sqlx::Result<Option<SubscriptionId>> {
    let fingerprint = row::fingerprint(&subscription.terms);
    let id: Option<String> = sqlx::query_scalar(BY_FINGERPRINT)
        .bind(fingerprint)
        .fetch_optional(&mut **transaction)
        .await?;
    id.as_deref().map(parse_id).transpose()
}

/// One page of what comes behind `after`.
async fn read_page(
    connection: &mut SqliteConnection,
    after: Option<SubscriptionId>,
    limit: u32,
    keyring: &Keyring,
) -> sqlx::Result<Listing> {
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    let behind = sqlx::query(BEHIND).bind(after).bind(limit.saturating_add(1));
    row::page(&behind.fetch_all(connection).await?, limit, keyring)
}
