//! Promises about what is parked.

use homing_domain::{
    error_group::ErrorId,
    id::{DeliveryId, EventId, SubscriptionId},
    time::UnixMillis,
    verdict::ParkReason,
};
use homing_store::{
    Intake, ParkedBounds, ParkedDelivery, ParkedId, ParkedLimit, ParkedMessage, ParkedOrder,
    ParkedPage, ParkedTotals, Selection, Store, StoreError,
};
use serde_json::json;
use uuid::Uuid;

use super::{Kept, Place, samples::subscription};

pub(super) const QUEUE: Intake<'static> =
    Intake { queue: "homing.v2.parked", id: Uuid::from_u128(1), batch: 1 };
const START: i64 = 1_700_000_000_000;
pub(super) const AMPLE: ParkedBounds = ParkedBounds { rows: 1_000_000, bytes: 1 << 30 };

pub(super) fn at(ms: i64) -> UnixMillis {
    UnixMillis::new(START + ms)
}

/// All deliveries from `page` on, page by page.
pub(super) async fn walked(
    store: &dyn Store,
    mut page: ParkedPage,
) -> Result<Vec<ParkedDelivery>, StoreError> {
    let mut found = Vec::new();
    loop {
        let part = store.parked(&page).await?;
        let Some(last) = part.last() else { return Ok(found) };
        page.after = Some(last.id);
        found.extend(part);
    }
}

pub(super) fn event(number: u32) -> String {
    format!("event-{number}")
}

/// A delivery of the event with this number, which was parked at as many milliseconds.
pub(super) fn message(number: u32, topic: &str, subscription: SubscriptionId) -> ParkedMessage {
    let parked = at(i64::from(number));
    let id = ParkedId::of_message(Some(parked), u64::from(number));
    let event = EventId::new(&event(number)).expect("an id");
    let delivery = ParkedDelivery {
        id,
        event: event.to_string(),
        topic: Some(topic.to_owned()),
        recipient: Some((subscription, DeliveryId::of(&event, subscription))),
        url: None,
        reason: ParkReason::Exhausted,
        status: Some(503),
        attempts: 3,
        replays: 1,
        parked: Some(parked),
        received: Some(at(-5)),
        first_failure: Some(at(-4)),
        last_outcome: Some("refused 503".to_owned()),
        error: Some(ErrorId::new([7; 16])),
        content_type: "application/json".to_owned(),
        content_encoding: Some("gzip".to_owned()),
        body_bytes: 7,
    };
    let mut digest = [0; 32];
    digest[..4].copy_from_slice(&number.to_be_bytes());
    ParkedMessage {
        id,
        digest: Some(digest),
        is_redelivered: false,
        payload: format!("secret-{number}").into(),
        deliveries: vec![delivery],
    }
}

pub(super) fn some(id: u32) -> SubscriptionId {
    format!("{id:08}-0000-7000-8000-000000000000").parse().expect("an id")
}

pub(super) fn select(json: serde_json::Value) -> Selection {
    serde_json::from_value(json).expect("a selection")
}

