//! Promises about acting on what is parked: claims and counts.

use std::collections::BTreeSet;

use homing_domain::id::{DeliveryId, EventId};
use homing_store::{
    Claim, ClaimedByOthers, MAX_PARKED_AT_ONCE, ParkedDelivery, ParkedOrder, ParkedPage, Selection,
    StoreError,
};
use serde_json::json;

use super::{
    Kept, Place,
    parked::{AMPLE, QUEUE, at, message, some},
};

pub(super) async fn of_many_that_claim_a_delivery_one_gets_it(place: Place) -> Kept {
    const COUNT: u32 = 200;
    let handles = [place.open().await?, place.open().await?];
    let messages: Vec<_> = (0..COUNT).map(|number| message(number, "t", some(1))).collect();
    handles[0].park(QUEUE, &messages, AMPLE).await?;
    let mut claiming = tokio::task::JoinSet::new();
    for (number, store) in (0..8).zip(handles.iter().cycle()) {
        let store = std::sync::Arc::clone(store);
        claiming.spawn(async move {
            let mut claimed = Vec::new();
            let order = ParkedOrder::OldestFirst;
            let page = ParkedPage { order, limit: 20 + number, ..ParkedPage::default() };
            loop {
                let claim = Claim { now: at(0), until: at(1_000) };
                let more = store.claim_parked(&page, claim).await?;
                if more.is_empty() {
                    return Ok::<_, StoreError>(claimed);
                }
                assert!(more.is_sorted_by_key(|one| one.id));
                claimed.extend(more.into_iter().map(|one| one.id));
            }
        });
    }
    let mut all = Vec::new();
    for claimed in claiming.join_all().await {
        all.extend(claimed?);
    }
    let different: BTreeSet<_> = all.iter().collect();
    assert_eq!((all.len(), different.len()), (COUNT as usize, COUNT as usize));
    assert_eq!(handles[0].count_parked(&Selection::default(), u32::MAX).await?, COUNT);
    Ok(())
}

pub(super) async fn a_claim_ends_by_itself(place: Place) -> Kept {
    let store = place.open().await?;
    store.park(QUEUE, &[message(1, "t", some(1)), message(2, "t", some(1))], AMPLE).await?;
    let page = ParkedPage { limit: MAX_PARKED_AT_ONCE, ..ParkedPage::default() };
    let claim = |now, until| Claim { now: at(now), until: at(until) };
    let claimed = async |claim| store.claim_parked(&page, claim).await.map(|found| found.len());
    assert_eq!(claimed(claim(0, 100)).await?, 2);
    assert_eq!(claimed(claim(99, 200)).await?, 0);
    assert_eq!(claimed(claim(100, 200)).await?, 2, "it has ended");
    let ids: Vec<_> = store.parked(&page).await?.iter().map(|one| one.id).collect();
    store.end_claim(&ids, claim(0, 100), at(0)).await?;
    assert_eq!(claimed(claim(101, 300)).await?, 0, "the first cannot end the second one's claim");
    store.end_claim(ids.split_at(1).0, claim(100, 200), at(0)).await?;
    assert_eq!(claimed(claim(101, 300)).await?, 1);
    Ok(())
}

/// Goal: what is left out because it is claimed is known, with the end of the claims.
pub(super) async fn what_is_claimed_is_counted_with_its_end(place: Place) -> Kept {
    let store = place.open().await?;
    let messages: Vec<_> =
        (0..10).map(|number| message(number, &format!("t.{}", number % 2), some(1))).collect();
    store.park(QUEUE, &messages, AMPLE).await?;
    let oldest =
        |limit| ParkedPage { order: ParkedOrder::OldestFirst, limit, ..ParkedPage::default() };
    for (limit, until) in [(3, 100), (2, 200)] {
        let claim = Claim { now: at(0), until: at(until) };
        store.claim_parked(&oldest(limit), claim).await?;
    }
    let all = oldest(MAX_PARKED_AT_ONCE);
    let claimed = |deliveries, until| ClaimedByOthers { deliveries, until: at(until) };
    assert_eq!(store.claimed_parked(&all, at(0)).await?, claimed(5, 200));
    assert_eq!(store.claimed_parked(&all, at(100)).await?, claimed(2, 200), "three are free");
    let selection: Selection = serde_json::from_value(json!({"topic": "t.0"}))?;
    let some_of_them = ParkedPage { selection, ..all.clone() };
    assert_eq!(store.claimed_parked(&some_of_them, at(0)).await?, claimed(3, 200));
    assert_eq!(store.claimed_parked(&all, at(200)).await?.deliveries, 0);
    Ok(())
}

/// Method: more deliveries than one statement counts, of messages for 64 subscriptions each.
pub(super) async fn many_are_counted_in_steps(place: Place) -> Kept {
    const MESSAGES: u32 = 330;
    let store = place.open().await?;
    let mut messages = Vec::new();
    for number in 0..MESSAGES {
        let mut group = message(number, &format!("t.{}", number % 3), some(1));
        let one = group.deliveries.remove(0);
        for number in 0..64_u16 {
            let recipient = some(number.into());
            let id = DeliveryId::of(&EventId::new(&one.event)?, recipient);
            group.deliveries.push(ParkedDelivery {
                id: group.id.of_delivery(number),
                recipient: Some((recipient, id)),
                ..one.clone()
            });
        }
        messages.push(group);
    }
    for part in messages.chunks(110) {
        store.park(QUEUE, part, AMPLE).await?;
    }
    for (selection, count) in [
        (json!({}), 64 * MESSAGES),
        (json!({"reason": "exhausted"}), 64 * MESSAGES),
        (json!({"topic": "t.*"}), 64 * MESSAGES),
        (json!({"topic": "t.*", "status": "503"}), 64 * MESSAGES),
        (json!({"topic": "*.1"}), 64 * MESSAGES / 3),
    ] {
        let selected: Selection = serde_json::from_value(selection.clone())?;
        assert_eq!(store.count_parked(&selected, u32::MAX).await?, count, "{selection}");
        assert_eq!(store.count_parked(&selected, 20_500).await?, count.min(20_500), "{selection}");
    }
    Ok(())
}
