//! Statements about the attempt log that both databases understand.

use super::{
    attempt_row::{AttemptRow, COLUMNS, bytes, text},
    attempts::{RecordFilter, RecordPage},
    statement::{SqlDatabase, Statement, sql},
};
use homing_domain::record::{Class, Classes, Record, RecordId};

/// Rows of one statement: 27 values each at most, far below 32,766. Source: SQLite, *Limits*, 9; PostgreSQL
/// takes twice as many.
pub(super) const ROWS_AT_ONCE: usize = 100;

/// Deliveries of one statement: two values each.
pub(super) const PAIRS_AT_ONCE: usize = 500;

pub(super) const ADD_GAP: &str = "\
    INSERT INTO attempt_gaps (id, from_ms, until_ms, missed) VALUES ($1, $2, $3, $4) \
    ON CONFLICT (id) DO NOTHING";
pub(super) const ROWS: &str = "SELECT count FROM attempt_rows";
pub(super) const OLDEST: &str = "SELECT id FROM attempts ORDER BY id LIMIT 1";
pub(super) const NEWEST: &str = "SELECT id FROM attempts ORDER BY id DESC LIMIT 1";
pub(super) const PRUNE: &str = "\
    DELETE FROM attempts WHERE id IN \
    (SELECT id FROM attempts WHERE id < $1 ORDER BY id LIMIT $2)";
pub(super) const PRUNE_GAPS: &str = "\
    DELETE FROM attempt_gaps WHERE until_ms < $1 \
    OR id <= (SELECT id FROM attempt_gaps ORDER BY id DESC LIMIT 1 OFFSET $2)";
pub(super) const GAPS: &str = "\
    SELECT id, from_ms, until_ms, missed FROM attempt_gaps WHERE until_ms >= $1 AND from_ms < $2 ORDER BY id LIMIT $3";

/// Sorts behind every id.
pub(super) const LAST: [u8; 16] = [0xff; 16];

const FAILED: &str = "attempts_that_failed";

/// Rows that a page looks at, at most, where a filter has no index.
pub(super) const LOOKED_AT: usize = 10_000;
/// The same where the index alone is looked at.
const LOOKED_AT_IN_INDEX: usize = 100_000;
/// The same in a search for one delivery by its id alone, which takes about a second.
pub(super) const LOOKED_AT_AT_MOST: usize = 500_000;

/// Replaces what changes while a wait lasts, in rows that exist; `records` has at least one.
pub(super) fn update_waits<DB: SqlDatabase>(records: &[&Record]) -> Statement<DB> {
    let mut update = sql("\
        UPDATE attempts SET url = wait.column2, cause = wait.column3, due_ms = wait.column4, \
        held = wait.column5, hold_reason = wait.column6, state = wait.column7, \
        as_of_ms = wait.column8, progress = wait.column9 FROM (VALUES ");
    for (index, record) in records.iter().enumerate() {
        let row = AttemptRow::from(*record);
        update = update.push(if index == 0 { "(" } else { "), (" }).push_bind(row.id);
        update = update.push(", ").push_bind(row.url).push(", ").push_bind(row.cause);
        update = update.push(", ").push_bind(row.due_ms).push(", ").push_bind(row.held);
        update = update.push(", ").push_bind(row.hold_reason);
        update = update.push(", ").push_bind(row.state).push(", ").push_bind(row.as_of_ms);
        update = update.push(", ").push_bind(row.order);
    }
    // Older news that comes late changes nothing.
    update.push(
        ")) AS wait WHERE attempts.id = wait.column1 \
         AND (attempts.as_of_ms IS NULL OR attempts.as_of_ms <= wait.column8)",
    )
}

/// Behind [`forget`]: only waits of which the end is in the log.
pub(super) const HAS_ENDED: &str = " \
    AND EXISTS (SELECT 1 FROM attempts AS later WHERE later.event = attempts.event \
    AND later.delivery = attempts.delivery AND CASE \
    WHEN attempts.state IN ('throttled', 'not_before') \
    THEN later.turn_since_ms = attempts.turn_since_ms AND later.id <> attempts.id \
    ELSE later.hold_since_ms = attempts.hold_since_ms \
    AND (later.attempt IS NOT NULL OR later.due_ms IS NULL) END)";