pub(super) async fn everything_of_a_delivery_is_read_back(place: Place) -> Kept {
    let store = place.open().await?;
    let wanting = subscription("hook");
    store.insert_subscription(&wanting).await?;
    let mut whole = message(1, "order.paid", wanting.id);
    whole.payload = (0..=255).cycle().take(100_000).collect();
    let mut bare = message(2, "x", some(2));
    let delivery = bare.deliveries.first_mut().expect("one");
    (delivery.topic, delivery.recipient, delivery.status) = (None, None, None);
    (delivery.parked, delivery.received, delivery.first_failure) = (None, None, None);
    delivery.event = String::new();
    delivery.reason = ParkReason::Unreadable;
    delivery.last_outcome = Some(format!("\0{}", "ä".repeat(9_000)));
    let added = store.park(QUEUE, &[whole.clone(), bare.clone()], AMPLE).await?;
    assert_eq!((added.messages, added.deliveries, added.limit), (2, 2, None));

    let read = store.parked(&ParkedPage { limit: 10, ..ParkedPage::default() }).await?;
    let [second, first] = read.as_slice() else { return Err(format!("{read:?}").into()) };
    let mut expected = whole.deliveries.remove(0);
    expected.url = Some(wanting.spec.url.as_str().to_owned());
    assert_eq!(*first, expected);
    let outcome = second.last_outcome.clone().expect("it is kept in part");
    assert!(outcome.starts_with("\u{fffd}ä") && outcome.len() <= 1_000, "{}", outcome.len());
    let delivery = bare.deliveries.remove(0);
    assert_eq!(*second, ParkedDelivery { last_outcome: Some(outcome), ..delivery });

    let messages = store.parked_messages(&[whole.id, bare.id, ParkedId::floor(at(9))]).await?;
    assert_eq!(messages.len(), 2);
    for message in [&whole, &bare] {
        let read = messages.get(&message.id).ok_or("it is there")?;
        assert_eq!(read.as_ref().map_err(StoreError::report)?, &message.payload);
    }
    let totals = store.parked_totals().await?;
    assert!(totals.deliveries == 2 && totals.bytes < 5_000, "{totals:?} of 100 KB that repeat");
    Ok(())
}

/// Method: more topics than one statement has branches, and pages that end amid them.
pub(super) async fn pages_are_complete_in_either_order(place: Place) -> Kept {
    const COUNT: u32 = 450;
    let store = place.open().await?;
    let messages: Vec<_> =
        (0..COUNT).map(|number| message(number, &format!("t.{}", number % 300), some(1))).collect();
    store.park(QUEUE, &messages, AMPLE).await?;
    for topic in ["#", "t.*"] {
        let selection = select(json!({"topic": topic}));
        for order in [ParkedOrder::NewestFirst, ParkedOrder::OldestFirst] {
            let page = ParkedPage {
                selection: selection.clone(),
                order,
                limit: 7,
                ..ParkedPage::default()
            };
            let events: Vec<_> =
                walked(&*store, page).await?.into_iter().map(|one| one.event).collect();
            let mut expected: Vec<_> = (0..COUNT).map(event).collect();
            if order == ParkedOrder::NewestFirst {
                expected.reverse();
            }
            assert_eq!(events, expected, "{topic} {order:?}");
        }
    }
    Ok(())
}

/// Goal: what is added after an action began is not part of it, even if it was parked before by its
/// clock.
pub(super) async fn what_is_added_later_is_no_part_of_an_action(place: Place) -> Kept {
    let store = place.open().await?;
    let messages: Vec<_> = (0..10).map(|number| message(number, "t", some(1))).collect();
    let (late, early) = messages.split_at(7);
    store.park(QUEUE, early, AMPLE).await?;
    let page = ParkedPage {
        up_to: Some(store.parked_totals().await?.added),
        limit: 100,
        ..ParkedPage::default()
    };
    store.park(QUEUE, late, AMPLE).await?;
    let events = store.parked(&page).await?.into_iter().map(|one| one.event);
    assert_eq!(events.collect::<Vec<_>>(), [event(9), event(8), event(7)]);
    let all = ParkedPage { up_to: Some(store.parked_totals().await?.added), ..page };
    assert_eq!(store.parked(&all).await?.len(), 10);
    Ok(())
}

pub(super) async fn no_more_is_added_than_the_bounds_say(place: Place) -> Kept {
    let store = place.open().await?;
    let messages: Vec<_> = (0..10).map(|number| message(number, "t", some(1))).collect();
    let added = store.park(QUEUE, &messages, ParkedBounds { rows: 4, ..AMPLE }).await?;
    assert_eq!((added.messages, added.deliveries, added.limit), (4, 4, Some(ParkedLimit::Rows)));
    assert_eq!(store.parked_totals().await?.limit, Some(ParkedLimit::Rows));
    let bytes = store.parked_totals().await?.bytes;
    let bounds = ParkedBounds { bytes: bytes * 3 / 2, ..AMPLE };
    let added = store.park(QUEUE, messages.split_at(4).1, bounds).await?;
    assert_eq!((added.messages, added.deliveries, added.limit), (2, 2, Some(ParkedLimit::Bytes)));
    let oldest: Vec<_> = messages.iter().take(5).map(|message| message.id).collect();
    assert_eq!(store.remove_parked(&oldest).await?, 5);
    assert_eq!(
        store.park(QUEUE, messages.split_at(6).1, bounds).await?.messages,
        4,
        "there is room again"
    );
    assert_eq!(store.parked_totals().await?.limit, None);
    let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
    for (keeper, messages, all) in [(one, 3, 3), (other, 2, 5), (one, 1, 3), (other, 0, 1)] {
        store.note_refused(keeper, messages).await?;
        assert_eq!(store.parked_totals().await?.refused, all);
    }
    assert_eq!(store.park(QUEUE, &[], bounds).await?.messages, 0);
    assert_eq!(store.parked_totals().await?.refused, 1);
    Ok(())
}

