//! Deletes what is old or too much, in short transactions.

use std::time::Duration;

use super::LOCK;
use crate::{
    StoreError,
    backend::{Backend, SqlStore},
    statement::sql,
};
use homing_domain::time::{UnixMillis, hour_of};

/// One step of each deletes `$2` rows at most.
const PRUNE_OLD: [&str; 2] = [
    "DELETE FROM history WHERE (series, name, hour_ms) IN \
     (SELECT series, name, hour_ms FROM history WHERE hour_ms < $1 ORDER BY hour_ms LIMIT $2)",
    "DELETE FROM topics WHERE topic IN \
     (SELECT topic FROM topics WHERE last_ms < $1 LIMIT $2)",
];
/// The sums of everything stay.
const PRUNE_BEYOND: &str = "\
    DELETE FROM history WHERE (series, name, hour_ms) IN \
    (SELECT series, name, hour_ms FROM history WHERE hour_ms < $1 AND series <> 'all' \
    ORDER BY hour_ms LIMIT $2)";
const PRUNE_WRITERS: &str = "\
    DELETE FROM history_writers WHERE worker IN \
    (SELECT worker FROM history_writers WHERE written_ms < $1 LIMIT $2)";
/// The first hour beyond so many rows; index only.
const BEYOND: &str = "SELECT hour_ms FROM history ORDER BY hour_ms DESC LIMIT 1 OFFSET $1";
/// Rows that one transaction deletes at most: all others that write wait for it.
const PRUNED_AT_ONCE: u64 = 1_000;
/// Transactions of one call and one statement; what is left goes the next time.
const PRUNE_STEPS: u64 = 100;
/// Far longer than a batch waits for a store that is away.
const WRITER_KEPT: Duration = Duration::from_hours(7 * 24);

/// See [`super::HistoryStore::prune_history`].
pub(super) async fn prune<B: Backend>(
    store: &SqlStore<B>,
    before: UnixMillis,
    max_rows: u64,
    now: UnixMillis,
) -> Result<(), StoreError> {
    for prune in PRUNE_OLD {
        prune_portions(store, prune, before).await?;
    }
    prune_portions(store, PRUNE_WRITERS, before.min(now.minus(WRITER_KEPT))).await?;
    let bound = sql(BEYOND).bind(i64::try_from(max_rows).unwrap_or(i64::MAX));
    let bound = store.optional::<(i64,)>(bound);
    let Some((hour,)) = store.ask("looking for the excess of the history", bound).await? else {
        return Ok(());
    };
    let behind = UnixMillis::new(hour.saturating_add(1));
    prune_portions(store, PRUNE_BEYOND, behind.min(hour_of(now))).await
}

/// Deletes what `prune` finds before an instant, in portions.
async fn prune_portions<B: Backend>(
    store: &SqlStore<B>,
    prune: &'static str,
    before: UnixMillis,
) -> Result<(), StoreError> {
    for _ in 0..PRUNE_STEPS {
        let portion = async {
            let mut transaction = store.begin_relaxed().await?;
            sql(LOCK).execute(&mut transaction).await?;
            let limit = i64::try_from(PRUNED_AT_ONCE).unwrap_or(i64::MAX);
            let portion = sql(prune).bind(before.get()).bind(limit);
            let deleted = portion.execute(&mut transaction).await?;
            transaction.commit().await.map(|()| deleted)
        };
        if store.ask("pruning the history", portion).await? < PRUNED_AT_ONCE {
            break;
        }
    }
    Ok(())
}
