//! Records that others end or follow: waits, and the mark of the last record of each delivery.

use std::collections::BTreeSet;

use super::{
    attempt_statements::{
        HAS_ENDED, PAIRS_AT_ONCE, ROWS_AT_ONCE, forget, mark, supersede_events, update_waits,
    },
    statement::{SqlDatabase, Tx},
};
use homing_domain::record::{Record, RecordId};

/// Updates the records of waits that are in the log, and deletes those of waits that have ended:
/// those in `ended`, and those among the added ones that came late. Returns the number of deleted
/// ones.
pub(super) async fn end_waits<DB: SqlDatabase>(
    transaction: &mut Tx<DB>,
    (added, known): (&[&Record], &[&Record]),
    ended: BTreeSet<RecordId>,
) -> sqlx::Result<u64> {
    for chunk in waits(known).chunks(ROWS_AT_ONCE) {
        update_waits(chunk).execute(transaction).await?;
    }
    let mut deleted = 0_u64;
    for chunk in Vec::from_iter(ended).chunks(ROWS_AT_ONCE) {
        deleted = deleted.saturating_add(forget(chunk).execute(transaction).await?);
    }
    let new: Vec<_> = waits(added).iter().map(|record| record.id).collect();
    for chunk in new.chunks(ROWS_AT_ONCE) {
        let over = forget(chunk).push(HAS_ENDED);
        deleted = deleted.saturating_add(over.execute(transaction).await?);
    }
    Ok(deleted)
}

fn waits<'a>(records: &[&'a Record]) -> Vec<&'a Record> {
    records.iter().copied().filter(|record| record.is_wait()).collect()
}

/// Marks one record of each delivery of `records` as the last.
pub(super) async fn mark_last<DB: SqlDatabase>(
    transaction: &mut Tx<DB>,
    records: &[&Record],
    indexed_by: Option<&str>,
) -> sqlx::Result<()> {
    for chunk in records.chunks(PAIRS_AT_ONCE) {
        mark(chunk, indexed_by, false).execute(transaction).await?;
    }
    // What is added has the mark; a wait that is seen again may get it back.
    for chunk in waits(records).chunks(PAIRS_AT_ONCE) {
        mark(chunk, indexed_by, true).execute(transaction).await?;
    }
    let may_replace = |record: &&&Record| record.replays > 0 || record.recipient.is_none();
    let replacing: Vec<_> = records.iter().filter(may_replace).copied().collect();
    for chunk in replacing.chunks(PAIRS_AT_ONCE) {
        supersede_events(chunk, indexed_by).execute(transaction).await?;
    }
    Ok(())
}
