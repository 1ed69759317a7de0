//! Failed attempts, counted by what failed. Written with the records, so that each attempt counts
//! once, and read for operators.
//!
//! The text comes from endpoints: it is encrypted, and the id of a group is a digest by the primary
//! key. With another primary key, groups begin anew.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use async_trait::async_trait;
use serde::Deserialize;

use super::{
    MAX_PAGE_LIMIT, StoreError,
    attempt_row::{bytes, record_id},
    attempts::normalised,
    backend::{Backend, SqlStore},
    keyring::Place,
    statement::{Statement, Tx, sql},
};
use homing_domain::{
    error_group::{ErrorGroup, ErrorId, Kind},
    record::{Class, Record},
    text::parsed,
    time::UnixMillis,
};

/// Groups that are kept at most, those with the latest attempts.
pub const MAX_ERROR_GROUPS: u32 = 10_000;

/// Groups of one URL, about; further errors of it are counted together, so that an endpoint whose
/// texts all differ evicts no others.
pub const MAX_ERROR_GROUPS_PER_URL: usize = 100;

/// Groups that one step of pruning deletes at most.
const PRUNED_AT_ONCE: i64 = 1_000;

pub(super) const TABLE: &str = "error_groups";

/// Rows of one statement: eleven values each.
const ROWS_AT_ONCE: usize = 100;

/// The newest groups to read.
///
/// Deserialized from texts, as queries have them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ErrorFilter {
    /// At this URL, normalised.
    #[serde(deserialize_with = "normalised")]
    pub url: Option<String>,
    /// With an attempt that began at or after this instant.
    #[serde(alias = "since_ms", deserialize_with = "parsed")]
    pub since: Option<UnixMillis>,
    /// At most so many; taken as 1 to [`MAX_PAGE_LIMIT`].
    #[serde(skip)]
    pub limit: u32,
}

/// Groups, and whether there are more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorGroups {
    /// Those with the latest attempts first.
    pub groups: Vec<(ErrorId, ErrorGroup)>,
    /// True if there are more than were asked for.
    pub more: bool,
}

/// The part of a [`Store`](super::Store) that counts errors.
#[async_trait]
pub trait ErrorStore {
    /// Groups of failed attempts. A text that cannot be decrypted is replaced by the reason.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn error_groups(&self, filter: &ErrorFilter) -> Result<ErrorGroups, StoreError>;

    /// The id of an error, by the primary key.
    fn error_id(&self, kind: &Kind) -> ErrorId;
}

/// The columns of a [`GroupRow`].
const COLUMNS: &str = "id, url, class, outcome, status, content, count, first_ms, last_ms, example";

/// One group.
#[derive(sqlx_macros::FromRow)]
struct GroupRow {
    id: Vec<u8>,
    url: String,
    class: String,
    outcome: String,
    status: Option<i64>,
    content: Vec<u8>,
    count: i64,
    first_ms: i64,
    last_ms: i64,
    example: Vec<u8>,
}

/// A group to be written.
struct Counted {
    id: Vec<u8>,
    content: Vec<u8>,
    group: ErrorGroup,
}

#[async_trait]
impl<B: Backend> ErrorStore for SqlStore<B> {
    async fn error_groups(&self, filter: &ErrorFilter) -> Result<ErrorGroups, StoreError> {
        let read = async {
            let limit = filter.limit.clamp(1, MAX_PAGE_LIMIT);
            let since = filter.since.map_or(i64::MIN, UnixMillis::get);
            let mut select = sql(format!("SELECT {COLUMNS} FROM error_groups WHERE last_ms >= "))
                .push_bind(since);
            if let Some(url) = &filter.url {
                select = select.push(" AND url = ").push_bind(url);
            }
            select = select.push(" ORDER BY last_ms DESC, id LIMIT ");
            select = select.push_bind(i64::from(limit.saturating_add(1)));
            let rows: Vec<GroupRow> = self.all(select).await?;
            let on_page = usize::try_from(limit).unwrap_or(usize::MAX);
            let more = rows.len() > on_page;
            let groups = rows.into_iter().take(on_page).map(|row| self.group(row));
            Ok(ErrorGroups { groups: groups.collect::<sqlx::Result<_>>()?, more })
        };
        self.ask("reading errors", read).await
    }

