//! The history: figures by the hour, and the topics that were seen.
//!
//! Figures of all workers add up in one row. A writer reads rows, adds, and writes them back, so
//! writers go one after the other: each begins with the row `history` of `versions`.

mod gaps;
mod prune;
mod topics;

pub use self::topics::TopicOrder;

use std::collections::BTreeMap;

use async_trait::async_trait;
use uuid::Uuid;

use super::{
    MAX_PAGE_LIMIT, StoreError,
    backend::{Backend, SqlStore},
    statement::{SqlDatabase, Statement, Tx, sql},
};
use homing_domain::{
    history::{HourFigures, Series, TopicSeen},
    time::UnixMillis,
};

/// Hours and topics that one batch should have at most.
pub const HISTORY_AT_ONCE: usize = 500;

/// Rows of one statement: six values each at most, far below 32,766. Source: SQLite, *Limits*, 9.
const ROWS_AT_ONCE: usize = 100;

/// Writers go one after the other.
const LOCK: &str = "UPDATE versions SET version = version + 1 WHERE name = 'history'";
/// Changes nothing where the batch was added before.
const BEGIN_BATCH: &str = "\
    INSERT INTO history_writers (worker, batch, written_ms) VALUES ($1, $2, $3) \
    ON CONFLICT (worker) DO UPDATE SET batch = excluded.batch, written_ms = excluded.written_ms \
    WHERE history_writers.batch < excluded.batch";
const HOURS: &str = "\
    SELECT hour_ms, figures FROM history \
    WHERE series = $1 AND name = $2 AND hour_ms >= $3 AND hour_ms < $4 ORDER BY hour_ms";
const TOPIC: &str = "\
    SELECT topic, first_ms, last_ms, events, unwanted, unwanted_ms FROM topics WHERE topic = $1";
const UNWANTED: &str = "\
    SELECT topic, first_ms, last_ms, events, unwanted, unwanted_ms FROM topics \
    WHERE unwanted_ms >= $1 AND topic <> '' ORDER BY unwanted_ms DESC, topic LIMIT $2";
/// Figures and topics that a worker adds to the history at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryBatch {
    /// Chosen by the worker at its start.
    pub worker: Uuid,
    /// Rises with every batch of the worker, and stays when one is sent again.
    pub number: i64,
    /// The present.
    pub at: UnixMillis,
    /// Figures, each hour of a series at most once.
    pub hours: Vec<(Series, UnixMillis, HourFigures)>,
    /// Topics, each at most once.
    pub topics: Vec<TopicSeen>,
}

/// The hours of one series.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hours {
    /// The beginning of each hour with its figures, the oldest first. An hour in which nothing was
    /// counted is left out.
    pub hours: Vec<(UnixMillis, HourFigures)>,
    /// Hours that cannot be read.
    pub unreadable: u64,
}

/// Figures that are missing from hours, or may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistoryGaps {
    /// Older hours of URLs and topics were deleted; the sums of everything are there.
    pub names_since: Option<UnixMillis>,
    /// Workers that wrote last in the time asked for, have been silent since, and did not end: they
    /// were killed, or do not reach the store.
    pub silent: u64,
    /// The last time that one of these wrote.
    pub last_silent: Option<UnixMillis>,
}

/// A part of the topics to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicPage {
    /// Begin behind the topic that [`TopicListing::next`] names, which need not exist any more; in
    /// the order of topics, it is a topic. `None`: at the beginning.
    pub after: Option<String>,
    /// The order of the list.
    pub order: TopicOrder,
    /// Only topics with an event that no subscription wanted.
    pub unwanted: bool,
    /// Topics at most; taken as 1 to [`MAX_PAGE_LIMIT`].
    pub limit: u32,
}

/// One page of topics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicListing {
    /// In the order of the page.
    pub topics: Vec<TopicSeen>,
    /// Goes into [`TopicPage::after`] for the next page; `None`: this is the last one.
    pub next: Option<String>,
    /// Topics that are not distinguished, as one.
    pub others: Option<TopicSeen>,
}

/// The part of a [`Store`](super::Store) that keeps figures by the hour, and topics.
#[async_trait]
pub trait HistoryStore {
    /// Adds figures and sightings to those that are there, all in one transaction: at most
    /// [`HISTORY_AT_ONCE`] should come at a time. Topics beyond `max_topics` count as others.
    /// Returns the number of hours that could not be read, and were begun anew.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed; then nothing is added, but after
    /// [`StoreError::TimedOut`] everything may be.
    ///
    /// # Cancel safety
    ///
    /// A batch that is sent again, with its number, counts once.
    async fn add_history(&self, batch: &HistoryBatch, max_topics: u32) -> Result<u64, StoreError>;

