//! The store of one machine: a SQLite file, shared by all processes on it.
//!
//! Every write takes SQLite's write lock before it reads (`BEGIN IMMEDIATE`): a transaction that
//! reads first and writes later would be refused, not made to wait, when another process wrote in
//! between.

use async_trait::async_trait;
use sqlx::{Sqlite, SqlitePool, Transaction};

use super::{
    CircuitListing, CircuitPage, Intervention, Keys, MergedTallies, ProbeClaim, Reencrypted, Store,
    StoreError, SubscriptionStore, UnsettledCircuits,
    encryption::renew_all,
    error::within,
    keyring::Keyring,
    statements::{FORGET_QUEUE, QUEUES, REMOVE_TOKEN},
    subscriptions::Quotas,
};
use homing_domain::clock;
use homing_domain::{
    api_token::ApiToken,
    circuit::{Circuit, CircuitRules, Turn},
    outcome::Outcome,
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
mod subscriptions;
mod workfront;
#[cfg(test)]
mod tests;

use encryption::used_keys;

const BEGIN_WRITE: &str = "BEGIN IMMEDIATE";
const BUSY: i32 = 5;

/// A SQLite file that is known to be ours and up to date.
pub(super) struct SqliteStore {
    keyring: Keyring,
    quotas: Quotas,
    writer: SqlitePool,
    readers: SqlitePool,
}

impl SqliteStore {
    async fn write(&self) -> sqlx::Result<Transaction<'static, Sqlite>> {
        self.writer.begin_with(BEGIN_WRITE).await
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
