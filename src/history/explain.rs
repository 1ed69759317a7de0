//! The explanation of one event: a timeline for each subscription, and what is not known.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    History, timeline,
    view::{DeliveryTimeline, Explanation, GapView, Lookup, Unsent},
};
use homing_delivery::{
    circuits,
    parking::{Bodies, Entry, Selection},
};
use homing_domain::{
    clock,
    id::{DeliveryId, SubscriptionId},
    record::{NextState, Record},
    subscription::Subscription,
    time::UnixMillis,
    topic::Topic,
    url::EndpointUrl,
};
use homing_store::{LogExtent, MAX_PAGE_LIMIT, Page, RecordFilter, RecordPage, StoreError};

/// Records of one event that are read at most, the newest.
const MAX_RECORDS: u32 = MAX_PAGE_LIMIT;
/// Parked deliveries of one event that are read at most.
const MAX_PARKED: u32 = 1_000;
/// Subscriptions that are searched for those that want the topic.
const MAX_SUBSCRIPTIONS: usize = 20_000;
/// Subscriptions that are named because they want the topic without a known delivery.
const MAX_UNSENT: usize = 20;
/// Gaps that are named, the newest.
const GAPS_NAMED: usize = 10;

/// A delivery and its subscription; `None`: an event that is none.
type Recipient = Option<(SubscriptionId, DeliveryId)>;

/// The records and entries found.
struct Found {
    records: Vec<Record>,
    entries: Vec<Entry>,
    lookup: Option<Lookup>,
}

