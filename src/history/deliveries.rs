//! Deliveries with their present states, and their attempts.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    BEGINNING, DeliveryTimeline, END, GapView, History, Lookup, looked_through,
    timeline::{self, Timeline},
};
use homing_delivery::{circuits, parking::Entry};
use homing_domain::{
    clock,
    delivery_state::DeliveryState,
    record::{Record, RecordId},
    url::EndpointUrl,
};
use homing_store::{DeliveryPage, LogExtent, StoreError};

/// Records of one page that are read at most, the newest.
const MAX_RECORDS: u32 = 5_000;
/// URLs of one page whose circuits are read at most.
const MAX_CIRCUITS: usize = 20;

/// A page of deliveries.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = DeliveriesPage)]
pub struct DeliveriesView {
    /// Those with the newest last records first.
    pub deliveries: Vec<DeliveryTimeline>,
    /// The value of `after` for the next page.
    pub next: Option<RecordId>,
    /// Gaps of the attempt log since the oldest state of this page, regardless of filters: what
    /// followed may be missing.
    pub gaps: Vec<GapView>,
    /// The reasons why something may be missing.
    pub notes: Vec<String>,
}

impl History {
    /// A page of deliveries, each with its present state and its attempts, as far as the attempt log
    /// goes back. Its circuits are those of deliveries that are held.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn deliveries(&self, page: &DeliveryPage) -> Result<DeliveriesView, StoreError> {
        let listing = self.store.deliveries(page).await?;
        let records = self.store.records_of(&listing.last, MAX_RECORDS).await?;
        let circuits = self.circuits_of(&listing.last).await?;
        let (parked, lookup) = self.parked_of(&listing.last).await;
        let mut by_delivery: BTreeMap<_, Vec<&Record>> = BTreeMap::new();
        for record in &records {
            by_delivery.entry(key(record)).or_default().push(record);
        }
        let now = clock::now();
        let timelines = listing.last.iter().map(|last| {
            let records = by_delivery.remove(&key(last)).unwrap_or_else(|| vec![last]);
            let parked = parked.iter().find(|entry| is_of(entry, last));
            let known = Timeline { records, parked, lookup: lookup.as_ref() };
            let url = known.url();
            let circuit = url.as_deref().and_then(|url| circuits.get(url)).cloned();
            timeline::build(&known, url, circuit, now)
        });
        let deliveries: Vec<_> = timelines.collect();
        let mut notes = Vec::new();
        if let Some(next) = listing.next.filter(|_| listing.is_cut) {
            notes.push(looked_through("deliveries", next));
        }
        if records.len() >= usize::try_from(MAX_RECORDS).unwrap_or(usize::MAX) {
            notes.push(format!("of their attempts, only the newest {MAX_RECORDS} are shown"));
        }
        notes.extend(lookup.as_ref().and_then(timeline::lookup_note));
        if listing.next.is_none() || page.after.is_none() {
            notes.push(self.extent().await?);
        }
        let since = listing.last.last().map_or(BEGINNING, Record::started);
        let gaps = self.store.attempt_gaps(since, END).await?;
        let gaps = gaps.iter().map(GapView::from).collect();
        Ok(DeliveriesView { deliveries, next: listing.next, gaps, notes })
    }

    /// The entries of those that are parked still; no look where none was parked.
    async fn parked_of(&self, last: &[Record]) -> (Vec<Entry>, Option<Lookup>) {
        let parked = last.iter().filter(|record| record.state() == DeliveryState::Parked);
        let parked: Vec<_> = parked.cloned().collect();
        if parked.is_empty() {
            return (Vec::new(), None);
        }
        match self.parking.of_records(&parked).await {
            Ok((entries, arriving)) => (entries, Some(Lookup { arriving, error: None })),
            Err(error) => (Vec::new(), Some(Lookup::failed(&error))),
        }
    }

    /// The circuits of the URLs for which something is held.
    async fn circuits_of(
        &self,
        last: &[Record],
    ) -> Result<BTreeMap<String, circuits::View>, StoreError> {
        let held = last.iter().filter(|record| record.state() == DeliveryState::Held);
        let urls: BTreeSet<_> = held.filter_map(|record| record.url.as_deref()).collect();
        let mut found = BTreeMap::new();
        for url in urls.into_iter().take(MAX_CIRCUITS) {
            let Ok(endpoint) = url.parse::<EndpointUrl>() else { continue };
            match self.circuits.glance(&endpoint).await {
                Ok(view) => drop(found.insert(url.to_owned(), view)),
                Err(StoreError::CorruptCircuit(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// The time for which states are known.
    async fn extent(&self) -> Result<String, StoreError> {
        let LogExtent { oldest, newest, .. } = self.store.attempt_log().await?;
        Ok(match oldest.zip(newest) {
            None => {
                "the attempt log is empty: nothing was attempted yet, or the workers do not log \
                 (`attempts.enabled`)"
                    .to_owned()
            }
            Some((oldest, newest)) => format!(
                "states are known since {oldest}; what has waited for longer without an attempt is \
                 missing (`homing endpoints list` counts what is held). The last record is of \
                 {newest}: no state shows what happens while workers do not log \
                 (`attempts.enabled`)"
            ),
        })
    }
}

/// True if this is what was parked of the delivery of `record`.
fn is_of(entry: &Entry, record: &Record) -> bool {
    match record.recipient {
        Some((_, delivery)) => entry.delivery_id == Some(delivery),
        None => entry.delivery_id.is_none() && entry.event_id == record.event,
    }
}

/// The identity of a delivery; an event that was parked before its fan-out has only this record.
fn key(record: &Record) -> Result<uuid::Uuid, RecordId> {
    record.recipient.map(|(_, delivery)| delivery.uuid()).ok_or(record.id)
}
