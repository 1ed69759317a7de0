//! Events with the present states of their deliveries.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{GapView, History, looked_through};
use homing_domain::record::{Record, RecordId};
use homing_store::{DeliveryFilter, DeliveryListing, DeliveryPage, MAX_PAGE_LIMIT, StoreError};

/// An event of which the attempt log has a delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Event)]
pub struct EventView {
    /// Its id.
    pub event: String,
    /// Its topic.
    pub topic: String,
    /// The start of the last attempt, or of the last wait, of one of its deliveries; RFC 3339.
    pub last: String,
    /// The number of its deliveries, at most 1,000.
    pub deliveries: u32,
    /// The same by state: `delivered`, `waits`, `not_before`, `throttled`, `held`, `parked` (also
    /// what was replayed or dropped since) and `not_wanted`.
    pub states: BTreeMap<String, u32>,
}

/// A page of events.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = EventsPage)]
pub struct EventsView {
    /// Those first of which a delivery changed last.
    pub events: Vec<EventView>,
    /// The value of `after` for the next page.
    pub next: Option<RecordId>,
    /// Gaps of the attempt log since the oldest change of this page.
    pub gaps: Vec<GapView>,
    /// The reasons why something may be missing.
    pub notes: Vec<String>,
}

impl EventView {
    /// `last` are the last records of its deliveries, the newest first.
    fn new(newest: &Record, last: &[Record]) -> Self {
        let mut states = BTreeMap::new();
        for record in last {
            let count: &mut u32 = states.entry(record.state().as_str().to_owned()).or_default();
            *count = count.saturating_add(1);
        }
        Self {
            event: newest.event.clone(),
            topic: newest.topic.clone(),
            last: newest.started().to_string(),
            deliveries: u32::try_from(last.len()).unwrap_or(u32::MAX),
            states,
        }
    }
}

impl History {
    /// A page of the events whose deliveries `page` chooses, each on the page of the one that
    /// changed last; counted are all deliveries of an event.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn events(&self, page: &DeliveryPage) -> Result<EventsView, StoreError> {
        let chosen = self.store.deliveries(page).await?;
        let mut events: Vec<EventView> = Vec::new();
        for record in &chosen.last {
            if events.iter().any(|one| one.event == record.event) {
                continue;
            }
            if self.is_on_an_earlier_page(page, record).await? {
                continue;
            }
            let event = Some(record.event.clone());
            let filter = DeliveryFilter { event, ..DeliveryFilter::default() };
            let all = DeliveryPage { filter, after: None, limit: MAX_PAGE_LIMIT };
            let DeliveryListing { last, .. } = self.store.deliveries(&all).await?;
            let newest = last.first().unwrap_or(record);
            events.push(EventView::new(newest, &last));
        }
        let since = chosen.last.last().map_or(super::BEGINNING, Record::started);
        let gaps = self.store.attempt_gaps(since, super::END).await?;
        let gaps = gaps.iter().map(GapView::from).collect();
        let cut = chosen.next.filter(|_| chosen.is_cut);
        let notes = cut.map(|next| looked_through("deliveries", next)).into_iter().collect();
        Ok(EventsView { events, next: chosen.next, gaps, notes })
    }

    /// True if the newest of the chosen deliveries of this event comes before the page.
    async fn is_on_an_earlier_page(
        &self,
        page: &DeliveryPage,
        record: &Record,
    ) -> Result<bool, StoreError> {
        let Some(after) = page.after else { return Ok(false) };
        let filter = DeliveryFilter { event: Some(record.event.clone()), ..page.filter.clone() };
        let newest = DeliveryPage { filter, after: None, limit: 1 };
        let newest = self.store.deliveries(&newest).await?;
        Ok(newest.last.first().is_some_and(|newest| newest.id >= after))
    }
}