    /// Notes that a worker has added all that it counted, and adds nothing any more.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn end_history(&self, worker: Uuid) -> Result<(), StoreError>;

    /// The figures that are missing from the hours from `since` to `until`, or may be. A worker
    /// that has not written for five minutes before `now` counts as silent; it is known for as long
    /// as hours are kept, and a week at least.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn history_gaps(
        &self,
        since: UnixMillis,
        until: UnixMillis,
        now: UnixMillis,
    ) -> Result<HistoryGaps, StoreError>;

    /// The hours of a series that begin at or after `since` and before `until`.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn history(
        &self,
        series: &Series,
        since: UnixMillis,
        until: UnixMillis,
    ) -> Result<Hours, StoreError>;

    /// One page of the topics that were seen.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn topics(&self, page: &TopicPage) -> Result<TopicListing, StoreError>;

    /// A topic that was seen; `None`: it was not, or it is not distinguished.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn topic(&self, topic: &str) -> Result<Option<TopicSeen>, StoreError>;

    /// Topics with an event at or after `since` that no subscription wanted, the last one first, at
    /// most `limit`.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn unwanted_topics(
        &self,
        since: UnixMillis,
        limit: u32,
    ) -> Result<Vec<TopicSeen>, StoreError>;

    /// Deletes hours that began before `before`, topics that were seen last before it, and, of URLs
    /// and topics, the oldest hours beyond `max_rows`, but not the present one; in portions, and no
    /// more than 100,000 rows of each at once. Several processes may do so at a time.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn prune_history(
        &self,
        before: UnixMillis,
        max_rows: u64,
        now: UnixMillis,
    ) -> Result<(), StoreError>;
}

/// A row of `topics`.
#[derive(sqlx_macros::FromRow)]
pub(super) struct TopicRow {
    topic: String,
    first_ms: i64,
    last_ms: i64,
    events: i64,
    unwanted: i64,
    unwanted_ms: Option<i64>,
}

impl From<TopicRow> for TopicSeen {
    fn from(row: TopicRow) -> Self {
        Self {
            topic: row.topic,
            first_ms: UnixMillis::new(row.first_ms),
            last_ms: UnixMillis::new(row.last_ms),
            events: row.events.unsigned_abs(),
            unwanted: row.unwanted.unsigned_abs(),
            unwanted_ms: row.unwanted_ms.map(UnixMillis::new),
        }
    }
}

#[async_trait]
impl<B: Backend> HistoryStore for SqlStore<B> {
    async fn add_history(&self, batch: &HistoryBatch, max_topics: u32) -> Result<u64, StoreError> {
        let added = async {
            let mut transaction = self.begin_relaxed().await?;
            sql(LOCK).execute(&mut transaction).await?;
            let begin = sql(BEGIN_BATCH).bind(batch.worker.to_string());
            let begin = begin.bind(batch.number).bind(batch.at.get());
            if begin.execute(&mut transaction).await? == 0 {
                return Ok(0);
            }
            let unreadable = add_hours(&mut transaction, &batch.hours).await?;
            topics::add(&mut transaction, &batch.topics, max_topics).await?;
            transaction.commit().await?;
            Ok(unreadable)
        };
        self.ask("adding to the history", added).await
    }

    async fn end_history(&self, worker: Uuid) -> Result<(), StoreError> {
        gaps::end(self, worker).await
    }

    async fn history_gaps(
        &self,
        since: UnixMillis,
        until: UnixMillis,
        now: UnixMillis,
    ) -> Result<HistoryGaps, StoreError> {
        gaps::find(self, since, until, now).await
    }

    async fn history(
        &self,
        series: &Series,
        since: UnixMillis,
        until: UnixMillis,
    ) -> Result<Hours, StoreError> {
        let read = async {
            let rows = sql(HOURS).bind(series.kind()).bind(series.name());
            let rows = rows.bind(since.get()).bind(until.get());
            let mut found = Hours::default();
            for (hour, bytes) in self.all::<(i64, Vec<u8>)>(rows).await? {
                match HourFigures::from_bytes(&bytes) {
                    Ok(figures) => found.hours.push((UnixMillis::new(hour), figures)),
                    Err(_unreadable) => found.unreadable = found.unreadable.saturating_add(1),
                }
            }
            Ok(found)
        };
        self.ask("reading the history", read).await
    }

