//! The store of a pool on several machines: a PostgreSQL database, version 15 or later.
//!
//! # Locks
//!
//! No two transactions of homing can wait for each other:
//!
//! - Whoever writes a subscription locks the row `subscriptions` of `versions` before anything
//!   else, so that these writes, which are rare, go one after the other.
//! - Whoever writes circuits locks all of them first, in the order of their URLs, and the row
//!   `circuits` of `versions` last, in a trigger, and only where a state has changed. Behind that
//!   row it waits for nothing. Pruning waits for nothing at all.
//! - Whoever writes to the attempt log locks the row of `attempt_rows` behind its rows; whoever
//!   prunes it locks that row first, and deletes what nobody writes any more.
//! - Whoever tells figures writes rows of its own, then dues in their order; pruning those skips what
//!   is locked.
//! - Nobody writes two of these, and the names of queues are written in their order, in one statement.
//!
//! A person who works with psql keeps no such order; what PostgreSQL then ends as a deadlock is
//! [`StoreError::Busy`] and can be repeated.

use async_trait::async_trait;
use futures_util::{TryFutureExt, future::BoxFuture};
use sqlx::{Connection, PgPool, error::DatabaseError, postgres::PgConnectOptions};

use super::{
    CircuitListing, CircuitPage, DEADLINE, Intervention, Keys, MergedTallies, ProbeClaim,
    Reencrypted, Store, StoreError, SubscriptionStore, UnsettledCircuits,
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

pub(super) use open::location;

/// One instant, however many statements follow.
const BEGIN_SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// Taken before a subscription is written.
const LOCK: &str = "SELECT version FROM versions WHERE name = 'subscriptions' FOR UPDATE";

const REMEMBER_QUEUES: &str = "\
    INSERT INTO queues (name, first_declared_ms) \
    SELECT name, $2 FROM unnest($1::text[]) AS new (name) GROUP BY name ORDER BY name \
    ON CONFLICT (name) DO NOTHING";

/// Another transaction kept a lock for too long, or waits for one of ours.
/// Source: PostgreSQL, *Error Codes*, as are the others.
const LOCK_NOT_AVAILABLE: &str = "55P03";
const DEADLOCK_DETECTED: &str = "40P01";
/// `statement_timeout` has passed.
const QUERY_CANCELED: &str = "57014";

/// A PostgreSQL database whose schema is up to date.
pub(super) struct PostgresStore {
    keyring: Keyring,
    quotas: Quotas,
    pool: PgPool,
    options: PgConnectOptions,
    location: String,
}

impl PostgresStore {
    /// [`ask`], and says why where no connection could be had. Boxed: connecting is large, and calls
    /// of the store are part of every delivery.
    fn ask<'a, T: Send + 'a>(
        &'a self,
        step: &'static str,
        work: impl Future<Output = sqlx::Result<T>> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        Box::pin(async move {
            // The pool does not say why it could not connect in time, so that is tried once more.
            let mut no_connection = false;
            let noting = work.inspect_err(|error| {
                no_connection = matches!(error, sqlx::Error::PoolTimedOut);
            });
            let answer = ask(step, noting).await;
            if no_connection {
                let connection = open::connect(&self.options, &self.location).await?;
                // It can be had: all others are busy.
                within("closing a connection", connection.close()).await?;
            }
            answer
        })
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn keys(&self) -> Result<Keys, StoreError> {
        let used = used_keys(&self.pool).await?;
        Ok(Keys { primary: self.keyring.primary().clone(), used })
    }

    async fn reencrypt(&self) -> Result<Reencrypted, StoreError> {
        renew_all(self).await
    }

    async fn insert_token(&self, token: &ApiToken) -> Result<bool, StoreError> {
        self.ask("adding a token", self.add_token(token)).await
    }

    async fn remove_token(&self, name: &str) -> Result<bool, StoreError> {
        let delete = sqlx::query(REMOVE_TOKEN).bind(name.to_owned()).execute(&self.pool);
        Ok(self.ask("removing a token", delete).await?.rows_affected() > 0)
    }

    async fn tokens(&self) -> Result<Vec<ApiToken>, StoreError> {
        self.ask("reading the tokens", self.list_tokens()).await
    }

    async fn merge_tallies(
        &self,
        tallies: &[(EndpointUrl, Tally)],
        rules: &CircuitRules,
        now: UnixMillis,
    ) -> Result<MergedTallies, StoreError> {
        self.ask("counting attempts", self.merge(tallies, rules, now)).await
    }

    async fn claim_probe(
        &self,
        url: &EndpointUrl,
        rules: &CircuitRules,
        now: UnixMillis,
    ) -> Result<ProbeClaim, StoreError> {
        let claim = self.ask("claiming a probe", self.claim(url, rules, now)).await?;
        claim.map_err(StoreError::CorruptCircuit)
    }

    async fn probe_ended(
        &self,
        url: &EndpointUrl,
        outcome: &Outcome,
        rules: &CircuitRules,
        now: UnixMillis,
    ) -> Result<Turn, StoreError> {
        let ended = self.ask("counting a probe", self.end_probe(url, outcome, rules, now)).await?;
        ended.map_err(StoreError::CorruptCircuit)
    }

    async fn set_circuit(
        &self,
        url: &EndpointUrl,
        intervention: Intervention,
        now: UnixMillis,
    ) -> Result<Turn, StoreError> {
        self.ask("changing a circuit", self.intervene(url, intervention, now)).await
    }

    async fn circuit(&self, url: &EndpointUrl) -> Result<Option<Circuit>, StoreError> {
        let found = self.ask("reading a circuit", self.find_circuit(url)).await?;
        found.map_err(StoreError::CorruptCircuit)
    }

    async fn circuits(&self, page: &CircuitPage) -> Result<CircuitListing, StoreError> {
        self.ask("listing circuits", self.list_circuits(page)).await
    }

    async fn unsettled_circuits(&self) -> Result<UnsettledCircuits, StoreError> {
        self.read_unsettled().await
    }

    async fn circuits_version(&self) -> Result<i64, StoreError> {
        self.ask("reading the version of the circuits", self.version_of_circuits()).await
    }

    async fn prune_circuits(&self, before: UnixMillis) -> Result<u64, StoreError> {
        self.ask("forgetting closed circuits", self.prune(before)).await
    }

    async fn remember_queues(&self, names: &[String]) -> Result<(), StoreError> {
        let remember = sqlx::query(REMEMBER_QUEUES).bind(names.to_vec()).bind(clock::now().get());
        self.ask("remembering queues", remember.execute(&self.pool)).await.map(drop)
    }

    async fn known_queues(&self) -> Result<Vec<String>, StoreError> {
        let names = sqlx::query_scalar(QUEUES).fetch_all(&self.pool);
        self.ask("reading the known queues", names).await
    }

    async fn forget_queue(&self, name: &str) -> Result<bool, StoreError> {
        let forget = sqlx::query(FORGET_QUEUE).bind(name.to_owned()).execute(&self.pool);
        Ok(self.ask("forgetting a queue", forget).await?.rows_affected() > 0)
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.subscriptions_version().await.map(drop)
    }

    async fn close(&self) {
        self.pool.close().await;
    }
}

/// [`within`] the deadline, with PostgreSQL's words for what took too long translated.
async fn ask<T>(
    step: &'static str,
    work: impl Future<Output = sqlx::Result<T>>,
) -> Result<T, StoreError> {
    within(step, work).await.map_err(|error| {
        let StoreError::Step { source, .. } = &error else { return error };
        match source.as_database_error().and_then(DatabaseError::code).as_deref() {
            Some(LOCK_NOT_AVAILABLE | DEADLOCK_DETECTED) => StoreError::Busy { step },
            Some(QUERY_CANCELED) => StoreError::TimedOut { step, deadline: DEADLINE },
            Some(_) | None => error,
        }
    })
}
