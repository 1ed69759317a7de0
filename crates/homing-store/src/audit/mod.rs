//! The audit: what a store keeps of changes and of those who made them.
//!
//! A store records changes of its own in their transactions, as made by the `Actor` of its handle
//! ([`Store::by`](super::Store::by)): no change is without a record, and no record without a
//! change. A change elsewhere, at the broker, has a record that is begun before it and ended after
//! it.
//!
//! What homing does by itself is no change: a circuit that opens, a probe that is claimed, a report.

use std::time::Duration;

use async_trait::async_trait;
use backon::{ConstantBuilder, Retryable};
use serde::{Deserialize, Deserializer};

use super::{
    MAX_PAGE_LIMIT, StoreError,
    attempt_row::bytes,
    backend::{Backend, SqlStore},
    statement::{Statement, Tx, sql},
};
use homing_domain::{
    audit::{Action, Actor, AuditRecord, Change, ChangeResult, ObjectKind, Via},
    clock,
    record::RecordId,
    text::parsed,
    time::UnixMillis,
    url::EndpointUrl,
};

mod difference;
mod row;

pub(super) use self::difference::{circuit, subscription};

use self::row::{
    ANNOUNCED, AuditRow, CLAIM, DUE, DUE_NOW, END, EXCESS, INSERT, NEVER, prune, select,
};

/// Records whose events one call of [`AuditStore::claim_announcements`] claims at most.
pub const MAX_ANNOUNCEMENTS: u32 = 100;
/// Records that one call of [`AuditStore::prune_audit`] deletes at most.
pub const MAX_AUDIT_PRUNED: u32 = 10_000;

/// A change that has not ended after this time is announced all the same: its process may have been
/// killed.
const BEGUN_FOR: Duration = Duration::from_hours(1);
/// Between two tries to record the end of a change, and the tries after the first.
const END_RETRY_WAIT: Duration = Duration::from_secs(1);
const MAX_END_RETRIES: usize = 3;

/// A choice of records; all conditions that are set must hold, none means all records.
///
/// Deserialized from texts, as queries and forms have them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuditFilter {
    /// About objects of this kind.
    #[serde(deserialize_with = "parsed")]
    pub kind: Option<ObjectKind>,
    /// About the object with this id, URL or name.
    #[serde(deserialize_with = "object")]
    pub object: Option<String>,
    /// By this actor.
    #[serde(deserialize_with = "parsed")]
    pub actor: Option<String>,
    /// Of this action.
    #[serde(deserialize_with = "parsed")]
    pub action: Option<Action>,
    /// At or after this instant.
    #[serde(alias = "since_ms", deserialize_with = "parsed")]
    pub since: Option<UnixMillis>,
    /// Before this instant.
    #[serde(alias = "until_ms", deserialize_with = "parsed")]
    pub until: Option<UnixMillis>,
}

/// A URL is compared as it is kept.
fn object<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text: Option<String> = parsed(deserializer)?;
    Ok(text.map(|text| normalised(&text)))
}

/// The id of an object as it is kept: a URL is normalised.
#[must_use]
pub fn normalised(object: &str) -> String {
    let url = object.parse::<EndpointUrl>();
    url.map_or_else(|_no_url| object.to_owned(), |url| url.as_str().to_owned())
}

/// A part of the audit to read: the newest records first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditPage {
    /// The records to read.
    pub filter: AuditFilter,
    /// Begin behind this record, which need not exist any more; `None`: with the newest.
    pub after: Option<RecordId>,
    /// Records at most; taken as 1 to [`MAX_PAGE_LIMIT`].
    pub limit: u32,
}

/// One page of the audit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AuditListing {
    /// The newest first.
    pub records: Vec<AuditRecord>,
    /// Goes into [`AuditPage::after`] for the next page; `None`: this is the last one.
    pub next: Option<RecordId>,
}

/// The part of a [`Store`](super::Store) that records changes.
#[async_trait]
pub trait AuditStore {
    /// Records a change outside of the store.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed; then nothing is recorded, but after
    /// [`StoreError::TimedOut`] it may be.
    async fn record_change(&self, change: &Change) -> Result<RecordId, StoreError>;

    /// Replaces the result and the difference of a record; tries it four times.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed; then the record says for ever that the change has begun.
    async fn change_ended(&self, id: RecordId, change: &Change) -> Result<(), StoreError>;

    /// One page of the audit.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn audit(&self, page: &AuditPage) -> Result<AuditListing, StoreError>;

    /// Claims records since `since` about which an event is due at `now`, until `until`: the oldest,
    /// at most [`MAX_ANNOUNCEMENTS`]. Of several callers, one gets each.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed; then nothing is claimed.
    async fn claim_announcements(
        &self,
        since: UnixMillis,
        now: UnixMillis,
        until: UnixMillis,
    ) -> Result<Vec<AuditRecord>, StoreError>;

    /// Notes that the event about a record with this result was published, or that no one wants it.
    /// Where the record has another result by now, an event about that one stays due.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed; then the event is due again.
    async fn announced(&self, id: RecordId, result: ChangeResult) -> Result<(), StoreError>;

    /// Deletes the oldest records: those before `before`, and those beyond `max_rows`, at most
    /// [`MAX_AUDIT_PRUNED`]; returns how many. Several processes may do so at a time.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn prune_audit(&self, before: UnixMillis, max_rows: u64) -> Result<u64, StoreError>;
}

#[async_trait]
impl<B: Backend> AuditStore for SqlStore<B> {
    async fn record_change(&self, change: &Change) -> Result<RecordId, StoreError> {
        let recorded = async {
            let mut transaction = self.begin().await?;
            let id = self.note(&mut transaction, change).await?;
            transaction.commit().await?;
            Ok(id)
        };
        self.ask("recording a change", recorded).await
    }

