//! Circuits in SQLite: read, rule, write, in one transaction that holds the write lock from the
//! start, so that no worker's counts are lost and only one wins a probe.

use sqlx::{Sqlite, SqliteConnection, Transaction, sqlite::SqliteRow};

use super::{SqliteStore, StoreError, ask};
use crate::{
    MAX_PAGE_LIMIT,
    circuit_row::{self, CircuitRow},
    circuits::{
        CircuitListing, CircuitPage, Intervention, MAX_PRUNED, MergedTallies, ProbeClaim,
        UnsettledCircuits, UnsettledReading,
    },
    error::Readable,
    statements::{CIRCUIT, CIRCUITS_BEHIND, CIRCUITS_BEHIND_IN_STATE, CIRCUITS_VERSION},
};
use homing_domain::{
    circuit::{Circuit, CircuitRules, Turn},
    outcome::Outcome,
    tally::Tally,
    time::UnixMillis,
    url::EndpointUrl,
};

const WRITE: &str = "\
    INSERT INTO circuits (url, state, probe_at_ms, since_ms, reason, window_attempts, \
    window_failures, failures_in_a_row, successes, failures, first_attempt_ms, last_success_ms, \
    last_outcome, last_outcome_ms, created_ms, touched_ms) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16) \
    ON CONFLICT (url) DO UPDATE SET state = excluded.state, probe_at_ms = excluded.probe_at_ms, \
    since_ms = excluded.since_ms, reason = excluded.reason, \
    window_attempts = excluded.window_attempts, window_failures = excluded.window_failures, \
    failures_in_a_row = excluded.failures_in_a_row, successes = excluded.successes, \
    failures = excluded.failures, first_attempt_ms = excluded.first_attempt_ms, \
    last_success_ms = excluded.last_success_ms, last_outcome = excluded.last_outcome, \
    last_outcome_ms = excluded.last_outcome_ms, created_ms = excluded.created_ms, \
    touched_ms = excluded.touched_ms";

const PRUNE: &str = "\
    DELETE FROM circuits WHERE url IN \
    (SELECT url FROM circuits WHERE state = 'closed' AND touched_ms < ?1 LIMIT ?2)";

impl SqliteStore {
    pub(super) async fn merge(
        &self,
        tallies: &[(EndpointUrl, Tally)],
        rules: &CircuitRules,
        now: UnixMillis,
    ) -> sqlx::Result<MergedTallies> {
        let mut merged = MergedTallies::default();
        let mut transaction = self.write().await?;
        for (url, tally) in tallies {
            let rule = |circuit: &Circuit| circuit.after(tally, rules, now);
            match turn(&mut transaction, url, now, rule).await? {
                Ok((circuit, change)) => merged.circuits.push((url.clone(), circuit, change)),
                Err(corrupt) => merged.corrupt.push(corrupt),
            }
        }
        transaction.commit().await?;
        Ok(merged)
    }

    pub(super) async fn claim(
        &self,
        url: &EndpointUrl,
        rules: &CircuitRules,
        now: UnixMillis,
    ) -> sqlx::Result<Readable<ProbeClaim>> {
        let mut transaction = self.write().await?;
        let circuit = match known(&mut transaction, url).await? {
            Ok(known) => known.unwrap_or_else(|| Circuit::new(now)),
            Err(corrupt) => return Ok(Err(corrupt)),
        };
        let Some(claimed) = circuit.claim_probe(now, rules) else {
            transaction.rollback().await?;
            return Ok(Ok(ProbeClaim::Lost(circuit)));
        };
        keep(&mut transaction, url, &claimed, now).await?;
        transaction.commit().await?;
        Ok(Ok(ProbeClaim::Won(claimed)))
    }

    pub(super) async fn end_probe(
        &self,
        url: &EndpointUrl,
        outcome: &Outcome,
        rules: &CircuitRules,
        now: UnixMillis,
    ) -> sqlx::Result<Readable<Turn>> {
        let mut transaction = self.write().await?;
        let rule = |circuit: &Circuit| circuit.after_probe(outcome, now, rules);
        let turned = turn(&mut transaction, url, now, rule).await?;
        transaction.commit().await?;
        Ok(turned)
    }

    pub(super) async fn intervene(
        &self,
        url: &EndpointUrl,
        intervention: Intervention,
        now: UnixMillis,
    ) -> sqlx::Result<Turn> {
        let mut transaction = self.write().await?;
        // One that cannot be read is replaced: this is how a person gets rid of it.
        let known = known(&mut transaction, url).await?.unwrap_or_default();
        let turned = intervention.turn(known, now);
        keep(&mut transaction, url, &turned.0, now).await?;
        transaction.commit().await?;
        Ok(turned)
    }

