//! Figures that are missing from the history, or may be.
//!
//! A worker that ends well takes its row out of `history_writers`, and one that counts nothing
//! renews it. So a row that was not written for long is of a worker that was killed, or is cut off.

use std::time::Duration;

use uuid::Uuid;

use super::HistoryGaps;
use crate::{
    StoreError,
    backend::{Backend, SqlStore},
    statement::sql,
};
use homing_domain::time::UnixMillis;

/// Far longer than a worker that runs leaves its row unchanged.
const SILENT_AFTER: Duration = Duration::from_secs(300);

const END: &str = "DELETE FROM history_writers WHERE worker = $1";
const SILENT: &str = "\
    SELECT CAST(count(*) AS bigint), max(written_ms) FROM history_writers \
    WHERE written_ms >= $1 AND written_ms < $2 AND written_ms < $3";
/// Whatever is counted has a row of each of the three series.
const OLDEST_NAMED: &str =
    "SELECT hour_ms FROM history WHERE series <> 'all' ORDER BY hour_ms LIMIT 1";
const OLDEST: &str = "\
    SELECT hour_ms FROM history WHERE series = 'all' AND name = '' \
    AND hour_ms >= $1 AND hour_ms < $2 ORDER BY hour_ms LIMIT 1";

/// See [`super::HistoryStore::end_history`].
pub(super) async fn end<B: Backend>(store: &SqlStore<B>, worker: Uuid) -> Result<(), StoreError> {
    let ended = async {
        let mut transaction = store.begin_relaxed().await?;
        sql(END).bind(worker.to_string()).execute(&mut transaction).await?;
        transaction.commit().await
    };
    store.ask("ending the history of a worker", ended).await
}

/// See [`super::HistoryStore::history_gaps`].
pub(super) async fn find<B: Backend>(
    store: &SqlStore<B>,
    since: UnixMillis,
    until: UnixMillis,
    now: UnixMillis,
) -> Result<HistoryGaps, StoreError> {
    let found = async {
        let silent = sql(SILENT).bind(since.get()).bind(until.get());
        let silent = silent.bind(now.minus(SILENT_AFTER).get());
        let (silent, last): (i64, Option<i64>) = store.one(silent).await?;
        let named: Option<(i64,)> = store.optional(sql(OLDEST_NAMED)).await?;
        let named = named.map(|(hour,)| UnixMillis::new(hour));
        let older = sql(OLDEST).bind(since.get()).bind(named.unwrap_or(until).min(until).get());
        let older: Option<(i64,)> = store.optional(older).await?;
        Ok(HistoryGaps {
            names_since: older.map(|_| named.unwrap_or(until)),
            silent: silent.unsigned_abs(),
            last_silent: last.map(UnixMillis::new),
        })
    };
    store.ask("looking for gaps of the history", found).await
}