    /// Of all in which kinds differ: one statement may name each row only once.
    fn error_id(&self, Kind { url, class, outcome, status, text }: &Kind) -> ErrorId {
        let status = status.map(|status| status.to_string()).unwrap_or_default();
        let parts = [url, class.as_str(), outcome, &status, text];
        ErrorId::new(self.keyring.digest(parts.join("\0").as_bytes()))
    }
}

impl<B: Backend> SqlStore<B> {
    fn group(&self, row: GroupRow) -> sqlx::Result<(ErrorId, ErrorGroup)> {
        let id = row.id.as_slice().try_into().map_err(sqlx::Error::decode)?;
        let class = Class::ALL.into_iter().find(|class| class.as_str() == row.class);
        let cell = super::payloads::row_name(&row.id);
        let text = self.keyring.decrypt_bytes(&row.content, Place { column: TABLE, row: &cell });
        let text = match text {
            Ok(text) => String::from_utf8_lossy(&text).into_owned(),
            Err(error) => format!("(it {error})"),
        };
        let group = ErrorGroup {
            kind: Kind {
                url: row.url,
                class: class.ok_or_else(|| sqlx::Error::decode("not a class".to_owned()))?,
                outcome: row.outcome,
                status: row.status.map(u16::try_from).transpose().map_err(sqlx::Error::decode)?,
                text,
            },
            count: row.count.unsigned_abs(),
            first: UnixMillis::new(row.first_ms),
            last: UnixMillis::new(row.last_ms),
            example: record_id(&row.example)?,
        };
        Ok((ErrorId::new(id), group))
    }

    /// Counts those of `records`, which are new, that failed; returns `true` if there are any.
    pub(super) async fn count_errors(
        &self,
        transaction: &mut Tx<B::Database>,
        records: impl Iterator<Item = &Record>,
    ) -> sqlx::Result<bool> {
        let mut groups: BTreeMap<Kind, ErrorGroup> = BTreeMap::new();
        for record in records {
            if let Some(kind) = Kind::of(record) {
                let new = || ErrorGroup { count: 0, ..ErrorGroup::new(kind.clone(), record.id) };
                groups.entry(kind.clone()).or_insert_with(new).add(record.id);
            }
        }
        if groups.is_empty() {
            return Ok(false);
        }
        let groups = self.bounded(transaction, groups).await?;
        let counted = groups.into_iter().map(|group| self.counted(group));
        let mut counted = counted.collect::<sqlx::Result<Vec<_>>>()?;
        // All processes use the same order, so that no two wait for each other.
        counted.sort_unstable_by(|one, other| one.id.cmp(&other.id));
        for chunk in counted.chunks(ROWS_AT_ONCE) {
            self.upsert(chunk).execute(transaction).await?;
        }
        Ok(true)
    }

