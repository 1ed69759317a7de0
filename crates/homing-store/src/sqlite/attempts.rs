//! Records of the attempt log in SQLite.

use sqlx::Sqlite;

use crate::{
    attempt_row::{AttemptRow, COLUMNS, with_fields},
    attempt_statements::ROWS_AT_ONCE,
    statement::{Statement, Tx, sql},
};
use homing_domain::record::Record;

/// Adds those of `records` that are not in the log yet, and returns their ids.
pub(super) async fn insert(
    transaction: &mut Tx<Sqlite>,
    records: &[&Record],
) -> sqlx::Result<Vec<(Vec<u8>,)>> {
    let mut ids = Vec::with_capacity(records.len());
    for chunk in records.chunks(ROWS_AT_ONCE) {
        let insert = statement(chunk).push(" RETURNING id");
        ids.extend(insert.all::<(Vec<u8>,)>(transaction).await?);
    }
    Ok(ids)
}

/// Adds those of `records` that are not in the log yet, and returns their number: cheaper than their
/// ids, which SQLite collects in a table.
pub(super) async fn count_inserted(
    transaction: &mut Tx<Sqlite>,
    records: &[&Record],
) -> sqlx::Result<u64> {
    let mut inserted = 0_u64;
    for chunk in records.chunks(ROWS_AT_ONCE) {
        inserted = inserted.saturating_add(statement(chunk).execute(transaction).await?);
    }
    Ok(inserted)
}

/// `OR FAIL`: the transaction ends with a failure, so the statement needs no copies of the pages
/// that it changes.
fn statement(records: &[&Record]) -> Statement<Sqlite> {
    let mut insert = sql(format!("INSERT OR FAIL INTO attempts ({COLUMNS}, latest) VALUES "));
    for (index, record) in records.iter().enumerate() {
        let row = AttemptRow::from(*record);
        insert = insert.push(if index == 0 { "(" } else { ", (" });
        macro_rules! push {
            ($($field:ident),*) => {
                insert$(.push_bind(row.$field).push(", "))*
            };
        }
        insert = with_fields!(push).push("1)");
    }
    insert.push(" ON CONFLICT (id) DO NOTHING")
}

#[cfg(test)]
mod tests {
    use homing_domain::{
        clock,
        id::{DeliveryId, EventId, SubscriptionId},
        payload::PayloadState,
        record::{AttemptEvent, NextState},
    };

    use super::*;
    use crate::{
        attempt_statements::{HAS_ENDED, forget, mark, supersede_events, update_waits},
        backend::Backend,
        deliveries::records_of,
        sqlite::{SqliteFile, SqliteStore},
        subscriptions::Quotas,
    };

    fn record() -> Record {
        let (event, subscription) =
            (EventId::from(clock::new_id()), SubscriptionId::new(clock::new_id()));
        Record {
            id: clock::new_record_id(clock::now()),
            event: event.to_string(),
            topic: "order.paid".to_owned(),
            recipient: Some((subscription, DeliveryId::of(&event, subscription))),
            url: None,
            step: 0,
            replays: 0,
            order: Some(0),
            happened: AttemptEvent::NotAttempted("its circuit is open".to_owned()),
            next_state: NextState::Waits(clock::now()),
            hold: None,
            turn: None,
            as_of: None,
            payload: PayloadState::Unwanted,
        }
    }

    /// Goal: a batch costs what it has, however long the log is. Method: the plans of all statements
    /// that look up other records, for few and for many; SQLite plans without looking at the rows.
    #[tokio::test]
    async fn no_statement_walks_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("homing.db");
        let store = SqliteStore::open(file.to_str().unwrap(), None, Quotas::NONE).await.unwrap();
        let mut transaction = store.begin().await.unwrap();
        let by = SqliteFile::DIALECT.indexed_by;
        for number in [1, 2, ROWS_AT_ONCE] {
            let all: Vec<_> = (0..number).map(|_| record()).collect();
            let all: Vec<_> = all.iter().collect();
            let ids: Vec<_> = all.iter().map(|record| record.id).collect();
            for (name, statement) in [
                ("takes the mark", mark(&all, by, false)),
                ("gives the mark", mark(&all, by, true)),
                ("supersedes events", supersede_events(&all, by)),
                ("updates waits", update_waits(&all)),
                ("forgets", forget(&ids)),
                ("forgets what has ended", forget(&ids).push(HAS_ENDED)),
                ("reads a page's records", records_of(&all, 100)),
            ] {
                let plan = statement.plan(&mut transaction).await;
                let uses = plan.iter().any(|step| step.starts_with("SEARCH attempts"));
                let walks = plan.iter().any(|step| step.starts_with("SCAN attempts"));
                assert!(uses && !walks, "{name}, {number} records: {plan:#?}");
            }
        }
    }
}
