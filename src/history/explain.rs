//! What happened to one event: a story for each subscription it was owed to, and what is not known.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{GapView, History, RecordView, timeline};
use homing_delivery::{
    circuits,
    parking::{Entry, Selection},
};
use homing_domain::{
    clock,
    id::{DeliveryId, SubscriptionId},
    record::Record,
    report::Chain,
    subscription::Subscription,
    time::UnixMillis,
    topic::Topic,
    url::EndpointUrl,
};
use homing_store::{LogExtent, MAX_PAGE_LIMIT, Page, RecordFilter, RecordPage, StoreError};

/// Records of one event that are read at most, the newest.
const MAX_RECORDS: u32 = MAX_PAGE_LIMIT;
/// Parked messages that are looked at: about a second, if the broker is not busy.
const MAX_PARKED: u32 = 1_000;
/// Subscriptions that are looked through for those that want the topic.
const MAX_SUBSCRIPTIONS: usize = 20_000;
/// Subscriptions that are named because they want the topic and were sent nothing.
const MAX_UNSENT: usize = 20;
/// Gaps that are named, the newest.
const GAPS_NAMED: usize = 10;

/// What is known of an event.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Explanation {
    /// Its id.
    pub event: String,
    /// Its topic, where that is known.
    pub topic: Option<String>,
    /// What happened, for each subscription that it was owed to.
    pub deliveries: Vec<DeliveryTimeline>,
    /// Subscriptions that want the topic and of which nothing is known, the first of them.
    pub unsent: Vec<Unsent>,
    /// How far the parking queue was looked through; absent: it did not matter.
    pub parking: Option<Lookup>,
    /// What the attempt log misses from the time in question, the newest gaps.
    pub gaps: Vec<GapView>,
    /// What else is to be known, and what is not known and why.
    pub notes: Vec<String>,
}

/// What happened to the delivery of the event to one subscription.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct DeliveryTimeline {
    /// To whom it is owed; absent: the event was parked before it was fanned out.
    pub subscription: Option<SubscriptionId>,
    /// What is sent as `webhook-id`.
    pub delivery: Option<DeliveryId>,
    /// Where it goes.
    pub url: Option<String>,
    /// `delivered`, `not_wanted`, `waits` or `parked`, as far as is known.
    pub state: &'static str,
    /// How it stands, in a sentence.
    pub summary: String,
    /// What comes next, or can be done, in a sentence.
    pub next: Option<String>,
    /// When it is due; RFC 3339.
    pub due: Option<String>,
    /// A command that sends it again.
    pub command: Option<String>,
    /// How its endpoint stands now, unless the delivery is done.
    pub circuit: Option<circuits::View>,
    /// How it is parked now, where it was found there.
    pub parked: Option<Parked>,
    /// Attempts, and holds without one, the oldest first.
    pub attempts: Vec<RecordView>,
}

/// How something is parked.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = ParkedState)]
pub struct Parked {
    /// Why.
    pub reason: &'static str,
    /// Since when; RFC 3339. Absent where the broker parked it.
    pub since: Option<String>,
    /// Requests made until then.
    pub attempts: u32,
    /// What the endpoint did last.
    pub last_outcome: Option<String>,
}

impl From<&Entry> for Parked {
    fn from(entry: &Entry) -> Self {
        Self {
            reason: entry.reason.as_str(),
            since: entry.parked_ms.map(|since| since.to_string()),
            attempts: entry.attempts,
            last_outcome: entry.last_outcome.clone(),
        }
    }
}

/// A subscription that wants the topic and of which nothing is known.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Unsent {
    /// Which one.
    pub subscription: SubscriptionId,
    /// Where it goes.
    pub url: String,
    /// Why it may have been sent nothing.
    pub why: &'static str,
}

/// How far the parking queue was looked through.
#[derive(Clone, Debug, Default, Serialize, utoipa::ToSchema)]
pub struct Lookup {
    /// Messages looked at.
    pub scanned: u32,
    /// Messages that were there.
    pub total: u32,
    /// Whether all of them were looked at.
    pub complete: bool,
    /// Why it could not be looked through.
    pub error: Option<String>,
}

/// All that was found, before it is put into words.
struct Found {
    records: Vec<Record>,
    entries: Vec<Entry>,
    looked: Option<Lookup>,
}