    async fn change_ended(&self, id: RecordId, change: &Change) -> Result<(), StoreError> {
        let retries =
            ConstantBuilder::new().with_delay(END_RETRY_WAIT).with_max_times(MAX_END_RETRIES);
        (|| self.end_change(id, change)).retry(retries).await
    }

    async fn audit(&self, page: &AuditPage) -> Result<AuditListing, StoreError> {
        let read = async {
            let limit = page.limit.clamp(1, MAX_PAGE_LIMIT);
            let rows: Vec<AuditRow> = self.all(select(page, limit.saturating_add(1))).await?;
            let on_page = usize::try_from(limit).unwrap_or(usize::MAX);
            let more = rows.len() > on_page;
            let records = rows.into_iter().take(on_page).map(AuditRow::build);
            let records = records.collect::<sqlx::Result<Vec<_>>>()?;
            let next = records.last().map(|record| record.id).filter(|_| more);
            Ok(AuditListing { records, next })
        };
        self.ask("reading the audit", read).await
    }

    async fn claim_announcements(
        &self,
        since: UnixMillis,
        now: UnixMillis,
        until: UnixMillis,
    ) -> Result<Vec<AuditRecord>, StoreError> {
        let due = sql(DUE).bind(bytes(RecordId::floor(since).uuid())).bind(now.get());
        let due = due.bind(i64::from(MAX_ANNOUNCEMENTS));
        let claimed = async {
            let found: Vec<AuditRow> = self.all(due).await?;
            if found.is_empty() {
                return Ok(Vec::new());
            }
            let mut transaction = self.begin().await?;
            let mut claimed = Vec::new();
            for row in found {
                let claim = sql(CLAIM).bind(&row.id).bind(until.get()).bind(now.get());
                // Where it is not due any more, another process has claimed it.
                if claim.execute(&mut transaction).await? > 0 {
                    claimed.push(row.build()?);
                }
            }
            transaction.commit().await?;
            Ok(claimed)
        };
        self.ask("claiming events about changes", claimed).await
    }

    async fn announced(&self, id: RecordId, result: ChangeResult) -> Result<(), StoreError> {
        let announced = sql(ANNOUNCED).bind(bytes(id.uuid())).bind(NEVER).bind(result.as_str());
        self.ask("noting an event about a change", self.execute(announced)).await.map(drop)
    }

    async fn prune_audit(&self, before: UnixMillis, max_rows: u64) -> Result<u64, StoreError> {
        let pruned = async {
            let max_rows = i64::try_from(max_rows).unwrap_or(i64::MAX);
            // Read before anything is locked.
            let excess: Option<(Vec<u8>,)> = self.optional(sql(EXCESS).bind(max_rows)).await?;
            let old = bytes(RecordId::floor(before).uuid());
            let last = excess.map_or(old.clone(), |(excess,)| excess.max(old));
            let prune = prune(B::DIALECT.skip_locked).bind(last);
            self.execute(prune.bind(i64::from(MAX_AUDIT_PRUNED))).await
        };
        self.ask("pruning the audit", pruned).await
    }
}

impl<B: Backend> SqlStore<B> {
    /// A line for what someone does; what homing does by itself has its own. A commit that fails is
    /// reported after it.
    fn log(&self, change: &Change) {
        let Actor { via, name: actor, .. } = self.actor.as_ref();
        let Change { kind, object, action, .. } = change;
        if *via == Via::Process {
            return;
        }
        // Its query may hold secrets.
        let object = object.split('?').next().unwrap_or_default();
        tracing::info!(actor, %via, %kind, object, %action, "change.made");
    }

    async fn end_change(&self, id: RecordId, change: &Change) -> Result<(), StoreError> {
        let ended = async {
            let difference = AuditRow::difference(change)?;
            let end = sql(END).bind(bytes(id.uuid())).bind(change.result.as_str());
            self.execute(end.bind(difference).bind(DUE_NOW)).await
        };
        self.ask("recording the end of a change", ended).await.map(drop)
    }

    /// Makes a change by a statement and records it, if the statement changes a row; returns whether
    /// it does.
    pub(super) async fn change(
        &self,
        statement: Statement<B::Database>,
        change: &Change,
    ) -> sqlx::Result<bool> {
        let mut transaction = self.begin().await?;
        let changed = statement.execute(&mut transaction).await? > 0;
        if changed {
            self.note(&mut transaction, change).await?;
        }
        transaction.commit().await?;
        Ok(changed)
    }

    /// Records a change in the transaction that makes it, as that of this handle's actor. The new
    /// row is no one else's, so this waits for nothing.
    pub(super) async fn note(
        &self,
        transaction: &mut Tx<B::Database>,
        change: &Change,
    ) -> sqlx::Result<RecordId> {
        // Of one process, they sort in the order of the changes.
        let id = RecordId::of(clock::new_id());
        // An event is due once the change has ended.
        let has_begun = change.result == ChangeResult::Begun;
        let announce = if has_begun { clock::now().plus(BEGUN_FOR).get() } else { DUE_NOW };
        let row = AuditRow::of(id, &self.actor, change)?;
        let insert = sql(INSERT)
            .bind(row.id)
            .bind(row.via)
            .bind(row.actor)
            .bind(row.address)
            .bind(row.request)
            .bind(row.kind)
            .bind(row.object)
            .bind(row.action)
            .bind(row.difference)
            .bind(row.result)
            .bind(announce);
        insert.execute(transaction).await?;
        self.log(change);
        Ok(id)
    }
}
