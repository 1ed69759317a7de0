//! Circuits in PostgreSQL: lock, read, rule, write, in one transaction, so that no worker's counts
//! are lost and only one wins a probe. Each of the four is one statement, however many URLs.

use std::collections::BTreeMap;

use sqlx::{
    PgConnection, Postgres,
    postgres::{PgArguments, PgRow},
    query::Query,
};

use super::{BEGIN_SNAPSHOT, PostgresStore, StoreError, ask};
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

/// Inserts circuits in the order of their URLs, and locks those that are there: `DO UPDATE` locks
/// a row before it looks at its `WHERE`. Source: PostgreSQL, *INSERT*, `ON CONFLICT`. Binds as
/// [`bind`] does.
const LOCK: &str = "\
    INSERT INTO circuits (url, state, probe_at_ms, since_ms, reason, window_attempts, \
    window_failures, failures_in_a_row, successes, failures, first_attempt_ms, last_success_ms, \
    last_outcome, last_outcome_ms, created_ms, touched_ms) \
    SELECT new.*, $16 FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], \
    $5::text[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], \
    $11::bigint[], $12::bigint[], $13::text[], $14::bigint[], $15::bigint[]) AS new (url) \
    ORDER BY new.url COLLATE \"C\" \
    ON CONFLICT (url) DO UPDATE SET touched_ms = circuits.touched_ms WHERE FALSE";

/// Replaces circuits that are locked. Binds as [`bind`] does.
const KEEP: &str = "\
    UPDATE circuits SET state = new.state, probe_at_ms = new.probe_at_ms, \
    since_ms = new.since_ms, reason = new.reason, window_attempts = new.window_attempts, \
    window_failures = new.window_failures, failures_in_a_row = new.failures_in_a_row, \
    successes = new.successes, failures = new.failures, \
    first_attempt_ms = new.first_attempt_ms, last_success_ms = new.last_success_ms, \
    last_outcome = new.last_outcome, last_outcome_ms = new.last_outcome_ms, \
    created_ms = new.created_ms, touched_ms = $16 \
    FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::bigint[], \
    $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], \
    $13::text[], $14::bigint[], $15::bigint[]) AS new (url, state, probe_at_ms, since_ms, reason, \
    window_attempts, window_failures, failures_in_a_row, successes, failures, first_attempt_ms, \
    last_success_ms, last_outcome, last_outcome_ms, created_ms) \
    WHERE circuits.url = new.url";

const LOCKED: &str = "SELECT * FROM circuits WHERE url = ANY ($1)";

const LOCK_KNOWN: &str = "SELECT * FROM circuits WHERE url = $1 FOR UPDATE";

/// Leaves out what somebody else has locked, and so waits for nobody.
const PRUNE: &str = "\
    DELETE FROM circuits WHERE url IN \
    (SELECT url FROM circuits WHERE state = 'closed' AND touched_ms < $1 \
    LIMIT $2 FOR UPDATE SKIP LOCKED)";

impl PostgresStore {
    pub(super) async fn merge(
        &self,
        tallies: &[(EndpointUrl, Tally)],
        rules: &CircuitRules,
        now: UnixMillis,
    ) -> sqlx::Result<MergedTallies> {
        let mut merged = MergedTallies::default();
        if tallies.is_empty() {
            return Ok(merged);
        }
        let mut transaction = self.pool.begin().await?;
        let mut known = lock(&mut transaction, tallies.iter().map(|(url, _)| url), now).await?;
        for (url, tally) in tallies {
            match known.get_mut(url.as_str()).ok_or(sqlx::Error::RowNotFound)? {
                Ok(circuit) => {
                    let (next, change) = circuit.after(tally, rules, now);
                    circuit.clone_from(&next);
                    merged.circuits.push((url.clone(), next, change));
                }
                Err(corrupt) => merged.corrupt.push(corrupt.clone()),
            }
        }
        let readable =
            known.iter().filter_map(|(url, known)| Some((url.as_str(), known.as_ref().ok()?)));
        keep(&mut transaction, readable, now).await?;
        transaction.commit().await?;
        Ok(merged)
    }