impl History {
    /// Explains the event with this id from the attempt log and from what is parked. `topic` is
    /// used if it is not known otherwise.
    ///
    /// # Errors
    ///
    /// [`StoreError`]. A broker that is away is no error: the explanation says what is missing.
    pub async fn explain(
        &self,
        event: &str,
        topic: Option<Topic>,
    ) -> Result<Explanation, StoreError> {
        let filter = RecordFilter { event: Some(event.to_owned()), ..RecordFilter::default() };
        let page = RecordPage { filter, after: None, limit: MAX_RECORDS };
        let listing = self.store.attempts(&page).await?;
        let mut found = Found { records: listing.records, entries: Vec::new(), lookup: None };
        found.records.reverse();
        if !found.are_all_done() {
            self.look_among_parked(event, &mut found).await;
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
        notes.extend(found.lookup.as_ref().and_then(timeline::lookup_note));
        Ok(Explanation {
            event: event.to_owned(),
            topic: topic.map(|topic| topic.to_string()),
            deliveries,
            unsent,
            parking: found.lookup,
            gaps: gaps.iter().rev().take(GAPS_NAMED).rev().map(GapView::from).collect(),
            notes,
        })
    }

    async fn look_among_parked(&self, event: &str, found: &mut Found) {
        let selection = Selection { event: Some(event.to_owned()), ..Selection::default() };
        found.lookup =
            Some(match self.parking.list(&selection, MAX_PARKED, Bodies::Omitted).await {
                Ok(listing) => {
                    found.entries = listing.entries;
                    Lookup { arriving: listing.arriving, error: None }
                }
                Err(error) => Lookup::failed(&error),
            });
    }

    /// A timeline for each delivery, in the order in which they began.
    async fn timelines(&self, found: &Found) -> Result<Vec<DeliveryTimeline>, StoreError> {
        let mut recipients: Vec<Recipient> = Vec::new();
        for recipient in found.recipients() {
            if !recipients.contains(&recipient) {
                recipients.push(recipient);
            }
        }
        let mut circuits = BTreeMap::new();
        let mut timelines = Vec::new();
        for recipient in recipients {
            let records = found.records.iter().filter(|record| record.recipient == recipient);
            let known = timeline::Timeline {
                records: records.collect(),
                parked: found.entries.iter().find(|entry| recipient_of(entry) == recipient),
                lookup: found.lookup.as_ref(),
            };
            let url = match known.url() {
                Some(url) => Some(url),
                None => self.url_of(recipient.map(|(subscription, _)| subscription)).await,
            };
            if !known.is_done() {
                self.learn_circuit(url.as_deref(), &mut circuits).await?;
            }
            let circuit = url.as_deref().and_then(|url| circuits.get(url)).cloned();
            timelines.push(timeline::build(&known, url, circuit, clock::now()));
        }
        Ok(timelines)
    }

    /// The present URL of a subscription; `None` if it is not known.
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
        match self.circuits.view(&endpoint).await {
            Ok(view) => {
                circuits.insert(url.to_owned(), view);
                Ok(())
            }
            Err(StoreError::CorruptCircuit(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Subscriptions that want `topic`, without a known delivery: those in memory, or of the store
    /// where this process does not follow them.
    async fn unsent(&self, topic: &Topic, found: &Found) -> Result<Vec<Unsent>, StoreError> {
        let recipients: BTreeSet<_> =
            found.recipients().flatten().map(|(subscription, _)| subscription).collect();
        let taken = found.taken();
        let as_unsent = |subscription: &Subscription| Unsent {
            subscription: subscription.id,
            url: subscription.spec.url.as_str().to_owned(),
            why: why_unsent(subscription, taken),
        };
        if let Some(known) = self.subscriptions.wanting(topic, &recipients, MAX_UNSENT) {
            return Ok(known.iter().map(|subscription| as_unsent(subscription)).collect());
        }
        let mut unsent = Vec::new();
        let mut page = Page { after: None, limit: MAX_PAGE_LIMIT };
        let mut searched = 0_usize;
        loop {
            let listing = self.store.subscriptions(page).await?;
            searched = searched.saturating_add(listing.subscriptions.len());
            let wanting = listing.subscriptions.iter().filter(|subscription| {
                subscription.spec.wants_topic(topic) && !recipients.contains(&subscription.id)
            });
            unsent.extend(wanting.map(as_unsent));
            page.after = listing.next;
            if page.after.is_none() || unsent.len() >= MAX_UNSENT || searched >= MAX_SUBSCRIPTIONS {
                unsent.truncate(MAX_UNSENT);
                return Ok(unsent);
            }
        }
    }

    /// The reasons why nothing may be known.
    async fn ignorance(&self, topic: Option<&Topic>) -> Result<Vec<String>, StoreError> {
        let mut notes = vec![match self.store.attempt_log().await? {
            LogExtent { oldest: Some(oldest), rows, .. } => {
                format!(
                    "the attempt log goes back to {oldest} ({rows} records): what came before is \
                     not in it, also if it has been held since"
                )
            }
            LogExtent { oldest: None, .. } => {
                "the attempt log is empty: nothing was attempted yet, or the workers do not log \
                 (`attempts.enabled`)"
                    .to_owned()
            }
        }];
        for primary in self.broker.topology().names().primary_queues() {
            if let Ok(Some(depth)) = self.broker.depth(&primary).await
                && (depth.messages > 0 || depth.consumers == 0)
            {
                notes.push(format!(
                    "it may not have been received yet: `{primary}` holds {} events, and {} \
                     workers consume it",
                    depth.messages, depth.consumers
                ));
            }
        }
        match topic {
            Some(topic) => notes.push(self.about_topic(topic).await?),
            None => notes.push(
                "its topic is not known; with it, the subscriptions that want it can be named"
                    .to_owned(),
            ),
        }
        notes.push(
            "an event that was never published, or that no subscription wanted, leaves no record"
                .to_owned(),
        );
        Ok(notes)
    }
}

impl Found {
    /// True if nothing follows for any subscription, and something is known.
    fn are_all_done(&self) -> bool {
        let mut last = BTreeMap::<_, &Record>::new();
        for record in &self.records {
            let known = last.entry(record.recipient).or_insert(record);
            if record.is_later_than(known) {
                *known = record;
            }
        }
        let is_done =
            |record: &&Record| matches!(record.next_state, NextState::Done | NextState::NotWanted);
        !last.is_empty() && last.values().all(is_done)
    }

    fn topic(&self) -> Option<Topic> {
        let recorded = self.records.first().map(|record| record.topic.as_str());
        let parked = || self.entries.iter().find_map(|entry| entry.topic.as_deref());
        Topic::new(recorded.or_else(parked)?).ok()
    }

    /// The recipients of its deliveries, with repetitions.
    fn recipients(&self) -> impl Iterator<Item = Recipient> {
        let recorded = self.records.iter().map(|record| record.recipient);
        recorded.chain(self.entries.iter().map(recipient_of))
    }

    /// The latest possible time of receipt.
    fn taken(&self) -> Option<UnixMillis> {
        let recorded = self.records.first().map(Record::started);
        let parked = self.entries.iter().filter_map(|entry| entry.received_ms).min();
        recorded.into_iter().chain(parked).min()
    }
}

fn recipient_of(entry: &Entry) -> Recipient {
    entry.subscription_id.zip(entry.delivery_id)
}

fn why_unsent(subscription: &Subscription, taken: Option<UnixMillis>) -> &'static str {
    if taken.is_some_and(|taken| subscription.created > taken) {
        "it was created after the event was received"
    } else if subscription.spec.wants_any_body() {
        "it wants the topic now; perhaps not when the event was received"
    } else {
        "it has filters, which the event may not pass"
    }
}

#[cfg(test)]
mod tests {
    use homing_domain::{
        id::EventId,
        payload::PayloadState,
        record::{AttemptEvent, RecordId},
    };
    use uuid::Uuid;

    use super::*;

    /// A record of the only delivery, begun at this millisecond, after so many steps.
    fn record(ms: i64, order: i64, next_state: NextState) -> Record {
        let subscription = SubscriptionId::new(Uuid::nil());
        let event = EventId::from(Uuid::nil());
        let delivery = DeliveryId::of(&event, subscription);
        Record {
            id: RecordId::of_hold(UnixMillis::new(ms), delivery),
            event: event.to_string(),
            topic: "t".to_owned(),
            recipient: Some((subscription, delivery)),
            url: None,
            step: 0,
            replays: 0,
            order: Some(order),
            happened: AttemptEvent::NotAttempted(String::new()),
            next_state,
            hold: None,
            turn: None,
            as_of: None,
            payload: PayloadState::Unwanted,
        }
    }

    /// The worker that failed to deliver had a clock that was ahead.
    #[test]
    fn a_later_step_counts_whatever_the_clocks_were() {
        let waits = NextState::Waits(UnixMillis::new(9));
        let found = |orders: [i64; 2]| Found {
            records: vec![record(1, orders[0], NextState::Done), record(5, orders[1], waits)],
            entries: Vec::new(),
            lookup: None,
        };
        assert!(found([2, 1]).are_all_done());
        assert!(!found([1, 2]).are_all_done());
    }
}
