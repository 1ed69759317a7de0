//! Promises about the selection of what is parked.

use std::{collections::BTreeSet, time::Duration};

use homing_domain::{
    error_group::ErrorId,
    id::{DeliveryId, EventId},
    verdict::ParkReason,
};
use homing_store::{Claim, ParkedOrder, ParkedPage, Selection, Store, StoreError};
use serde_json::json;
use uuid::Uuid;

use super::{
    Kept, Place,
    parked::{AMPLE, QUEUE, at, event, message, select, some},
    samples::{held_for, subscription},
};

async fn found(store: &dyn Store, selection: &Selection) -> Result<Vec<String>, StoreError> {
    let page = ParkedPage { selection: selection.clone(), limit: 1_000, ..ParkedPage::default() };
    let (found, count) = store.parked_counted(&page, u32::MAX).await?;
    assert_eq!(count as usize, found.len());
    assert_eq!(store.count_parked(selection, u32::MAX).await?, count);
    let again = store.parked(&page).await?;
    assert!(again.iter().map(|one| one.id).eq(found.iter().map(|one| one.id)));
    Ok(found.into_iter().map(|one| one.event).collect())
}

#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) async fn every_condition_selects_what_it_means(place: Place) -> Kept {
    let store = place.open().await?;
    let (mut first, mut second) = (subscription("first"), subscription("second"));
    first.spec.description = Some("Ärzte AND 100% of_them".to_owned());
    second.spec.description = Some("others".to_owned());
    store.insert_subscription(&first).await?;
    store.insert_subscription(&second).await?;
    let mut messages = Vec::new();
    for number in 0..8 {
        let (topic, id) = match number % 4 {
            0 => ("order.paid", first.id),
            1 => ("order.sent", second.id),
            2 => ("order", first.id),
            _ => ("invoice.order.late", second.id),
        };
        messages.push(message(number, topic, id));
    }
    for (number, reason) in
        [(0, ParkReason::Gone), (1, ParkReason::Frozen), (2, ParkReason::Frozen)]
    {
        let delivery = messages.get_mut(number).and_then(|message| message.deliveries.first_mut());
        let delivery = delivery.ok_or("one")?;
        delivery.reason = reason;
        delivery.status = Some(410);
        delivery.last_outcome = Some("Refused 410".to_owned());
        delivery.error = Some(ErrorId::new([1; 16]));
    }
    store.park(QUEUE, &messages, AMPLE).await?;
    let url = first.spec.url.as_str();
    let delivery = DeliveryId::of(&EventId::new("event-5")?, second.id).to_string();
    let subscribed = first.id.to_string();
    let id = messages.get(5).ok_or("one")?.id.to_string();
    for (selection, numbers) in [
        (json!({}), &[7, 6, 5, 4, 3, 2, 1, 0][..]),
        (json!({"topic": "#"}), &[7, 6, 5, 4, 3, 2, 1, 0]),
        (json!({"topic": "order.paid"}), &[4, 0]),
        (json!({"topic": "order.*"}), &[5, 4, 1, 0]),
        (json!({"topic": "order.#"}), &[6, 5, 4, 2, 1, 0]),
        (json!({"topic": "#.late"}), &[7, 3]),
        (json!({"topic": "*.late"}), &[]),
        (json!({"id": id}), &[5]),
        (json!({"id": id, "event": "event-3"}), &[]),
        (json!({"event": "event-3"}), &[3]),
        (json!({"event": "event"}), &[]),
        (json!({"delivery": delivery}), &[5]),
        (json!({"subscription": subscribed}), &[6, 4, 2, 0]),
        (json!({"url": url}), &[6, 4, 2, 0]),
        (json!({"reason": "frozen"}), &[2, 1]),
        (json!({"status": "410"}), &[2, 1, 0]),
        (json!({"status": "4xx"}), &[2, 1, 0]),
        (json!({"status": "5xx"}), &[7, 6, 5, 4, 3]),
        (json!({"status": "5xx", "url": url}), &[6, 4]),
        (json!({"status": "3xx"}), &[]),
        (json!({"error": "01".repeat(16)}), &[2, 1, 0]),
        (json!({"error": "07".repeat(16), "url": url}), &[6, 4]),
        (json!({"error": "02".repeat(16)}), &[]),
        (json!({"status": "410", "url": url, "topic": "order.*"}), &[0]),
        (json!({"parked_after_ms": at(5).get().to_string()}), &[7, 6, 5]),
        (json!({"parked_before_ms": at(2).get().to_string()}), &[1, 0]),
        (
            json!({"parked_after_ms": at(1).get().to_string(), "parked_before_ms": at(3).get().to_string()}),
            &[2, 1],
        ),
        (json!({"text": "event-3"}), &[3]),
        (json!({"text": "event-"}), &[7, 6, 5, 4, 3, 2, 1, 0]),
        (json!({"text": "vent-3"}), &[]),
        (json!({"text": delivery}), &[5]),
        (json!({"text": "INVOICE"}), &[7, 3]),
        (json!({"text": "refused 41"}), &[2, 1, 0]),
        (json!({"text": "/second"}), &[7, 5, 3, 1]),
        (json!({"text": "100% of_"}), &[6, 4, 2, 0]),
        (json!({"text": "0%_of"}), &[]),
        (json!({"text": "others", "status": "503"}), &[7, 5, 3]),
    ] {
        let expected: Vec<_> = numbers.iter().map(|number| event(*number)).collect();
        let given = select(selection.clone());
        assert_eq!(found(&*store, &given).await?, expected, "{selection}");
    }
    let held = Selection { held_for: Some(held_for([first.id, some(9)])), ..Selection::default() };
    assert_eq!(found(&*store, &held).await?, [event(2)]);
    let nothing = Selection { held_for: Some(held_for([])), ..Selection::default() };
    assert_eq!(found(&*store, &nothing).await?, [""; 0]);
    assert_eq!(store.count_parked(&Selection::default(), 5).await?, 5);
    assert!(serde_json::from_value::<Selection>(json!({"text": "ev"})).is_err());
    Ok(())
}

