//! Promises about searches by a part of a text, and by the beginning of an id.

use homing_domain::{
    history::TopicSeen,
    id::{DeliveryId, EventId},
};
use homing_store::{HistoryBatch, Page, StoreError};
use uuid::Uuid;

use super::{
    Kept, Place,
    attempts::{at, records},
    parked::{AMPLE, QUEUE, message, some},
    samples::{insert_all, subscription},
};

pub(super) async fn a_part_of_a_text_finds_subscriptions_and_topics(place: Place) -> Kept {
    let store = place.open().await?;
    let mut all = ["Shop/hook", "shop/other", "crm"].map(subscription);
    all[1].spec.description = Some("100% of_the CRM".to_owned());
    insert_all(&*store, &all).await?;
    let urls = async |text: &str| -> Result<String, StoreError> {
        let mut found = Vec::new();
        let mut page = Page { after: None, limit: 1 };
        loop {
            let listing = store.subscriptions_with(text, page).await?;
            let paths = listing
                .subscriptions
                .iter()
                .map(|one| one.spec.url.as_str().replace("https://example.com/", ""));
            found.extend(paths);
            page.after = listing.next;
            if page.after.is_none() {
                return Ok(found.join(" "));
            }
        }
    };
    assert_eq!(urls("SHOP").await?, "Shop/hook shop/other");
    assert_eq!(urls("crm").await?, "shop/other crm", "the description has it, too");
    assert_eq!(urls("order.").await?, "Shop/hook shop/other crm", "all have the topic");
    assert_eq!(urls("0% of_").await?, "shop/other", "it is no pattern");
    assert_eq!(urls("0%%of").await?, "");
    let id = all[2].id.to_string();
    assert_eq!(urls(&id).await?, "crm");
    assert_eq!(urls(id.split_at(35).0).await?, "crm", "the beginning of an id");
    assert_eq!(urls(id.split_at(1).1).await?, "", "but no other part of it");

    let topics = ["order.paid", "order.sent", "invoice.ORDER", "other"];
    let seen = topics
        .iter()
        .zip(1..)
        .map(|(topic, second)| TopicSeen::one((*topic).to_owned(), at(second), true));
    let (worker, hours) = (Uuid::nil(), Vec::new());
    let batch = HistoryBatch { worker, number: 1, at: at(9), hours, topics: seen.collect() };
    store.add_history(&batch, 100).await?;
    let found = store.topics_with("Order", 9).await?;
    let found: Vec<_> = found.iter().map(|seen| seen.topic.as_str()).collect();
    assert_eq!(found, ["invoice.ORDER", "order.sent", "order.paid"], "the last events first");
    assert_eq!(store.topics_with("order", 1).await?.len(), 1);
    Ok(())
}

pub(super) async fn the_beginning_of_an_id_finds_events(place: Place) -> Kept {
    let store = place.open().await?;
    // Their events are e0 to e19.
    let all = records(200);
    store.record_attempts(&all, None).await?;
    let messages: Vec<_> = (0..3).map(|number| message(number, "t", some(1))).collect();
    store.park(QUEUE, &messages, AMPLE).await?;
    assert_eq!(store.events_with("e1", 4).await?, ["e1", "e10", "e11", "e12"]);
    assert_eq!(store.events_with("event", 9).await?, ["event-0", "event-1", "event-2"]);
    assert_eq!(store.events_with("e", 99).await?.len(), 23, "each of them once");
    assert_eq!(store.events_with("E1", 9).await?, Vec::<String>::new());
    assert_eq!(store.events_with("f", 9).await?, Vec::<String>::new());

    let newest = all.iter().filter(|record| record.recipient.is_some()).max_by_key(|one| one.id);
    let newest = newest.ok_or("one has a recipient")?;
    let delivery = newest.recipient.map(|(_, delivery)| delivery).ok_or("it has one")?;
    assert_eq!(store.event_of(delivery, 200).await?.as_deref(), Some(newest.event.as_str()));
    let unknown = DeliveryId::of(&EventId::new("none")?, some(1));
    assert_eq!(store.event_of(unknown, 200).await?, None);
    assert_eq!(store.event_of(delivery, 0).await?, None, "no record is looked at");
    Ok(())
}
