//! Promises about searches by a part of a text, and by the beginning of an id.

use homing_domain::{
    history::TopicSeen,
    id::{DeliveryId, EventId},
    subscription::Subscription,
    url::EndpointUrl,
};
use homing_store::{HistoryBatch, Store, StoreError, SubscriptionOrder, SubscriptionPage};
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
    let urls = async |text: &str| {
        let contains = Some(text.to_owned());
        paths(&*store, SubscriptionPage { contains, ..SubscriptionPage::default() }).await
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

/// Goal: every order has each subscription once, whatever the pages. Method: pages of one, two with
/// the same URL.
pub(super) async fn subscriptions_are_listed_in_every_order(place: Place) -> Kept {
    let store = place.open().await?;
    let mut all = ["b", "a", "c", "a"].map(subscription);
    // No two send the same events to the same URL.
    all[3].spec.topics = vec!["other".parse()?];
    all.sort_by_key(|one| one.id);
    insert_all(&*store, &all).await?;
    let at_a: EndpointUrl = "https://example.com/a".parse()?;
    let listed = async |order, at: Option<&EndpointUrl>, contains: Option<&str>| {
        let (at, contains) = (at.cloned(), contains.map(str::to_owned));
        let page = SubscriptionPage { at, contains, order, ..SubscriptionPage::default() };
        paths(&*store, page).await
    };
    let path = |one: &Subscription| one.spec.url.as_str().replace("https://example.com/", "");
    let (created, newest): (Vec<_>, Vec<_>) =
        (all.iter().map(path).collect(), all.iter().rev().map(path).collect());
    assert_eq!(listed(SubscriptionOrder::Created, None, None).await?, created.join(" "));
    assert_eq!(listed(SubscriptionOrder::Newest, None, None).await?, newest.join(" "));
    assert_eq!(listed(SubscriptionOrder::Url, None, None).await?, "a a b c");
    for order in [SubscriptionOrder::Created, SubscriptionOrder::Newest, SubscriptionOrder::Url] {
        assert_eq!(listed(order, Some(&at_a), None).await?, "a a");
        assert_eq!(listed(order, None, Some("OTHER")).await?, "a");
        assert_eq!(order.as_str().parse(), Ok(order));
    }
    Ok(())
}

/// The paths of all subscriptions on pages of one.
async fn paths(store: &dyn Store, mut page: SubscriptionPage) -> Result<String, StoreError> {
    let mut found = Vec::new();
    page.limit = 1;
    loop {
        let listing = store.list_subscriptions(&page).await?;
        let urls = listing.subscriptions.iter().map(|one| one.spec.url.as_str());
        found.extend(urls.map(|url| url.replace("https://example.com/", "")));
        page.after = listing.next;
        if page.after.is_none() {
            return Ok(found.join(" "));
        }
    }
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