/// True of a record `later` of the same delivery that is later than the one of `attempts`:
/// [`Record::is_later_than`].
pub(super) const IS_LATER: &str = "later.event = attempts.event \
    AND later.delivery = attempts.delivery AND CASE \
    WHEN later.progress IS NULL OR attempts.progress IS NULL OR later.progress = attempts.progress \
    THEN later.id > attempts.id ELSE later.progress > attempts.progress END";

/// Takes the mark of the last record from those that have a later one, or, if `gives`, gives it to
/// those that have none; of the deliveries of `records`, at least one.
pub(super) fn mark<DB: SqlDatabase>(
    records: &[&Record],
    indexed_by: Option<&str>,
    gives: bool,
) -> Statement<DB> {
    let by_event = indexed_by.map(|indexed_by| format!("{indexed_by}attempts_by_event"));
    let by_event = by_event.unwrap_or_default();
    let latest = i32::from(gives);
    // Not `FROM (VALUES …)`: SQLite would walk the whole index, and look each row up among these.
    let mut update = sql(format!(
        "UPDATE attempts{by_event} SET latest = {latest} WHERE (event, delivery) IN (VALUES "
    ));
    for (index, record) in records.iter().enumerate() {
        let row = AttemptRow::from(*record);
        update = update.push(if index == 0 { "(" } else { "), (" }).push_bind(row.event);
        update = update.push(", ").push_bind(row.delivery);
    }
    let exists = if gives {
        "AND attempts.latest = 0 AND attempts.state IS NOT NULL AND NOT EXISTS"
    } else {
        "AND attempts.latest = 1 AND EXISTS"
    };
    update
        .push(")) ")
        .push(exists)
        .push(" (SELECT 1 FROM attempts AS later")
        .push(&by_event)
        .push(" WHERE ")
        .push(IS_LATER)
        .push(")")
}

/// Takes the mark from records of events that were parked before their fan-out, of which anything
/// came later.
pub(super) fn supersede_events<DB: SqlDatabase>(
    records: &[&Record],
    indexed_by: Option<&str>,
) -> Statement<DB> {
    let by_event = indexed_by.map(|indexed_by| format!("{indexed_by}attempts_by_event"));
    let by_event = by_event.unwrap_or_default();
    let mut update = sql(format!("UPDATE attempts{by_event} SET latest = 0 WHERE event IN ("));
    for (index, record) in records.iter().enumerate() {
        update = update.push(if index == 0 { "" } else { ", " }).push_bind(text(&record.event));
    }
    update
        .push(") AND delivery IS NULL AND latest = 1 AND EXISTS (SELECT 1 FROM attempts AS later")
        .push(&by_event)
        .push(
            " WHERE later.event = attempts.event AND (later.progress > attempts.progress \
             OR later.delivery IS NULL AND later.id > attempts.id))",
        )
}

/// Deletes the records with these ids, at least one.
pub(super) fn forget<DB: SqlDatabase>(ids: &[RecordId]) -> Statement<DB> {
    let mut delete = sql("DELETE FROM attempts WHERE id IN (");
    for (index, id) in ids.iter().enumerate() {
        delete = delete.push(if index == 0 { "" } else { ", " }).push_bind(bytes(id.uuid()));
    }
    delete.push(")")
}

/// The index that leads to the fewest rows, or returns them in the order of the page. There is none
/// for deliveries, whose ids are random: it would cost as much as all the others together.
fn index(filter: &RecordFilter) -> Option<&'static str> {
    if filter.event.is_some() {
        Some("attempts_by_event")
    } else if is_of_failed(filter) {
        Some(FAILED)
    } else if filter.subscription.is_some() {
        Some("attempts_by_subscription")
    } else if filter.url.is_some() {
        Some("attempts_by_url")
    } else {
        None
    }
}

fn is_of_failed(filter: &RecordFilter) -> bool {
    let classes = filter.classes.as_ref().map(Classes::as_slice);
    classes.is_some_and(|classes| !classes.contains(&Class::Accepted))
        || filter.status.is_some_and(|status| !status.has_success())
}

