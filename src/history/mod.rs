//! The history of deliveries: the attempt log in pages, what attempts sent and received, the
//! timeline of one event, figures by the hour, and the topics that were seen.
//!
//! Promises: reading changes nothing, at the broker least of all; what is not known is reported,
//! with the reason. The log is no queue: an event without records may still be delivered.

mod deliveries;
mod errors;
mod events;
mod explain;
mod hours;
mod payload;
mod timeline;
mod topics;
mod view;
mod words;

use std::{sync::Arc, time::Duration};

pub use self::{
    deliveries::DeliveriesView,
    errors::{ErrorView, ErrorsView},
    events::{EventView, EventsView},
    hours::{FiguresView, HourView, HoursView, Percentiles},
    payload::{HeaderView, PartView, PayloadView},
    topics::{TopicView, Topics, TopicsView},
    view::{DeliveryTimeline, Explanation, GapView, Lookup, PageView, Parked, RecordView, Unsent},
};

use homing_broker::Broker;
use homing_delivery::{circuits::CircuitBreakers, parking::Parking, worker::Latest};
use homing_domain::{record::RecordId, time::UnixMillis};
use homing_store::{RecordPage, Store, StoreError};

/// Reads the history; cheap to clone.
#[derive(Clone)]
pub struct History {
    store: Arc<dyn Store>,
    broker: Broker,
    parking: Parking,
    circuits: CircuitBreakers,
    subscriptions: Latest,
}

/// The time that figures by the hour are shown for, unless another one is asked for.
pub const A_DAY: Duration = Duration::from_hours(24);

const BEGINNING: UnixMillis = UnixMillis::new(0);
const END: UnixMillis = UnixMillis::new(i64::MAX);

impl History {
    /// The history in `store`, and in what is parked, for the events of `subscriptions`.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        broker: Broker,
        parking: Parking,
        subscriptions: Latest,
    ) -> Self {
        let circuits = CircuitBreakers::new(Arc::clone(&store), broker.clone());
        Self { store, broker, parking, circuits, subscriptions }
    }

    /// A page of the attempt log, the newest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn page(&self, page: &RecordPage) -> Result<PageView, StoreError> {
        let listing = self.store.attempts(page).await?;
        let oldest = listing.next.map(RecordId::started);
        let since = oldest.or(page.filter.since).unwrap_or(BEGINNING);
        let after = page.after.map(RecordId::started);
        let until = after.or(page.filter.until).unwrap_or(END);
        let gaps = self.store.attempt_gaps(since, until).await?;
        let cut = listing.next.filter(|_| listing.is_cut);
        Ok(PageView {
            attempts: listing.records.iter().map(RecordView::from).collect(),
            next: listing.next,
            gaps: gaps.iter().map(GapView::from).collect(),
            notes: cut.map(|next| looked_through("attempts", next)).into_iter().collect(),
        })
    }
}

/// The note of a page that ends because enough was looked at.
fn looked_through(what: &str, next: RecordId) -> String {
    format!(
        "looked through the {what} back to {}; older ones follow on the next page",
        next.started()
    )
}
