//! Searches by a part of a text or by the beginning of an id, across what the store keeps.
//!
//! Each is bounded: events are found by looks into an index, one for each that is found; of topics
//! and subscriptions, of which there are thousands, every row is compared; of the attempt log, which
//! has no index of deliveries, a part is looked at.

use async_trait::async_trait;

use super::{
    Listing, StoreError, SubscriptionListing, SubscriptionPage,
    attempt_row::bytes,
    backend::{Backend, SqlStore},
    history::TopicRow,
    row,
    statement::{containing, sql},
    subscription_list,
};
use homing_domain::{history::TopicSeen, id::DeliveryId};

/// The next event id behind each, in the log of attempts or among what is parked.
const EVENTS: [&str; 2] = [
    "WITH RECURSIVE seen(value) AS ( \
     SELECT min(event) FROM attempts WHERE event >= $1 AND event < $2 UNION ALL \
     SELECT (SELECT min(event) FROM attempts WHERE event > seen.value AND event < $2) \
     FROM seen WHERE seen.value IS NOT NULL) \
     SELECT value FROM seen WHERE value IS NOT NULL LIMIT $3",
    "WITH RECURSIVE seen(value) AS ( \
     SELECT min(event) FROM parked WHERE event >= $1 AND event < $2 UNION ALL \
     SELECT (SELECT min(event) FROM parked WHERE event > seen.value AND event < $2) \
     FROM seen WHERE seen.value IS NOT NULL) \
     SELECT value FROM seen WHERE value IS NOT NULL LIMIT $3",
];
const EVENT_OF: &str = "\
    SELECT event FROM (SELECT event, delivery FROM attempts ORDER BY id DESC LIMIT $1) AS newest \
    WHERE delivery = $2 LIMIT 1";
const TOPICS: &str = "\
    SELECT topic, first_ms, last_ms, events, unwanted, unwanted_ms FROM topics \
    WHERE topic <> '' AND topic";

/// The part of a [`Store`](super::Store) that searches.
#[async_trait]
pub trait SearchStore {
    /// One page of the list of subscriptions, in an order, by what they have in them.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn list_subscriptions(
        &self,
        page: &SubscriptionPage,
    ) -> Result<SubscriptionListing, StoreError>;

    /// Ids of events that begin with `prefix`, ordered, at most `limit`: those in the attempt log
    /// or parked.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn events_with(&self, prefix: &str, limit: u32) -> Result<Vec<String>, StoreError>;

    /// Topics that were seen and have `text` in them, in whatever case, at most `limit`, those of
    /// the last events first.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn topics_with(&self, text: &str, limit: u32) -> Result<Vec<TopicSeen>, StoreError>;

    /// The event of a delivery, if one of the `most` newest records of the attempt log is of it.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn event_of(&self, delivery: DeliveryId, most: u32)
    -> Result<Option<String>, StoreError>;
}

#[async_trait]
impl<B: Backend> SearchStore for SqlStore<B> {
    async fn list_subscriptions(
        &self,
        page: &SubscriptionPage,
    ) -> Result<SubscriptionListing, StoreError> {
        let limit = subscription_list::limit(page);
        let rows = self.all::<row::FoundRow>(subscription_list::listing(page, &B::DIALECT));
        let rows = self.ask("listing the subscriptions", rows).await?;
        let last = subscription_list::last(page, &rows);
        let Listing { subscriptions, corrupt, next } = row::page(rows, limit, &self.keyring);
        Ok(SubscriptionListing { subscriptions, corrupt, next: next.and(last) })
    }

    async fn events_with(&self, prefix: &str, limit: u32) -> Result<Vec<String>, StoreError> {
        let found = async {
            let end = format!("{prefix}{}", char::MAX);
            let mut found = Vec::new();
            for next in EVENTS {
                let next = sql(next).bind(prefix).bind(end.as_str()).bind(i64::from(limit));
                let ids = self.all::<(String,)>(next).await?;
                // Where the database sorts otherwise than by bytes, others may be in between.
                found.extend(ids.into_iter().map(|(id,)| id).filter(|id| id.starts_with(prefix)));
            }
            found.sort_unstable();
            found.dedup();
            found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
            Ok(found)
        };
        self.ask("searching events", found).await
    }

    async fn topics_with(&self, text: &str, limit: u32) -> Result<Vec<TopicSeen>, StoreError> {
        let rows = sql(TOPICS).push(B::DIALECT.like).push_bind(containing(text));
        let rows = rows.push(" ESCAPE '\\' ORDER BY last_ms DESC, topic LIMIT ");
        let rows = rows.push_bind(i64::from(limit));
        let rows = self.ask("searching topics", self.all::<TopicRow>(rows)).await?;
        Ok(rows.into_iter().map(TopicSeen::from).collect())
    }

    async fn event_of(
        &self,
        delivery: DeliveryId,
        most: u32,
    ) -> Result<Option<String>, StoreError> {
        let found = sql(EVENT_OF).bind(i64::from(most)).bind(bytes(delivery.uuid()));
        let found = self.optional::<(String,)>(found);
        Ok(self.ask("searching the event of a delivery", found).await?.map(|(event,)| event))
    }
}
