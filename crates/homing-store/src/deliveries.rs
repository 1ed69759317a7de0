//! Deliveries with their present states, read from the attempt log.
//!
//! A page is put together from branches, one for each state that is searched for. A branch reads
//! along an index that has its rows in the order of the page. Where a filter has no index, a branch
//! looks at a bounded number of rows; the page ends where the first of them stops, and says so.
//!
//! Marks of last records may be too many: a worker of an earlier version takes none. So a row counts
//! only where its delivery has no later record, which is looked up.

use std::cmp::Reverse;

use async_trait::async_trait;
use serde::Deserialize;

use super::{
    MAX_PAGE_LIMIT, StoreError,
    attempt_row::{self, AttemptRow, COLUMNS, bytes},
    attempt_statements::{IS_LATER, LAST, LOOKED_AT, LOOKED_AT_AT_MOST, PAIRS_AT_ONCE},
    attempts::{RecordFilter, normalised},
    backend::{Backend, SqlStore},
    statement::{SqlDatabase, Statement, Tx, sql},
};
use homing_domain::{
    delivery_state::{DeliveryState, States},
    id::{DeliveryId, SubscriptionId},
    record::{Record, RecordId},
    text::parsed,
    time::UnixMillis,
};

/// A choice of deliveries; all conditions that are set must hold, none means all deliveries.
///
/// Deserialized from texts, as queries and forms have them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeliveryFilter {
    /// Of this event.
    #[serde(deserialize_with = "parsed")]
    pub event: Option<String>,
    /// With this id.
    #[serde(deserialize_with = "parsed")]
    pub delivery: Option<DeliveryId>,
    /// Of this subscription.
    #[serde(deserialize_with = "parsed")]
    pub subscription: Option<SubscriptionId>,
    /// To this URL, normalised.
    #[serde(deserialize_with = "normalised")]
    pub url: Option<String>,
    /// With this topic.
    #[serde(deserialize_with = "parsed")]
    pub topic: Option<String>,
    /// In one of these states.
    #[serde(rename = "state", deserialize_with = "parsed")]
    pub states: Option<States>,
    /// Whose last record began at or after this instant.
    #[serde(alias = "since_ms", deserialize_with = "parsed")]
    pub since: Option<UnixMillis>,
    /// Whose last record began before this instant.
    #[serde(alias = "until_ms", deserialize_with = "parsed")]
    pub until: Option<UnixMillis>,
}

/// A part of the deliveries to read: those with the newest last records first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryPage {
    /// The deliveries to read.
    pub filter: DeliveryFilter,
    /// Begin behind this record, which need not exist any more; `None`: with the newest.
    pub after: Option<RecordId>,
    /// Deliveries at most; taken as 1 to [`MAX_PAGE_LIMIT`].
    pub limit: u32,
}

/// One page of deliveries.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeliveryListing {
    /// The last record of each, the newest first.
    pub last: Vec<Record>,
    /// Goes into [`DeliveryPage::after`] for the next page; `None`: this is the last one.
    pub next: Option<RecordId>,
    /// True if the page ends because enough was looked at, not because it is full.
    pub is_cut: bool,
}

/// The part of a [`Store`](super::Store) that lists deliveries.
#[async_trait]
pub trait DeliveryStore {
    /// One page of deliveries. One whose state changes while pages are read may come twice, or not
    /// at all.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn deliveries(&self, page: &DeliveryPage) -> Result<DeliveryListing, StoreError>;

    /// All records of the deliveries of these records, the oldest first; of too many, the newest
    /// `limit`.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn records_of(&self, last: &[Record], limit: u32) -> Result<Vec<Record>, StoreError>;
}