    /// Puts those together that a URL has too many of.
    async fn bounded(
        &self,
        transaction: &mut Tx<B::Database>,
        groups: BTreeMap<Kind, ErrorGroup>,
    ) -> sqlx::Result<Vec<ErrorGroup>> {
        let urls: BTreeSet<_> = groups.keys().map(|kind| kind.url.clone()).collect();
        let mut known: BTreeMap<String, BTreeSet<Vec<u8>>> = BTreeMap::new();
        for chunk in Vec::from_iter(urls).chunks(ROWS_AT_ONCE) {
            let mut select = sql("SELECT url, id FROM error_groups WHERE url IN (");
            for (index, url) in chunk.iter().enumerate() {
                select = select.push(if index == 0 { "" } else { ", " }).push_bind(url.clone());
            }
            let rows: Vec<(String, Vec<u8>)> = select.push(")").all(transaction).await?;
            for (url, id) in rows {
                known.entry(url).or_default().insert(id);
            }
        }
        let mut bounded: BTreeMap<Kind, ErrorGroup> = BTreeMap::new();
        for (kind, group) in groups {
            let ids = known.entry(kind.url.clone()).or_default();
            let id = self.error_id(&kind).as_bytes().to_vec();
            let is_apart = ids.contains(&id) || ids.len() < MAX_ERROR_GROUPS_PER_URL;
            let kind = if is_apart { kind } else { kind.other() };
            if is_apart {
                ids.insert(id);
            }
            match bounded.entry(kind) {
                Entry::Occupied(mut known) => known.get_mut().add_all(&group),
                Entry::Vacant(new) => {
                    let kind = new.key().clone();
                    new.insert(ErrorGroup { kind, ..group });
                }
            }
        }
        Ok(bounded.into_values().collect())
    }

    fn counted(&self, group: ErrorGroup) -> sqlx::Result<Counted> {
        let id = self.error_id(&group.kind);
        let cell = super::payloads::row_name(id.as_bytes());
        let place = Place { column: TABLE, row: &cell };
        let content = self.keyring.encrypt_bytes(group.kind.text.as_bytes(), place)?;
        Ok(Counted { id: id.as_bytes().to_vec(), content, group })
    }

    fn upsert(&self, counted: &[Counted]) -> Statement<B::Database> {
        let mut insert = sql("\
            INSERT INTO error_groups (id, url, class, outcome, status, key_id, content, count, \
            first_ms, last_ms, example) VALUES ");
        for (index, Counted { id, content, group }) in counted.iter().enumerate() {
            let ErrorGroup { kind, count, first, last, example } = group;
            insert = insert.push(if index == 0 { "(" } else { "), (" }).push_bind(id.clone());
            macro_rules! push {
                ($($value:expr),*) => {
                    insert$(.push(", ").push_bind($value))*
                };
            }
            insert = push!(
                kind.url.replace('\0', "\u{fffd}"),
                kind.class.as_str(),
                kind.outcome.replace('\0', "\u{fffd}"),
                kind.status.map(i64::from),
                self.keyring.primary().as_str(),
                content.clone(),
                i64::try_from(*count).unwrap_or(i64::MAX),
                first.get(),
                last.get(),
                bytes(example.uuid())
            );
        }
        insert.push(
            ") ON CONFLICT (id) DO UPDATE SET count = error_groups.count + excluded.count, \
             first_ms = CASE WHEN excluded.first_ms < error_groups.first_ms \
             THEN excluded.first_ms ELSE error_groups.first_ms END, \
             example = CASE WHEN excluded.last_ms >= error_groups.last_ms \
             THEN excluded.example ELSE error_groups.example END, \
             last_ms = CASE WHEN excluded.last_ms > error_groups.last_ms \
             THEN excluded.last_ms ELSE error_groups.last_ms END",
        )
    }

    /// Deletes groups without an attempt since `before`, and the oldest beyond
    /// [`MAX_ERROR_GROUPS`]; [`PRUNED_AT_ONCE`] at most.
    pub(super) async fn prune_errors(
        &self,
        transaction: &mut Tx<B::Database>,
        before: UnixMillis,
    ) -> sqlx::Result<()> {
        let prune = sql(format!(
            "DELETE FROM error_groups WHERE id IN (SELECT id FROM error_groups \
             WHERE last_ms < $1 OR last_ms <= (SELECT last_ms FROM error_groups \
             ORDER BY last_ms DESC LIMIT 1 OFFSET $2) ORDER BY last_ms LIMIT $3{})",
            B::DIALECT.skip_locked
        ));
        let prune = prune.bind(before.get()).bind(i64::from(MAX_ERROR_GROUPS));
        let prune = prune.bind(PRUNED_AT_ONCE);
        prune.execute(transaction).await.map(drop)
    }
}
