//! Statements about the attempt log that every backend understands.

use sqlx::{Database, Encode, QueryBuilder, Type};

use super::{
    attempt_row::{AttemptRow, COLUMNS, bytes},
    attempts::{RecordFilter, RecordPage},
};
use homing_domain::record::{Class, Classes, Record};

/// Rows of one statement: 19 values each, far below 32,766. Source: SQLite, *Limits*, 9; PostgreSQL
/// takes twice as many.
pub(super) const ROWS_AT_ONCE: usize = 100;

pub(super) const ADD_GAP: &str = "\
    INSERT INTO attempt_gaps (id, from_ms, until_ms, missed) VALUES ($1, $2, $3, $4) \
    ON CONFLICT (id) DO NOTHING";
pub(super) const ROWS: &str = "SELECT count FROM attempt_rows";
pub(super) const OLDEST: &str = "SELECT id FROM attempts ORDER BY id LIMIT 1";
pub(super) const PRUNE: &str = "\
    DELETE FROM attempts WHERE id IN \
    (SELECT id FROM attempts WHERE id < $1 ORDER BY id LIMIT $2)";
pub(super) const PRUNE_GAPS: &str = "\
    DELETE FROM attempt_gaps WHERE until_ms < $1 \
    OR id <= (SELECT id FROM attempt_gaps ORDER BY id DESC LIMIT 1 OFFSET $2)";
pub(super) const GAPS: &str = "\
    SELECT * FROM attempt_gaps WHERE until_ms >= $1 AND from_ms < $2 ORDER BY id LIMIT $3";

/// Sorts behind every id.
pub(super) const LAST: [u8; 16] = [0xff; 16];

const FAILED: &str = "attempts_that_failed";

/// What can be bound to a statement of `DB`.
pub(super) trait Bind<DB: Database>: for<'q> Encode<'q, DB> + Type<DB> {}

impl<DB: Database, T: for<'q> Encode<'q, DB> + Type<DB>> Bind<DB> for T {}

/// Adds `records`, those that are not there yet.
pub(super) fn insert<DB>(records: &[Record]) -> QueryBuilder<DB>
where
    DB: Database,
    String: Bind<DB>,
    Option<String>: Bind<DB>,
    Vec<u8>: Bind<DB>,
    Option<Vec<u8>>: Bind<DB>,
    i64: Bind<DB>,
    Option<i64>: Bind<DB>,
{
    let mut insert = QueryBuilder::new(format!("INSERT INTO attempts ({COLUMNS}) "));
    insert.push_values(records, |mut values, record| {
        let row = AttemptRow::from(record);
        values.push_bind(row.id).push_bind(row.event).push_bind(row.topic);
        values.push_bind(row.subscription).push_bind(row.delivery).push_bind(row.url);
        values.push_bind(row.step).push_bind(row.replays).push_bind(row.class);
        values.push_bind(row.attempt).push_bind(row.duration_ms).push_bind(row.outcome);
        values.push_bind(row.status).push_bind(row.response).push_bind(row.cut);
        values.push_bind(row.cause).push_bind(row.next_state);
        values.push_bind(row.due_ms).push_bind(row.reason);
    });
    insert.push(" ON CONFLICT (id) DO NOTHING");
    insert
}

/// The index that leads to the fewest rows, or gives them in the order of the page. There is none
/// for deliveries, whose ids are random: it would cost as much as all the others together, and
/// looking through a million rows takes a second or two.
pub(super) fn index(filter: &RecordFilter) -> Option<&'static str> {
    let classes = filter.classes.as_ref().map(Classes::as_slice);
    let failed = classes.is_some_and(|classes| !classes.contains(&Class::Accepted))
        || filter.status.is_some_and(|status| !(200..300).contains(&status));
    if filter.event.is_some() {
        Some("attempts_by_event")
    } else if failed {
        Some(FAILED)
    } else if filter.subscription.is_some() {
        Some("attempts_by_subscription")
    } else if filter.url.is_some() {
        Some("attempts_by_url")
    } else {
        None
    }
}

/// Goes on with the conditions, the order and the length of `page`; `index` is the one that serves
/// it.
pub(super) fn select<DB>(
    select: &mut QueryBuilder<DB>,
    page: &RecordPage,
    index: Option<&str>,
    limit: u32,
) where
    DB: Database,
    String: Bind<DB>,
    Vec<u8>: Bind<DB>,
    i64: Bind<DB>,
{
    let filter = &page.filter;
    let (from, below) = filter.bounds(page.after);
    let below = below.map_or_else(|| LAST.to_vec(), |id| bytes(id.uuid()));
    select.push(" WHERE id < ").push_bind(below);
    if let Some(from) = from {
        select.push(" AND id >= ").push_bind(bytes(from.uuid()));
    }
    if index == Some(FAILED) {
        // In the words of the index, or it is not one for this.
        select.push(" AND class <> 'accepted'");
    }
    if let Some(event) = &filter.event {
        select.push(" AND event = ").push_bind(event.clone());
    }
    if let Some(delivery) = filter.delivery {
        select.push(" AND delivery = ").push_bind(bytes(delivery.uuid()));
    }
    if let Some(subscription) = filter.subscription {
        select.push(" AND subscription = ").push_bind(bytes(subscription.uuid()));
    }
    if let Some(url) = &filter.url {
        select.push(" AND url = ").push_bind(url.clone());
    }
    if let Some(classes) = &filter.classes {
        let mut listed = select.push(" AND class IN (").separated(", ");
        for class in classes.as_slice() {
            listed.push_bind(class.as_str().to_owned());
        }
        select.push(")");
    }
    if let Some(status) = filter.status {
        select.push(" AND status = ").push_bind(i64::from(status));
    }
    select.push(" ORDER BY id DESC LIMIT ").push_bind(i64::from(limit));
}
