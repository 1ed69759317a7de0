//! A record of the audit as a row, a row as a record, and the statements about them.

use super::AuditPage;
use crate::{
    attempt_row::{bytes, record_id, text},
    statement::{SqlDatabase, Statement, sql},
};
use homing_domain::{
    audit::{Actor, AuditRecord, Change},
    record::RecordId,
};

/// An event about a record is due at once.
pub(super) const DUE_NOW: i64 = 0;
/// An event about a record is never due.
pub(super) const NEVER: i64 = i64::MAX;

/// The columns of a record, in the order in which they are inserted; a literal, as those of constants.
macro_rules! columns {
    () => {
        "id, via, actor, address, request, kind, object, action, difference, result"
    };
}

pub(super) const INSERT: &str = "\
    INSERT INTO audit (id, via, actor, address, request, kind, object, action, difference, result, \
    announce_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
pub(super) const END: &str =
    "UPDATE audit SET result = $2, difference = $3, announce_ms = $4 WHERE id = $1";
/// Says twice that events that are never due are not meant: the index is of the others.
pub(super) const DUE: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM audit WHERE id >= $1 AND announce_ms <= $2 \
     AND announce_ms < 9223372036854775807 ORDER BY id LIMIT $3"
);
pub(super) const CLAIM: &str =
    "UPDATE audit SET announce_ms = $2 WHERE id = $1 AND announce_ms <= $3";
/// Not if the change has ended since its record was claimed.
pub(super) const ANNOUNCED: &str =
    "UPDATE audit SET announce_ms = $2 WHERE id = $1 AND result = $3";
/// The newest record beyond a number.
pub(super) const EXCESS: &str = "SELECT id FROM audit ORDER BY id DESC LIMIT 1 OFFSET $1";

/// One record.
#[derive(sqlx_macros::FromRow)]
pub(super) struct AuditRow {
    pub(super) id: Vec<u8>,
    pub(super) via: String,
    pub(super) actor: String,
    pub(super) address: Option<String>,
    pub(super) request: Option<String>,
    pub(super) kind: String,
    pub(super) object: String,
    pub(super) action: String,
    pub(super) difference: String,
    pub(super) result: String,
}

impl AuditRow {
    pub(super) fn of(id: RecordId, actor: &Actor, change: &Change) -> sqlx::Result<Self> {
        Ok(Self {
            id: bytes(id.uuid()),
            via: actor.via.as_str().to_owned(),
            actor: text(&actor.name),
            address: actor.address.clone(),
            request: actor.request.as_deref().map(text),
            kind: change.kind.as_str().to_owned(),
            object: text(&change.object),
            action: change.action.as_str().to_owned(),
            difference: Self::difference(change)?,
            result: change.result.as_str().to_owned(),
        })
    }

    /// The difference as it is stored. JSON has no zero byte, which PostgreSQL would refuse.
    pub(super) fn difference(change: &Change) -> sqlx::Result<String> {
        serde_json::to_string(&change.difference)
            .map_err(|error| sqlx::Error::Encode(Box::new(error)))
    }

    /// The record. The schema accepts nothing that is not one.
    pub(super) fn build(self) -> sqlx::Result<AuditRecord> {
        let actor = Actor {
            via: self.via.parse().map_err(sqlx::Error::decode)?,
            name: self.actor,
            address: self.address,
            request: self.request,
        };
        let change = Change {
            kind: self.kind.parse().map_err(sqlx::Error::decode)?,
            object: self.object,
            action: self.action.parse().map_err(sqlx::Error::decode)?,
            difference: serde_json::from_str(&self.difference).map_err(sqlx::Error::decode)?,
            result: self.result.parse().map_err(sqlx::Error::decode)?,
        };
        Ok(AuditRecord { id: record_id(&self.id)?, actor, change })
    }
}

/// Deletes the oldest records up to an id, to be bound as `$1`; `$2` is their greatest number, and
/// `end` the end of the query for them.
pub(super) fn prune<DB: SqlDatabase>(end: &str) -> Statement<DB> {
    sql(format!(
        "DELETE FROM audit WHERE id IN \
         (SELECT id FROM audit WHERE id <= $1 ORDER BY id LIMIT $2{end})"
    ))
}

/// The records of `page`, at most `limit`.
pub(super) fn select<DB: SqlDatabase>(page: &AuditPage, limit: u32) -> Statement<DB> {
    let filter = &page.filter;
    let mut select = sql(concat!("SELECT ", columns!(), " FROM audit WHERE TRUE"));
    if let Some(object) = &filter.object {
        select = select.push(" AND object = ").push_bind(text(object));
    }
    // The few of an object are found by its index: databases took that of the kind, which has all.
    let unindexed = if filter.object.is_some() { " || ''" } else { "" };
    let texts = [
        (" AND kind", filter.kind.map(|kind| kind.as_str().to_owned())),
        (" AND actor", filter.actor.as_deref().map(text)),
        (" AND action", filter.action.map(|action| action.as_str().to_owned())),
    ];
    for (condition, value) in texts {
        if let Some(value) = value {
            select = select.push(condition).push(unindexed).push(" = ").push_bind(value);
        }
    }
    let ids = [
        (" AND id >= ", filter.since.map(RecordId::floor)),
        (" AND id < ", filter.until.map(RecordId::floor)),
        (" AND id < ", page.after),
    ];
    for (condition, id) in ids {
        if let Some(id) = id {
            select = select.push(condition).push_bind(bytes(id.uuid()));
        }
    }
    select.push(" ORDER BY id DESC LIMIT ").push_bind(i64::from(limit))
}