    pub(super) async fn find_circuit(
        &self,
        url: &EndpointUrl,
    ) -> sqlx::Result<Readable<Option<Circuit>>> {
        let mut connection = self.readers.acquire().await?;
        known(&mut connection, url).await
    }

    pub(super) async fn list_circuits(&self, page: &CircuitPage) -> sqlx::Result<CircuitListing> {
        let mut connection = self.readers.acquire().await?;
        listing(&mut connection, page).await
    }

    /// In batches, each with a deadline of its own, at one instant: a transaction sees one.
    pub(super) async fn read_unsettled(&self) -> Result<UnsettledCircuits, StoreError> {
        let begun = async {
            let mut transaction = self.readers.begin().await?;
            let version = sqlx::query_scalar(CIRCUITS_VERSION).fetch_one(&mut *transaction).await?;
            Ok((transaction, version))
        };
        let (mut transaction, version) =
            ask("beginning to read the circuits that are not closed", begun).await?;
        let mut reading = UnsettledReading::new(version);
        while let Some(page) = reading.page() {
            let page = listing(&mut transaction, page);
            reading.add(ask("reading the circuits that are not closed", page).await?);
        }
        ask("ending to read the circuits that are not closed", transaction.rollback()).await?;
        Ok(reading.end())
    }

    pub(super) async fn version_of_circuits(&self) -> sqlx::Result<i64> {
        sqlx::query_scalar(CIRCUITS_VERSION).fetch_one(&self.readers).await
    }

    pub(super) async fn prune(&self, before: UnixMillis) -> sqlx::Result<u64> {
        let mut transaction = self.write().await?;
        let prune = sqlx::query(PRUNE).bind(before.get()).bind(MAX_PRUNED);
        let pruned = prune.execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(pruned.rows_affected())
    }
}

/// Applies `rule` to the circuit of `url`, a new one where there is none, and keeps what comes of
/// it. One that cannot be read is left as it is.
async fn turn(
    transaction: &mut Transaction<'static, Sqlite>,
    url: &EndpointUrl,
    now: UnixMillis,
    rule: impl FnOnce(&Circuit) -> Turn,
) -> sqlx::Result<Readable<Turn>> {
    let circuit = match known(transaction, url).await? {
        Ok(known) => known.unwrap_or_else(|| Circuit::new(now)),
        Err(corrupt) => return Ok(Err(corrupt)),
    };
    let turned = rule(&circuit);
    keep(transaction, url, &turned.0, now).await?;
    Ok(Ok(turned))
}

async fn known(
    connection: &mut SqliteConnection,
    url: &EndpointUrl,
) -> sqlx::Result<Readable<Option<Circuit>>> {
    let row = sqlx::query(CIRCUIT).bind(url.as_str().to_owned()).fetch_optional(connection).await?;
    let read = row.as_ref().map(circuit_row::read).transpose()?;
    Ok(read.transpose().map(|found| found.map(|(_url, circuit)| circuit)))
}

async fn keep(
    connection: &mut SqliteConnection,
    url: &EndpointUrl,
    circuit: &Circuit,
    now: UnixMillis,
) -> sqlx::Result<()> {
    let row = CircuitRow::from(circuit);
    sqlx::query(WRITE)
        .bind(url.as_str().to_owned())
        .bind(row.state)
        .bind(row.probe_at_ms)
        .bind(row.since_ms)
        .bind(row.reason)
        .bind(row.window_attempts)
        .bind(row.window_failures)
        .bind(row.consecutive_failures)
        .bind(row.successes)
        .bind(row.failures)
        .bind(row.first_attempt_ms)
        .bind(row.last_success_ms)
        .bind(row.last_outcome)
        .bind(row.last_outcome_ms)
        .bind(row.created_ms)
        .bind(now.get())
        .execute(connection)
        .await?;
    Ok(())
}

async fn listing(
    connection: &mut SqliteConnection,
    page: &CircuitPage,
) -> sqlx::Result<CircuitListing> {
    let limit = page.limit.clamp(1, MAX_PAGE_LIMIT);
    let after = page.after.clone().unwrap_or_default();
    let statement = if page.state.is_some() { CIRCUITS_BEHIND_IN_STATE } else { CIRCUITS_BEHIND };
    let query = sqlx::query(statement).bind(after).bind(limit.saturating_add(1));
    let query = match page.state {
        Some(state) => query.bind(state.as_str()),
        None => query,
    };
    let rows: Vec<SqliteRow> = query.fetch_all(connection).await?;
    circuit_row::page(&rows, limit)
}