/// Rows that a page with this filter looks at, at most; `None`: all along its index match, or they are
/// few.
pub(super) fn looked_at(filter: &RecordFilter) -> Option<usize> {
    let RecordFilter { event, delivery, subscription, url, classes, status, .. } = filter;
    let is_answer = classes.is_some() || status.is_some();
    if event.is_some() {
        None
    } else if delivery.is_some() {
        Some(LOOKED_AT_AT_MOST)
    } else if is_of_failed(filter) && subscription.is_none() && url.is_none() {
        // Whether an attempt failed, and how, is in the index of those that failed.
        Some(LOOKED_AT_IN_INDEX)
    } else if is_answer || subscription.is_some() && url.is_some() {
        Some(LOOKED_AT)
    } else {
        None
    }
}

/// The record with this id.
pub(super) fn by_id<DB: SqlDatabase>(id: RecordId) -> Statement<DB> {
    sql(format!("SELECT {COLUMNS} FROM attempts WHERE id = $1")).bind(bytes(id.uuid()))
}

/// The records of `page`, at most `limit`, and none older than `oldest`, read by way of the index
/// after `indexed_by`.
pub(super) fn select<DB: SqlDatabase>(
    page: &RecordPage,
    limit: u32,
    oldest: Option<RecordId>,
    indexed_by: Option<&str>,
) -> Statement<DB> {
    let filter = &page.filter;
    let mut select = along(page, COLUMNS, oldest, indexed_by);
    if let Some(delivery) = filter.delivery {
        select = select.push(" AND delivery = ").push_bind(bytes(delivery.uuid()));
    }
    if let Some(subscription) = filter.subscription {
        select = select.push(" AND subscription = ").push_bind(bytes(subscription.uuid()));
    }
    if let Some(url) = &filter.url {
        select = select.push(" AND url = ").push_bind(url);
    }
    if let Some(classes) = &filter.classes {
        for (index, class) in classes.as_slice().iter().enumerate() {
            select = select.push(if index == 0 { " AND class IN (" } else { ", " });
            select = select.push_bind(class.as_str());
        }
        select = select.push(")");
    }
    if let Some(status) = filter.status {
        let (first, last) = status.range().into_inner();
        select = select.push(" AND status >= ").push_bind(i64::from(first));
        select = select.push(" AND status <= ").push_bind(i64::from(last));
    }
    select.push(" ORDER BY id DESC LIMIT ").push_bind(i64::from(limit))
}

/// The last row that `page` looks at, of `most`; none if its index ends before.
pub(super) fn end<DB: SqlDatabase>(
    page: &RecordPage,
    most: usize,
    indexed_by: Option<&str>,
) -> Statement<DB> {
    let offset = most.saturating_sub(1);
    along(page, "id", None, indexed_by).push(&format!(" ORDER BY id DESC LIMIT 1 OFFSET {offset}"))
}

/// The rows along the index of a page, down to `oldest`.
fn along<DB: SqlDatabase>(
    page: &RecordPage,
    columns: &str,
    oldest: Option<RecordId>,
    indexed_by: Option<&str>,
) -> Statement<DB> {
    let filter = &page.filter;
    let index = index(filter);
    let mut select = sql(format!("SELECT {columns} FROM attempts"));
    if let (Some(indexed_by), Some(index)) = (indexed_by, index) {
        select = select.push(indexed_by).push(index);
    }
    let (from, below) = filter.bounds(page.after);
    let below = below.map_or_else(|| LAST.to_vec(), |id| bytes(id.uuid()));
    select = select.push(" WHERE id < ").push_bind(below);
    if let Some(from) = from.max(oldest) {
        select = select.push(" AND id >= ").push_bind(bytes(from.uuid()));
    }
    if index == Some(FAILED) {
        // Exactly the condition of the index, or the database does not use it.
        select.push(" AND class <> 'accepted'")
    } else if let Some(event) = &filter.event {
        select.push(" AND event = ").push_bind(event)
    } else if let Some(subscription) = filter.subscription {
        select.push(" AND subscription = ").push_bind(bytes(subscription.uuid()))
    } else if let Some(url) = &filter.url {
        select.push(" AND url = ").push_bind(url)
    } else {
        select
    }
}
