//! The store of one machine: a SQLite file, shared by all processes on it.
//!
//! Every write takes SQLite's write lock before it reads (`BEGIN IMMEDIATE`): a transaction that
//! reads first and writes later would be refused, not made to wait, when another process wrote in
//! between.

use async_trait::async_trait;
use futures_util::TryFutureExt;
use sqlx::{
    Sqlite, SqlitePool, Transaction,
    query::Query,
    sqlite::{SqliteArguments, SqliteRow},
};

use super::{
    CircuitListing, CircuitPage, Corrupt, Intervention, Keys, Listing, MergedTallies,
    PAGE_LIMIT_MAX, Page, ProbeClaim, Reencrypted, Snapshot, Store, StoreError, UnsettledCircuits,
    error::within,
    keyring::Keyring,
    row::{self, SubscriptionRow, Written, parse_id},
};
use crate::clock;
use crate::domain::{
    api_token::ApiToken,
    circuit::{Circuit, CircuitRules, Turn},
    id::SubscriptionId,
    outcome::Outcome,
    subscription::{Subscription, Terms},
    tally::Tally,
    time::UnixMillis,
    url::EndpointUrl,
};

mod circuits;
mod encryption;
mod open;
#[cfg(test)]
mod tests;
mod tokens;

const BEGIN_WRITE: &str = "BEGIN IMMEDIATE";
const BUSY: i32 = 5;

/// Binds as [`bind`] does, and `created_ms` at last.
const INSERT: &str = "\
    INSERT INTO subscriptions (id, fingerprint, url, topics, filters, filter_connector, \
    auth_token, secrets, headers, schedule, rate_limit, description, updated_ms, created_ms) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14) \
    ON CONFLICT (fingerprint) DO NOTHING";

/// Binds as [`bind`] does.
const UPDATE: &str = "\
    UPDATE subscriptions SET fingerprint = ?2, url = ?3, topics = ?4, filters = ?5, \
    filter_connector = ?6, auth_token = ?7, secrets = ?8, headers = ?9, schedule = ?10, \
    rate_limit = ?11, description = ?12, updated_ms = ?13 WHERE id = ?1";

const BY_FINGERPRINT: &str = "SELECT id FROM subscriptions WHERE fingerprint = ?1";
const EXISTS: &str = "SELECT EXISTS (SELECT 1 FROM subscriptions WHERE id = ?1)";
const BY_ID: &str = "SELECT * FROM subscriptions WHERE id = ?1";
/// The empty text sorts before every id.
const BEHIND: &str = "SELECT * FROM subscriptions WHERE id > ?1 ORDER BY id LIMIT ?2";
const VERSION: &str = "SELECT version FROM versions WHERE name = 'subscriptions'";

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
        let row = SubscriptionRow::of(subscription, &self.keyring)?;
        let mut transaction = self.write().await?;
        self.note_key(&mut transaction).await?;
        let insert = bind(INSERT, row, &subscription.terms).bind(subscription.created.get());
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
        let row = SubscriptionRow::of(subscription, &self.keyring)?;
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
                bind(UPDATE, row, &subscription.terms).execute(&mut *transaction).await?;
                transaction.commit().await?;
                Ok(Written::Done)
            }
        }
    }

    /// Adds what comes behind `after` to the lists; returns the last id if there is more behind it.
    async fn read_batch(
        &self,
        connection: &mut sqlx::SqliteConnection,
        after: &str,
        limit: u32,
        (subscriptions, corrupt): (&mut Vec<Subscription>, &mut Vec<Corrupt>),
    ) -> sqlx::Result<Option<SubscriptionId>> {
        let one_more = limit.saturating_add(1);
        let mut rows =
            sqlx::query(BEHIND).bind(after.to_owned()).bind(one_more).fetch_all(connection).await?;
        let more = rows.len() > usize::try_from(limit).unwrap_or(usize::MAX);
        if more {
            rows.pop();
        }
        let mut last = None;
        for row in &rows {
            match row::read(row, &self.keyring)? {
                Ok(subscription) => {
                    last = Some(subscription.id);
                    subscriptions.push(subscription);
                }
                Err(flawed) => {
                    last = Some(flawed.subscription);
                    corrupt.push(flawed);
                }
            }
        }
        Ok(last.filter(|_| more))
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
        let delete = self.delete("DELETE FROM subscriptions WHERE id = ?1", &id);
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
        let mut listing = Listing::default();
        let after = page.after.map(|id| id.to_string()).unwrap_or_default();
        let limit = page.limit.clamp(1, PAGE_LIMIT_MAX);
        let batch = async {
            let mut connection = self.readers.acquire().await?;
            let into = (&mut listing.subscriptions, &mut listing.corrupt);
            self.read_batch(&mut connection, &after, limit, into).await
        };
        let last = ask("listing subscriptions", batch).await?;
        listing.next = last;
        Ok(listing)
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
        let mut after = String::new();
        loop {
            let into = (&mut snapshot.subscriptions, &mut snapshot.corrupt);
            let batch = self.read_batch(&mut transaction, &after, PAGE_LIMIT_MAX, into);
            match ask("reading all subscriptions", batch).await? {
                Some(last) => after = last.to_string(),
                None => break,
            }
        }
        ask("ending to read all subscriptions", transaction.rollback()).await?;
        Ok(snapshot)
    }

    async fn count_subscriptions(&self) -> Result<u64, StoreError> {
        let count = sqlx::query_scalar("SELECT count(*) FROM subscriptions");
        let count: i64 = ask("counting subscriptions", count.fetch_one(&self.readers)).await?;
        Ok(count.unsigned_abs())
    }

    async fn subscriptions_version(&self) -> Result<i64, StoreError> {
        let version = sqlx::query_scalar(VERSION).fetch_one(&self.readers);
        ask("reading the version of the subscriptions", version).await
    }

    async fn keys(&self) -> Result<Keys, StoreError> {
        let used = encryption::used_keys(&self.readers).await?;
        Ok(Keys { primary: self.keyring.primary().clone(), used })
    }

    async fn reencrypt(&self) -> Result<Reencrypted, StoreError> {
        self.renew_all().await
    }

    async fn insert_token(&self, token: &ApiToken) -> Result<bool, StoreError> {
        ask("adding a token", self.add_token(token)).await
    }

    async fn remove_token(&self, name: &str) -> Result<bool, StoreError> {
        let delete = self.delete("DELETE FROM api_tokens WHERE name = ?1", name);
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
        let names = sqlx::query_scalar("SELECT name FROM queues ORDER BY name");
        ask("reading the known queues", names.fetch_all(&self.readers)).await
    }

    async fn forget_queue(&self, name: &str) -> Result<bool, StoreError> {
        let delete = self.delete("DELETE FROM queues WHERE name = ?1", name);
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

fn bind(
    statement: &'static str,
    row: SubscriptionRow,
    terms: &Terms,
) -> Query<'static, Sqlite, SqliteArguments> {
    sqlx::query(statement)
        .bind(row.id)
        .bind(row::fingerprint(terms))
        .bind(row.url)
        .bind(row.topics)
        .bind(row.filters)
        .bind(row.filter_connector)
        .bind(row.confidential.auth_token)
        .bind(row.confidential.secrets)
        .bind(row.confidential.headers)
        .bind(row.schedule)
        .bind(row.rate_limit)
        .bind(row.description)
        .bind(row.updated_ms)
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