    pub(super) async fn claim(
        &self,
        url: &EndpointUrl,
        rules: &CircuitRules,
        now: UnixMillis,
    ) -> sqlx::Result<Readable<ProbeClaim>> {
        let mut transaction = self.pool.begin().await?;
        let row = sqlx::query(LOCK_KNOWN).bind(url.as_str()).fetch_optional(&mut *transaction);
        let circuit = match row.await?.as_ref().map(circuit_row::read).transpose()? {
            None => Circuit::new(now),
            Some(Ok((_url, circuit))) => circuit,
            Some(Err(corrupt)) => {
                transaction.rollback().await?;
                return Ok(Err(corrupt));
            }
        };
        let Some(claimed) = circuit.claim_probe(now, rules) else {
            transaction.rollback().await?;
            return Ok(Ok(ProbeClaim::Lost(circuit)));
        };
        keep(&mut transaction, [(url.as_str(), &claimed)].into_iter(), now).await?;
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
        let turn = |known: Readable<Circuit>| known.map(|it| it.after_probe(outcome, now, rules));
        self.turn(url, now, turn).await
    }

    pub(super) async fn intervene(
        &self,
        url: &EndpointUrl,
        intervention: Intervention,
        now: UnixMillis,
    ) -> sqlx::Result<Turn> {
        // One that cannot be read is replaced: this is how a person gets rid of it.
        let turn = |known: Readable<Circuit>| Ok(intervention.turn(known.ok(), now));
        self.turn(url, now, turn).await?.map_err(sqlx::Error::decode)
    }

    /// Applies `rule` to the circuit of `url`, a new one where there is none, and keeps what comes
    /// of it.
    async fn turn(
        &self,
        url: &EndpointUrl,
        now: UnixMillis,
        rule: impl FnOnce(Readable<Circuit>) -> Readable<Turn>,
    ) -> sqlx::Result<Readable<Turn>> {
        let mut transaction = self.pool.begin().await?;
        let mut locked = lock(&mut transaction, [url].into_iter(), now).await?;
        let known = locked.remove(url.as_str()).ok_or(sqlx::Error::RowNotFound)?;
        match rule(known) {
            Ok(turned) => {
                keep(&mut transaction, [(url.as_str(), &turned.0)].into_iter(), now).await?;
                transaction.commit().await?;
                Ok(Ok(turned))
            }
            Err(corrupt) => {
                transaction.rollback().await?;
                Ok(Err(corrupt))
            }
        }
    }

    pub(super) async fn find_circuit(
        &self,
        url: &EndpointUrl,
    ) -> sqlx::Result<Readable<Option<Circuit>>> {
        let row = sqlx::query(CIRCUIT).bind(url.as_str()).fetch_optional(&self.pool).await?;
        let read = row.as_ref().map(circuit_row::read).transpose()?;
        Ok(read.transpose().map(|found| found.map(|(_url, circuit)| circuit)))
    }

    pub(super) async fn list_circuits(&self, page: &CircuitPage) -> sqlx::Result<CircuitListing> {
        let mut connection = self.pool.acquire().await?;
        listing(&mut connection, page).await
    }

    /// In batches, each with a deadline of its own, at one instant: a snapshot sees one.
    pub(super) async fn read_unsettled(&self) -> Result<UnsettledCircuits, StoreError> {
        let begun = async {
            let mut transaction = self.pool.begin_with(BEGIN_SNAPSHOT).await?;
            let version = sqlx::query_scalar(CIRCUITS_VERSION).fetch_one(&mut *transaction).await?;
            Ok((transaction, version))
        };
        let step = "beginning to read the circuits that are not closed";
        let (mut transaction, version) = self.ask(step, begun).await?;
        let mut reading = UnsettledReading::new(version);
        while let Some(page) = reading.page() {
            let page = listing(&mut transaction, page);
            reading.add(ask("reading the circuits that are not closed", page).await?);
        }
        ask("ending to read the circuits that are not closed", transaction.rollback()).await?;
        Ok(reading.end())
    }