impl History {
    /// What happened to the event with this id, by the attempt log and, where `looks`, by the first
    /// messages of the parking queue. `topic` helps where nothing else tells it.
    ///
    /// # Errors
    ///
    /// [`StoreError`]. A broker that is away is no error: what it would have told is missing, and
    /// the explanation says so.
    pub async fn explain(
        &self,
        event: &str,
        topic: Option<Topic>,
        looks: bool,
    ) -> Result<Explanation, StoreError> {
        let filter = RecordFilter { event: Some(event.to_owned()), ..RecordFilter::default() };
        let page = RecordPage { filter, after: None, limit: MAX_RECORDS };
        let listing = self.store.attempts(&page).await?;
        let mut found = Found { records: listing.records, entries: Vec::new(), looked: None };
        found.records.reverse();
        if !found.are_all_done() {
            if looks {
                self.look(event, &mut found).await;
            } else {
                let error = "others are at it; ask again in a moment".to_owned();
                found.looked = Some(Lookup { error: Some(error), ..Lookup::default() });
            }
        }
        let topic = found.topic().or(topic);
        let deliveries = self.timelines(&found).await?;
        let unsent = match &topic {
            Some(topic) => self.unsent(topic, &found).await?,
            None => Vec::new(),
        };
        let since = found.records.first().map_or(UnixMillis::default(), Record::started);
        let gaps = self.store.attempt_gaps(since, UnixMillis::new(i64::MAX)).await?;
        let mut notes = Vec::new();
        if listing.next.is_some() {
            notes.push(format!("only the newest {MAX_RECORDS} records were read"));
        }
        if deliveries.is_empty() {
            notes.extend(self.ignorance(topic.as_ref()).await?);
        } else if gaps.is_empty() {
            notes.push("the attempt log has no gap since its first record".to_owned());
        }
        notes.extend(found.looked.as_ref().and_then(timeline::looked));
        Ok(Explanation {
            event: event.to_owned(),
            topic: topic.map(|topic| topic.to_string()),
            deliveries,
            unsent,
            parking: found.looked,
            gaps: gaps.iter().rev().take(GAPS_NAMED).rev().map(GapView::from).collect(),
            notes,
        })
    }

    async fn look(&self, event: &str, found: &mut Found) {
        let selection = Selection { event: Some(event.to_owned()), ..Selection::default() };
        found.looked = Some(match self.parking.list_first(&selection, MAX_PARKED).await {
            Ok(listing) => {
                found.entries = listing.entries;
                let (scanned, total) = (listing.scanned, listing.total);
                Lookup { scanned, total, complete: scanned >= total, error: None }
            }
            Err(error) => Lookup { error: Some(Chain(&error).to_string()), ..Lookup::default() },
        });
    }

    /// A story for each subscription, in the order in which they began.
    async fn timelines(&self, found: &Found) -> Result<Vec<DeliveryTimeline>, StoreError> {
        let mut recipient: Vec<Option<SubscriptionId>> = Vec::new();
        for subscription in found.recipient() {
            if !recipient.contains(&subscription) {
                recipient.push(subscription);
            }
        }
        let mut circuits = BTreeMap::new();
        let mut timelines = Vec::new();
        for subscription in recipient {
            let records = found.records.iter().filter(|record| owner(record) == subscription);
            let told = timeline::Timeline {
                records: records.collect(),
                parked: found.entries.iter().find(|entry| entry.subscription_id == subscription),
                looked: found.looked.as_ref(),
            };
            let url = match told.url() {
                Some(url) => Some(url),
                None => self.url_of(subscription).await,
            };
            if !told.is_done() {
                self.learn_circuit(url.as_deref(), &mut circuits).await?;
            }
            let circuit = url.as_deref().and_then(|url| circuits.get(url)).cloned();
            timelines.push(timeline::tell(&told, url, circuit, clock::now()));
        }
        Ok(timelines)
    }

    /// Where a subscription sends to now; `None` where that cannot be said.
    async fn url_of(&self, subscription: Option<SubscriptionId>) -> Option<String> {
        let found = self.store.subscription(subscription?).await.ok()??;
        Some(found.spec.url.as_str().to_owned())
    }