/// Goal: a selection may have more values than a statement has parameters. Method: 2,000 topics and
/// URLs, alone and together with others.
pub(super) async fn conditions_of_thousands_of_values_are_met(place: Place) -> Kept {
    const COUNT: u32 = 2_000;
    let store = place.open().await?;
    let mut messages = Vec::new();
    let mut held = BTreeSet::new();
    for number in 0..COUNT {
        let mut wanting = subscription(number.to_string());
        wanting.spec.description = (number % 2 == 0).then(|| "even".to_owned());
        store.insert_subscription(&wanting).await?;
        held.insert(wanting.id);
        let mut one = message(number, &format!("t.{number}"), wanting.id);
        if number == 7 {
            one.deliveries.first_mut().ok_or("one")?.reason = ParkReason::Frozen;
        }
        messages.push(one);
    }
    for part in messages.chunks(100) {
        store.park(QUEUE, part, AMPLE).await?;
    }
    for (selection, count) in [
        (json!({"text": "http"}), 1_000),
        (json!({"topic": "t.*"}), 1_000),
        (json!({"topic": "t.*", "text": "http"}), 1_000),
        (json!({"topic": "t.*", "text": "even"}), 1_000),
        (json!({"topic": "*.7", "text": "http"}), 1),
        (json!({"topic": "t.*", "text": "http", "status": "503", "reason": "frozen"}), 1),
    ] {
        let page = ParkedPage {
            selection: select(selection.clone()),
            limit: 1_000,
            ..ParkedPage::default()
        };
        assert_eq!(store.parked(&page).await?.len(), count, "{selection}");
    }
    let held_for = Selection { held_for: Some(held_for(held)), ..Selection::default() };
    assert_eq!(found(&*store, &held_for).await?, [event(7)]);
    let claim = Claim { id: Uuid::from_u128(1), lasts: Duration::from_secs(60) };
    let order = ParkedOrder::OldestFirst;
    let page = ParkedPage { selection: held_for, order, limit: 10, ..ParkedPage::default() };
    assert_eq!(store.claim_parked(&page, claim).await?.len(), 1);
    Ok(())
}

/// Goal: a text never finds a part of what there is in silence.
pub(super) async fn a_text_is_searched_in_all_values_or_refused(place: Place) -> Kept {
    let store = place.open().await?;
    let topic = |number| format!("t.{number}");
    let messages: Vec<_> =
        (0..10_001).map(|number| message(number, &topic(number), some(1))).collect();
    for part in messages.chunks(1_000) {
        store.park(QUEUE, part, AMPLE).await?;
    }
    let refused = store.count_parked(&select(json!({"text": "t.77"})), 10).await;
    assert!(matches!(refused, Err(StoreError::TooBroad { field: "text", .. })), "{refused:?}");
    Ok(())
}