#[async_trait]
impl<B: Backend> DeliveryStore for SqlStore<B> {
    async fn deliveries(&self, page: &DeliveryPage) -> Result<DeliveryListing, StoreError> {
        let read = async {
            let limit = page.limit.clamp(1, MAX_PAGE_LIMIT);
            let on_page = usize::try_from(limit).unwrap_or(usize::MAX);
            let (bounded, whole): (Vec<_>, Vec<_>) =
                Branch::of(&page.filter).into_iter().partition(|branch| branch.is_bounded);
            let search = Search { page, indexed_by: B::DIALECT.indexed_by };
            // One instant: what is in no branch meanwhile moves the end of none.
            let mut transaction = self.begin_snapshot().await?;
            if let Some(in_order) = B::DIALECT.in_order {
                sql(in_order).execute(&mut transaction).await?;
            }
            let behind = limit.saturating_add(1);
            let mut last = rows(&mut transaction, search.rows(&whole, behind, None)).await?;
            // What is older than a full page need not be looked at.
            let full = last.get(on_page).map(|record| record.id);
            let mut stopped = None;
            let most = if page.filter.delivery.is_some() { LOOKED_AT_AT_MOST } else { LOOKED_AT };
            let most = most / bounded.len().max(1);
            for branch in &bounded {
                let end = search.end(branch, most, full);
                let end: Option<(Vec<u8>,)> = end.optional(&mut transaction).await?;
                let end = end.map(|(id,)| attempt_row::record_id(&id)).transpose()?;
                stopped = stopped.max(end);
            }
            // What one branch does not look at may be newer than what others find.
            last.retain(|record| Some(record.id) >= stopped);
            let found = search.rows(&bounded, behind, stopped.max(full));
            last.extend(rows(&mut transaction, found).await?);
            transaction.rollback().await?;
            last.sort_by_key(|record| Reverse(record.id));
            let is_full = last.len() > on_page;
            last.truncate(on_page);
            let after = last.last().map(|record| record.id).filter(|_| is_full);
            let is_cut = !is_full && stopped.is_some();
            Ok(DeliveryListing { last, next: after.or(stopped), is_cut })
        };
        self.ask("reading deliveries", read).await
    }

    async fn records_of(&self, last: &[Record], limit: u32) -> Result<Vec<Record>, StoreError> {
        let read = async {
            let (of_deliveries, of_events): (Vec<_>, Vec<_>) =
                last.iter().partition(|record| record.recipient.is_some());
            let mut found: Vec<_> = of_events.into_iter().cloned().collect();
            for chunk in of_deliveries.chunks(PAIRS_AT_ONCE) {
                let rows: Vec<AttemptRow> = self.all(records_of(chunk, limit)).await?;
                for row in rows {
                    found.push(row.build()?);
                }
            }
            found.sort_by_key(|record| record.id);
            let excess = found.len().saturating_sub(usize::try_from(limit).unwrap_or(usize::MAX));
            Ok(found.split_off(excess))
        };
        self.ask("reading the records of deliveries", read).await
    }
}

async fn rows<DB: SqlDatabase>(
    transaction: &mut Tx<DB>,
    statement: Option<Statement<DB>>,
) -> sqlx::Result<Vec<Record>> {
    let Some(statement) = statement else { return Ok(Vec::new()) };
    let rows: Vec<AttemptRow> = statement.all(transaction).await?;
    rows.into_iter().map(AttemptRow::build).collect()
}

/// One state of a search, and the index along which it is read.
struct Branch {
    /// `None`: any state.
    state: Option<DeliveryState>,
    index: Index,
    /// Not all rows of the index match, so that a bounded number is looked at.
    is_bounded: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Index {
    /// Few rows, in no order.
    Event,
    /// The last records in a state other than delivered.
    State,
    /// The same of a subscription.
    SubscriptionState,
    /// The same to a URL.
    UrlState,
    /// All rows of a subscription.
    Subscription,
    /// All rows to a URL.
    Url,
    /// All rows.
    Everything,
}

impl Index {
    fn name(self) -> Option<&'static str> {
        match self {
            Self::Event => Some("attempts_by_event"),
            Self::Subscription => Some("attempts_by_subscription"),
            Self::Url => Some("attempts_by_url"),
            Self::State => Some("attempts_by_state"),
            Self::SubscriptionState => Some("attempts_by_subscription_state"),
            Self::UrlState => Some("attempts_by_url_state"),
            Self::Everything => None,
        }
    }
}