    pub(super) async fn version_of_circuits(&self) -> sqlx::Result<i64> {
        sqlx::query_scalar(CIRCUITS_VERSION).fetch_one(&self.pool).await
    }

    pub(super) async fn prune(&self, before: UnixMillis) -> sqlx::Result<u64> {
        let prune = sqlx::query(PRUNE).bind(before.get()).bind(i64::from(MAX_PRUNED));
        Ok(prune.execute(&self.pool).await?.rows_affected())
    }
}

/// Locks the circuits of these URLs until the transaction ends, making new ones where there are
/// none.
async fn lock<'a>(
    connection: &mut PgConnection,
    urls: impl Iterator<Item = &'a EndpointUrl>,
    now: UnixMillis,
) -> sqlx::Result<BTreeMap<String, Readable<Circuit>>> {
    let new = Circuit::new(now);
    // A row cannot be inserted twice by one statement.
    let mut urls: Vec<_> = urls.map(EndpointUrl::as_str).collect();
    urls.sort_unstable();
    urls.dedup();
    let lock = bind(LOCK, urls.iter().map(|url| (*url, &new)), now);
    lock.execute(&mut *connection).await?;
    let rows = sqlx::query(LOCKED).bind(&urls).fetch_all(connection).await?;
    let read = rows.iter().map(|row| {
        Ok(match circuit_row::read(row)? {
            Ok((url, circuit)) => (url.as_str().to_owned(), Ok(circuit)),
            Err(corrupt) => (corrupt.url.clone(), Err(corrupt)),
        })
    });
    read.collect()
}

/// Writes circuits that are locked.
async fn keep<'a>(
    connection: &mut PgConnection,
    circuits: impl Iterator<Item = (&'a str, &'a Circuit)>,
    now: UnixMillis,
) -> sqlx::Result<()> {
    bind(KEEP, circuits, now).execute(connection).await.map(drop)
}

/// `statement` with an array for every column of `circuits`, and `now` for `touched_ms`.
fn bind<'a>(
    statement: &'static str,
    circuits: impl Iterator<Item = (&'a str, &'a Circuit)>,
    now: UnixMillis,
) -> Query<'static, Postgres, PgArguments> {
    let (urls, rows): (Vec<_>, Vec<_>) =
        circuits.map(|(url, circuit)| (url.to_owned(), CircuitRow::from(circuit))).unzip();
    macro_rules! column {
        ($name:ident) => {
            rows.iter().map(|row| row.$name.clone()).collect::<Vec<_>>()
        };
    }
    sqlx::query(statement)
        .bind(urls)
        .bind(column!(state))
        .bind(column!(probe_at_ms))
        .bind(column!(since_ms))
        .bind(column!(reason))
        .bind(column!(window_attempts))
        .bind(column!(window_failures))
        .bind(column!(consecutive_failures))
        .bind(column!(successes))
        .bind(column!(failures))
        .bind(column!(first_attempt_ms))
        .bind(column!(last_success_ms))
        .bind(column!(last_outcome))
        .bind(column!(last_outcome_ms))
        .bind(column!(created_ms))
        .bind(now.get())
}

async fn listing(
    connection: &mut PgConnection,
    page: &CircuitPage,
) -> sqlx::Result<CircuitListing> {
    let limit = page.limit.clamp(1, MAX_PAGE_LIMIT);
    let after = page.after.clone().unwrap_or_default();
    let statement = if page.state.is_some() { CIRCUITS_BEHIND_IN_STATE } else { CIRCUITS_BEHIND };
    let query = sqlx::query(statement).bind(after).bind(i64::from(limit).saturating_add(1));
    let query = match page.state {
        Some(state) => query.bind(state.as_str()),
        None => query,
    };
    let rows: Vec<PgRow> = query.fetch_all(connection).await?;
    circuit_row::page(&rows, limit)
}