pub(super) async fn a_message_lasts_as_long_as_one_of_its_deliveries(place: Place) -> Kept {
    let store = place.open().await?;
    let mut group = message(1, "t", some(1));
    let one = group.deliveries.remove(0);
    for number in 0..64_u16 {
        let recipient =
            Some((some(number.into()), DeliveryId::of(&EventId::new("e")?, some(number.into()))));
        group.deliveries.push(ParkedDelivery {
            id: group.id.of_delivery(number),
            recipient,
            ..one.clone()
        });
    }
    let neighbour = ParkedId::of_message(one.parked, 2);
    let mut neighbours = message(2, "t", some(1));
    neighbours.id = neighbour;
    neighbours.deliveries.first_mut().ok_or("one")?.id = neighbour;
    store.park(QUEUE, &[group.clone(), neighbours], AMPLE).await?;
    let ids: Vec<_> = group.deliveries.iter().map(|delivery| delivery.id).collect();
    let (most, last) = ids.split_at(63);
    assert_eq!(store.remove_parked(most).await?, 63);
    assert_eq!(store.remove_parked(most).await?, 0, "they are gone");
    assert_eq!(store.parked_messages(last).await?.len(), 1);
    assert_eq!(store.remove_parked(&ids).await?, 1);
    assert!(store.parked_messages(&ids).await?.is_empty());
    assert_eq!(store.remove_parked(&[neighbour]).await?, 1);
    let empty = ParkedTotals { added: 1, ..ParkedTotals::default() };
    assert_eq!(store.parked_totals().await?, empty);
    Ok(())
}

pub(super) async fn messages_are_encrypted_anew_with_a_new_key(place: Place) -> Kept {
    const COUNT: u32 = 250;
    let messages: Vec<_> = (0..COUNT).map(|number| message(number, "t", some(1))).collect();
    let old = place.open_with(&[1]).await?;
    old.park(QUEUE, &messages, AMPLE).await?;
    old.close().await;
    assert!(place.open_with(&[2]).await.is_err(), "the key is needed");
    let both = place.open_with(&[2, 1]).await?;
    let done = both.reencrypt().await?;
    assert_eq!((done.parked, done.unreadable_parked), (u64::from(COUNT), 0));
    assert_eq!(both.reencrypt().await?.parked, 0);
    both.close().await;
    let new = place.open_with(&[2]).await?;
    let ids: Vec<_> = messages.iter().map(|message| message.id).collect();
    let read = new.parked_messages(&ids).await?;
    for message in &messages {
        let payload = read.get(&message.id).ok_or("it is there")?.as_ref();
        assert_eq!(payload.map_err(StoreError::report)?, &message.payload);
    }
    // One that was changed hides no other.
    place
        .shell("UPDATE parked_messages SET payload = (SELECT payload FROM parked_messages ORDER BY id LIMIT 1)")
        .await?;
    let read = new.parked_messages(&ids).await?;
    assert_eq!(read.values().filter(|payload| payload.is_ok()).count(), 1);
    let wrong = read.values().find_map(|payload| payload.as_ref().err()).ok_or("one is wrong")?;
    assert!(matches!(wrong, StoreError::ParkedPayload { .. }), "{}", wrong.report());
    Ok(())
}