impl Branch {
    /// The branches of a search. Deliveries that were delivered are in no index of states, so that
    /// they cost nothing when they are written; nor are ids of deliveries, which are random.
    fn of(filter: &DeliveryFilter) -> Vec<Self> {
        if filter.event.is_some() {
            return vec![Self { state: None, index: Index::Event, is_bounded: false }];
        }
        let of_any = |index| Self { state: None, index, is_bounded: true };
        if filter.delivery.is_some() {
            return vec![match (&filter.subscription, &filter.url) {
                (Some(_), _) => of_any(Index::Subscription),
                (None, Some(_)) => of_any(Index::Url),
                (None, None) => of_any(Index::Everything),
            }];
        }
        let states = filter.states.as_ref().map_or(&DeliveryState::ALL[..], States::as_slice);
        let branch = |state: DeliveryState| {
            let is_delivered = state == DeliveryState::Delivered;
            let index = match (&filter.subscription, &filter.url) {
                (Some(_), _) if is_delivered => Index::Subscription,
                (Some(_), _) => Index::SubscriptionState,
                (None, Some(_)) if is_delivered => Index::Url,
                (None, Some(_)) => Index::UrlState,
                (None, None) if is_delivered => Index::Everything,
                (None, None) => Index::State,
            };
            let is_bounded = is_delivered
                || filter.topic.is_some()
                || (filter.subscription.is_some() && filter.url.is_some());
            Self { state: Some(state), index, is_bounded }
        };
        states.iter().copied().map(branch).collect()
    }
}

/// A page, and the way in which indexes are named.
struct Search<'a> {
    page: &'a DeliveryPage,
    indexed_by: Option<&'static str>,
}

