//! Rows of the ledger, the statements about them, and the states of hours that follow from them.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{LEDGER_SILENT_AFTER, LEDGER_SILENT_FOR};
use crate::{
    attempt_row::bytes,
    statement::{SqlDatabase, Statement, sql},
};
use homing_domain::{
    id::SubscriptionId,
    ledger::{Checksum, HourState},
    time::{UnixMillis, hour_of, next_hour},
};

/// The deliveries of one worker for a subscription in an hour.
#[derive(sqlx_macros::FromRow)]
pub(super) struct Row {
    subscription: Vec<u8>,
    pub(super) hour_ms: i64,
    number: i64,
    xor: i64,
    sum: i64,
}

impl Row {
    pub(super) fn subscription(&self) -> sqlx::Result<SubscriptionId> {
        let id = Uuid::from_slice(&self.subscription).map_err(sqlx::Error::decode)?;
        Ok(SubscriptionId::new(id))
    }

    pub(super) fn checksum(&self) -> Checksum {
        let Self { number, xor, sum, .. } = self;
        Checksum {
            number: number.cast_unsigned(),
            xor: xor.cast_unsigned(),
            sum: sum.cast_unsigned(),
        }
    }
}

/// A worker that counts.
#[derive(sqlx_macros::FromRow)]
#[expect(clippy::struct_field_names, reason = "they are columns")]
pub(super) struct WorkerRow {
    from_ms: i64,
    closed_ms: i64,
    ended_ms: i64,
    seen_ms: i64,
}

/// The states of hours, as far as they are known.
pub(super) struct State {
    range: (i64, i64),
    now: UnixMillis,
    pub(super) hours: BTreeMap<i64, HourState>,
}

impl State {
    pub(super) fn new(range: (i64, i64), now: UnixMillis) -> Self {
        Self { range, now, hours: BTreeMap::new() }
    }

    pub(super) fn add(&mut self, worker: &WorkerRow) {
        let seen = UnixMillis::new(worker.seen_ms);
        let is_silent = self.now.since(seen) > LEDGER_SILENT_AFTER;
        let (rest, end) = if worker.ended_ms < i64::MAX {
            // It could not wait for what was in flight.
            (HourState::NotProvable, worker.ended_ms)
        } else if is_silent {
            let last = next_hour(hour_of(seen.plus(LEDGER_SILENT_FOR)));
            (HourState::NotProvable, last.get())
        } else {
            (HourState::Open, i64::MAX)
        };
        let end = end.min(next_hour(hour_of(self.now)).get());
        self.add_hours(worker.from_ms, worker.closed_ms.min(end), HourState::Complete);
        self.add_hours(worker.closed_ms, end, rest);
    }

    pub(super) fn add_gap(&mut self, hour: i64) {
        self.add_hours(hour, hour.saturating_add(1), HourState::NotProvable);
    }

    fn add_hours(&mut self, from: i64, until: i64, state: HourState) {
        let mut hour = UnixMillis::new(from);
        let first = hour_of(UnixMillis::new(self.range.0));
        if first.get() < self.range.0 {
            hour = hour.max(next_hour(first));
        } else {
            hour = hour.max(first);
        }
        while hour.get() < until.min(self.range.1) {
            // Another worker may begin before its end.
            let state = if self.now < next_hour(hour) { HourState::Open } else { state };
            let known = self.hours.entry(hour.get()).or_insert(state);
            *known = state.max(*known);
            hour = next_hour(hour);
        }
    }
}

/// Replaces rows of `worker`, at least one.
pub(super) fn insert<DB: SqlDatabase>(
    rows: &[(SubscriptionId, UnixMillis, Checksum)],
    worker: Uuid,
) -> Statement<DB> {
    let mut insert =
        sql("INSERT INTO ledger (subscription, hour_ms, worker, number, xor, sum) VALUES ");
    for (index, (subscription, hour, checksum)) in rows.iter().enumerate() {
        insert = insert
            .push(if index == 0 { "(" } else { "), (" })
            .push_bind(bytes(subscription.uuid()))
            .push(", ")
            .push_bind(hour.get())
            .push(", ")
            .push_bind(bytes(worker))
            .push(", ")
            .push_bind(checksum.number.cast_signed())
            .push(", ")
            .push_bind(checksum.xor.cast_signed())
            .push(", ")
            .push_bind(checksum.sum.cast_signed());
    }
    insert.push(
        ") ON CONFLICT (subscription, hour_ms, worker) DO UPDATE SET number = excluded.number, \
         xor = excluded.xor, sum = excluded.sum",
    )
}

/// Deletes rows of `table` before an hour, to be bound as `$1`; `$2` is their greatest number, and
/// `end` the end of the query for them.
pub(super) fn prune<DB: SqlDatabase>(table: &str, key: &str, end: &str) -> Statement<DB> {
    sql(format!(
        "DELETE FROM {table} WHERE ({key}) IN \
         (SELECT {key} FROM {table} WHERE hour_ms < $1 LIMIT $2{end})"
    ))
}

/// Deletes workers that ended before an hour, to be bound as `$1`, or were not seen since an
/// instant, `$2`; `end` as above.
pub(super) fn forget_workers<DB: SqlDatabase>(end: &str) -> Statement<DB> {
    sql(format!(
        "DELETE FROM ledger_workers WHERE worker IN \
         (SELECT worker FROM ledger_workers WHERE ended_ms <= $1 OR seen_ms < $2{end})"
    ))
}