    async fn learn_circuit(
        &self,
        url: Option<&str>,
        circuits: &mut BTreeMap<String, circuits::View>,
    ) -> Result<(), StoreError> {
        let Some(url) = url.filter(|url| !circuits.contains_key(*url)) else { return Ok(()) };
        let Ok(endpoint) = url.parse::<EndpointUrl>() else { return Ok(()) };
        match self.store.circuit(&endpoint).await {
            Ok(Some(circuit)) => {
                circuits.insert(url.to_owned(), circuits::View::of(&endpoint, &circuit));
                Ok(())
            }
            Ok(None) | Err(StoreError::CorruptCircuit(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Subscriptions that want `topic` and were owed nothing that is known.
    async fn unsent(&self, topic: &Topic, found: &Found) -> Result<Vec<Unsent>, StoreError> {
        let recipient: BTreeSet<_> = found.recipient().collect();
        let taken = found.taken();
        let mut unsent = Vec::new();
        let mut page = Page { after: None, limit: MAX_PAGE_LIMIT };
        let mut looked_at = 0_usize;
        loop {
            let listing = self.store.subscriptions(page).await?;
            looked_at = looked_at.saturating_add(listing.subscriptions.len());
            let wanting = listing.subscriptions.iter().filter(|subscription| {
                subscription.spec.wants_topic(topic) && !recipient.contains(&Some(subscription.id))
            });
            unsent.extend(wanting.map(|subscription| Unsent {
                subscription: subscription.id,
                url: subscription.spec.url.as_str().to_owned(),
                why: why_unsent(subscription, taken),
            }));
            page.after = listing.next;
            if page.after.is_none() || unsent.len() >= MAX_UNSENT || looked_at >= MAX_SUBSCRIPTIONS
            {
                unsent.truncate(MAX_UNSENT);
                return Ok(unsent);
            }
        }
    }

    /// Why nothing may be known.
    async fn ignorance(&self, topic: Option<&Topic>) -> Result<Vec<String>, StoreError> {
        let mut notes = vec![match self.store.attempt_log().await? {
            LogExtent { oldest: Some(oldest), rows } => {
                format!(
                    "the attempt log goes back to {oldest} ({rows} records); what is older is forgotten"
                )
            }
            LogExtent { oldest: None, .. } => {
                "the attempt log is empty: nothing was attempted yet, or the workers do not log \
                 (`attempts.enabled`)"
                    .to_owned()
            }
        }];
        let primary = self.broker.topology().names().primary();
        if let Ok(Some(depth)) = self.broker.depth(&primary).await
            && (depth.messages > 0 || depth.consumers == 0)
        {
            notes.push(format!(
                "it may not have been taken yet: `{primary}` holds {} events, and {} workers \
                 consume it",
                depth.messages, depth.consumers
            ));
        }
        if topic.is_none() {
            notes.push(
                "its topic is not known; with it, the subscriptions that want it can be named"
                    .to_owned(),
            );
        }
        notes.push(
            "an event that was never published, or that no subscription wanted, leaves no record"
                .to_owned(),
        );
        Ok(notes)
    }
}

impl Found {
    fn are_all_done(&self) -> bool {
        let mut last = BTreeMap::new();
        for record in &self.records {
            last.insert(owner(record), record.next_state.as_str());
        }
        !last.is_empty()
            && last.values().all(|next_state| matches!(*next_state, "delivered" | "not_wanted"))
    }

    fn topic(&self) -> Option<Topic> {
        let recorded = self.records.first().map(|record| record.topic.as_str());
        let parked = || self.entries.iter().find_map(|entry| entry.topic.as_deref());
        Topic::new(recorded.or_else(parked)?).ok()
    }

    /// To whom it was owed; the same may come several times.
    fn recipient(&self) -> impl Iterator<Item = Option<SubscriptionId>> {
        let recorded = self.records.iter().map(owner);
        recorded.chain(self.entries.iter().map(|entry| entry.subscription_id))
    }

    /// When the event was taken, at the latest.
    fn taken(&self) -> Option<UnixMillis> {
        let recorded = self.records.first().map(Record::started);
        let parked = self.entries.iter().filter_map(|entry| entry.received_ms).min();
        recorded.into_iter().chain(parked).min()
    }
}

fn owner(record: &Record) -> Option<SubscriptionId> {
    record.recipient.map(|(subscription, _)| subscription)
}

fn why_unsent(subscription: &Subscription, taken: Option<UnixMillis>) -> &'static str {
    if taken.is_some_and(|taken| subscription.created > taken) {
        "it was made after the event was taken"
    } else if subscription.spec.wants_any_body() {
        "it wants the topic now; perhaps not when the event was taken"
    } else {
        "it has filters, which the event may not pass"
    }
}