    async fn topics(&self, page: &TopicPage) -> Result<TopicListing, StoreError> {
        let read = async {
            let limit = page.limit.clamp(1, MAX_PAGE_LIMIT);
            let rows = self.all::<TopicRow>(topics::listing(page, limit)).await?;
            let mut topics: Vec<_> = rows.into_iter().map(TopicSeen::from).collect();
            let on_page = usize::try_from(limit).unwrap_or(usize::MAX);
            let more = topics.len() > on_page;
            topics.truncate(on_page);
            let last = topics.last().map(|last| topics::behind(page.order, last));
            let others = self.optional::<TopicRow>(sql(TOPIC).bind("")).await?;
            let next = last.filter(|_| more);
            Ok(TopicListing { topics, next, others: others.map(TopicSeen::from) })
        };
        self.ask("reading the topics", read).await
    }

    async fn topic(&self, topic: &str) -> Result<Option<TopicSeen>, StoreError> {
        let row = self.optional::<TopicRow>(sql(TOPIC).bind(topic));
        Ok(self.ask("reading a topic", row).await?.map(TopicSeen::from))
    }

    async fn unwanted_topics(
        &self,
        since: UnixMillis,
        limit: u32,
    ) -> Result<Vec<TopicSeen>, StoreError> {
        let rows = self.all::<TopicRow>(sql(UNWANTED).bind(since.get()).bind(i64::from(limit)));
        let rows = self.ask("reading which topics no subscription wanted", rows).await?;
        Ok(rows.into_iter().map(TopicSeen::from).collect())
    }

    async fn prune_history(
        &self,
        before: UnixMillis,
        max_rows: u64,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        prune::prune(self, before, max_rows, now).await
    }
}

/// Adds figures to the rows that are there; returns how many of these could not be read.
async fn add_hours<DB: SqlDatabase>(
    transaction: &mut Tx<DB>,
    hours: &[(Series, UnixMillis, HourFigures)],
) -> sqlx::Result<u64> {
    let mut by_hour: BTreeMap<(&str, i64), Vec<(&str, &HourFigures)>> = BTreeMap::new();
    for (series, hour, figures) in hours {
        let rows = by_hour.entry((series.kind(), hour.get())).or_default();
        rows.push((series.name(), figures));
    }
    let mut unreadable = 0_u64;
    for (key, rows) in by_hour {
        for rows in rows.chunks(ROWS_AT_ONCE) {
            let found: Vec<(String, Vec<u8>)> = stored(key, rows).all(transaction).await?;
            let mut sums: BTreeMap<&str, HourFigures> =
                rows.iter().map(|(name, figures)| (*name, (*figures).clone())).collect();
            for (name, bytes) in &found {
                match (HourFigures::from_bytes(bytes), sums.get_mut(name.as_str())) {
                    (Ok(figures), Some(sum)) => sum.merge(&figures),
                    (Err(_unreadable), _) => unreadable = unreadable.saturating_add(1),
                    (Ok(_), None) => {}
                }
            }
            replace(key, &sums).execute(transaction).await?;
        }
    }
    Ok(unreadable)
}

/// The rows that are there of these names.
fn stored<DB: SqlDatabase>(
    (kind, hour): (&str, i64),
    rows: &[(&str, &HourFigures)],
) -> Statement<DB> {
    let select = sql("SELECT name, figures FROM history WHERE series = ").push_bind(kind);
    let mut select = select.push(" AND hour_ms = ").push_bind(hour).push(" AND name IN (");
    for (index, (name, _)) in rows.iter().enumerate() {
        select = select.push(if index == 0 { "" } else { ", " }).push_bind(*name);
    }
    select.push(")")
}

fn replace<DB: SqlDatabase>(
    (kind, hour): (&str, i64),
    sums: &BTreeMap<&str, HourFigures>,
) -> Statement<DB> {
    let mut insert = sql("INSERT INTO history (series, name, hour_ms, figures) VALUES ");
    for (index, (name, figures)) in sums.iter().enumerate() {
        insert = insert.push(if index == 0 { "(" } else { "), (" }).push_bind(kind);
        insert = insert.push(", ").push_bind(*name).push(", ").push_bind(hour);
        insert = insert.push(", ").push_bind(figures.to_bytes());
    }
    insert.push(") ON CONFLICT (series, name, hour_ms) DO UPDATE SET figures = excluded.figures")
}
