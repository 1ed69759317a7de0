//! Circuits in PostgreSQL: one statement locks, one reads and one writes, however many URLs.

use sqlx::Postgres;

use crate::{
    backend::CircuitsByUrl,
    circuit_row::{CircuitRow, FoundCircuit},
    statement::{Statement, Tx, sql},
    statements::circuit_columns,
};
use homing_domain::{circuit::Circuit, time::UnixMillis};

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
const WRITE: &str = "\
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

const LOCKED: &str = concat!("SELECT ", circuit_columns!(), " FROM circuits WHERE url = ANY ($1)");

/// Locks the circuits of these URLs until the transaction ends, making new ones where there are
/// none. A statement cannot insert a row twice: the URLs must differ.
pub(super) async fn lock(
    transaction: &mut Tx<Postgres>,
    urls: &[&str],
    now: UnixMillis,
) -> sqlx::Result<CircuitsByUrl> {
    let new = Circuit::new(now);
    let circuits: Vec<_> = urls.iter().map(|url| (*url, &new)).collect();
    bind(LOCK, &circuits, now).execute(transaction).await?;
    let rows = sql(LOCKED).bind_array(urls).all(transaction).await?;
    let found = rows.into_iter().map(|FoundCircuit(found)| match found {
        Ok((url, circuit)) => (url.as_str().to_owned(), Ok(circuit)),
        Err(corrupt) => (corrupt.url.clone(), Err(corrupt)),
    });
    Ok(found.collect())
}

/// Writes circuits that are locked.
pub(super) async fn write(
    transaction: &mut Tx<Postgres>,
    circuits: &[(&str, &Circuit)],
    now: UnixMillis,
) -> sqlx::Result<()> {
    bind(WRITE, circuits, now).execute(transaction).await.map(drop)
}

/// `statement` with an array for every column of `circuits`, and `now` for `touched_ms`.
fn bind(
    statement: &'static str,
    circuits: &[(&str, &Circuit)],
    now: UnixMillis,
) -> Statement<Postgres> {
    let urls: Vec<_> = circuits.iter().map(|(url, _)| *url).collect();
    let rows: Vec<_> = circuits.iter().map(|(_, circuit)| CircuitRow::from(*circuit)).collect();
    macro_rules! column {
        ($name:ident) => {
            rows.iter().map(|row| row.$name.clone()).collect::<Vec<_>>()
        };
    }
    sql(statement)
        .bind_array(urls)
        .bind_array(column!(state))
        .bind_array(column!(probe_at_ms))
        .bind_array(column!(since_ms))
        .bind_array(column!(reason))
        .bind_array(column!(window_attempts))
        .bind_array(column!(window_failures))
        .bind_array(column!(consecutive_failures))
        .bind_array(column!(successes))
        .bind_array(column!(failures))
        .bind_array(column!(first_attempt_ms))
        .bind_array(column!(last_success_ms))
        .bind_array(column!(last_outcome))
        .bind_array(column!(last_outcome_ms))
        .bind_array(column!(created_ms))
        .bind(now.get())
}
