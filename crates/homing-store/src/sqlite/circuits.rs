//! Circuits in SQLite, one statement for each.

use crate::{
    backend::CircuitsByUrl,
    circuit_row::{CircuitRow, FoundCircuit},
    statement::{Tx, sql},
    statements::CIRCUIT,
};
use homing_domain::{circuit::Circuit, time::UnixMillis};
use sqlx::Sqlite;

const WRITE: &str = "\
    INSERT INTO circuits (url, state, probe_at_ms, since_ms, reason, window_attempts, \
    window_failures, failures_in_a_row, successes, failures, first_attempt_ms, last_success_ms, \
    last_outcome, last_outcome_ms, created_ms, touched_ms) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) \
    ON CONFLICT (url) DO UPDATE SET state = excluded.state, probe_at_ms = excluded.probe_at_ms, \
    since_ms = excluded.since_ms, reason = excluded.reason, \
    window_attempts = excluded.window_attempts, window_failures = excluded.window_failures, \
    failures_in_a_row = excluded.failures_in_a_row, successes = excluded.successes, \
    failures = excluded.failures, first_attempt_ms = excluded.first_attempt_ms, \
    last_success_ms = excluded.last_success_ms, last_outcome = excluded.last_outcome, \
    last_outcome_ms = excluded.last_outcome_ms, created_ms = excluded.created_ms, \
    touched_ms = excluded.touched_ms";

/// Reads circuits; the transaction holds the write lock from its start.
pub(super) async fn read(
    transaction: &mut Tx<Sqlite>,
    urls: &[&str],
    now: UnixMillis,
) -> sqlx::Result<CircuitsByUrl> {
    let mut circuits = CircuitsByUrl::new();
    for url in urls {
        let found = sql(CIRCUIT).bind(*url).optional(transaction).await?;
        let circuit = match found {
            None => Ok(Circuit::new(now)),
            Some(FoundCircuit(found)) => found.map(|(_url, circuit)| circuit),
        };
        circuits.insert((*url).to_owned(), circuit);
    }
    Ok(circuits)
}

/// Writes circuits, new or known.
pub(super) async fn write(
    transaction: &mut Tx<Sqlite>,
    circuits: &[(&str, &Circuit)],
    now: UnixMillis,
) -> sqlx::Result<()> {
    for (url, circuit) in circuits {
        let row = CircuitRow::from(*circuit);
        let write = sql(WRITE)
            .bind(*url)
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
            .bind(now.get());
        write.execute(transaction).await?;
    }
    Ok(())
}