impl Search<'_> {
    /// The last records of the page in `branches`, at most `limit`, and none older than `oldest`.
    /// `None`: there are no branches.
    fn rows<DB: SqlDatabase>(
        &self,
        branches: &[Branch],
        limit: u32,
        oldest: Option<RecordId>,
    ) -> Option<Statement<DB>> {
        let mut select = sql("");
        for (number, branch) in branches.iter().enumerate() {
            let before = if number == 0 { "SELECT * FROM (" } else { " UNION ALL SELECT * FROM (" };
            select = select.push(before);
            select = self.along(branch, COLUMNS, select, oldest);
            select = self.rest(branch, select.push(" AND latest = 1"));
            let by_event =
                self.indexed_by.map(|indexed_by| format!("{indexed_by}attempts_by_event"));
            select = select
                .push(" AND NOT EXISTS (SELECT 1 FROM attempts AS later")
                .push(by_event.as_deref().unwrap_or_default())
                .push(" WHERE ")
                .push(IS_LATER)
                .push(") ORDER BY id DESC LIMIT ")
                .push_bind(i64::from(limit))
                .push(") AS branch");
        }
        let select = select.push(" ORDER BY id DESC LIMIT ").push_bind(i64::from(limit));
        (!branches.is_empty()).then_some(select)
    }

    /// The last row that a bounded branch looks at, of `most`; none if it comes to its end, or to
    /// `oldest`, before.
    fn end<DB: SqlDatabase>(
        &self,
        branch: &Branch,
        most: usize,
        oldest: Option<RecordId>,
    ) -> Statement<DB> {
        let offset = most.saturating_sub(1);
        self.along(branch, "id", sql(""), oldest)
            .push(&format!(" ORDER BY id DESC LIMIT 1 OFFSET {offset}"))
    }

    /// The rows along the index of a branch, down to `oldest`.
    fn along<DB: SqlDatabase>(
        &self,
        branch: &Branch,
        columns: &str,
        select: Statement<DB>,
        oldest: Option<RecordId>,
    ) -> Statement<DB> {
        let DeliveryPage { filter, after, .. } = self.page;
        let times = RecordFilter { since: filter.since, until: filter.until, ..Default::default() };
        let (from, below) = times.bounds(*after);
        let below = below.map_or_else(|| LAST.to_vec(), |id| bytes(id.uuid()));
        let mut select = select.push("SELECT ").push(columns).push(" FROM attempts");
        if let (Some(indexed_by), Some(index)) = (self.indexed_by, branch.index.name()) {
            select = select.push(indexed_by).push(index);
        }
        select = select.push(" WHERE id < ").push_bind(below);
        if let Some(from) = from.max(oldest) {
            select = select.push(" AND id >= ").push_bind(bytes(from.uuid()));
        }
        let of_subscription = filter.subscription.map(|id| bytes(id.uuid()));
        match branch.index {
            Index::Event => select.push(" AND event = ").push_bind(filter.event.clone()),
            Index::Subscription => select.push(" AND subscription = ").push_bind(of_subscription),
            Index::Url => select.push(" AND url = ").push_bind(filter.url.clone()),
            // The words are exactly the conditions of the indexes, or no database uses them.
            Index::State => {
                in_state(branch, select.push(" AND latest = 1 AND state <> 'delivered'"))
            }
            Index::SubscriptionState => {
                let select = select.push(" AND latest = 1 AND state <> 'delivered'");
                let select = select.push(" AND subscription = ").push_bind(of_subscription);
                in_state(branch, select)
            }
            Index::UrlState => {
                let select = select.push(" AND latest = 1 AND state <> 'delivered'");
                in_state(branch, select.push(" AND url = ").push_bind(filter.url.clone()))
            }
            Index::Everything => select,
        }
    }

    /// The conditions for which there is no index.
    fn rest<DB: SqlDatabase>(&self, branch: &Branch, mut select: Statement<DB>) -> Statement<DB> {
        let filter = &self.page.filter;
        if branch.state.is_some() {
            select = in_state(branch, select);
        } else if let Some(states) = &filter.states {
            for (index, state) in states.as_slice().iter().enumerate() {
                select = select.push(if index == 0 { " AND state IN (" } else { ", " });
                select = select.push_bind(state.as_str());
            }
            select = select.push(")");
        }
        if let Some(delivery) = filter.delivery {
            select = select.push(" AND delivery = ").push_bind(bytes(delivery.uuid()));
        }
        if let Some(subscription) = filter.subscription {
            select = select.push(" AND subscription = ").push_bind(bytes(subscription.uuid()));
        }
        if let Some(url) = &filter.url {
            select = select.push(" AND url = ").push_bind(url);
        }
        if let Some(topic) = &filter.topic {
            select = select.push(" AND topic = ").push_bind(topic);
        }
        select
    }
}

fn in_state<DB: SqlDatabase>(branch: &Branch, select: Statement<DB>) -> Statement<DB> {
    match branch.state {
        Some(state) => select.push(" AND state = ").push_bind(state.as_str()),
        None => select,
    }
}

/// The records of the deliveries of `last`, at least one, at most `limit`.
pub(super) fn records_of<DB: SqlDatabase>(last: &[&Record], limit: u32) -> Statement<DB> {
    let mut select = sql(format!("SELECT {COLUMNS} FROM (VALUES "));
    for (index, record) in last.iter().enumerate() {
        let row = AttemptRow::from(*record);
        select = select.push(if index == 0 { "(" } else { "), (" }).push_bind(row.event);
        select = select.push(", ").push_bind(row.delivery);
    }
    select
        .push(
            ")) AS one CROSS JOIN attempts WHERE attempts.event = one.column1 \
             AND attempts.delivery = one.column2 ORDER BY attempts.id DESC LIMIT ",
        )
        .push_bind(i64::from(limit))
}
