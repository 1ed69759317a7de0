//! Promises about acting on what is parked: claims and counts.

use std::{collections::BTreeSet, time::Duration};

use homing_domain::id::{DeliveryId, EventId};
use homing_store::{
    Claim, ClaimedByOthers, MAX_PARKED_AT_ONCE, ParkedDelivery, ParkedOrder, ParkedPage, Selection,
    StoreError,
};
use serde_json::json;
use uuid::Uuid;

use super::{
    Kept, Place,
    parked::{AMPLE, QUEUE, message, some, walked},
};

/// The claim of an action, for so many seconds.
fn claim(by: u128, seconds: u64) -> Claim {
    Claim { id: Uuid::from_u128(by), lasts: Duration::from_secs(seconds) }
}

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
                let more = store.claim_parked(&page, claim(number.into(), 60)).await?;
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

/// Goal: a claim counts as long as it lasts, and only its owner changes it.
pub(super) async fn a_claim_ends_by_itself(place: Place) -> Kept {
    let store = place.open().await?;
    store.park(QUEUE, &[message(1, "t", some(1)), message(2, "t", some(1))], AMPLE).await?;
    let page = ParkedPage { limit: MAX_PARKED_AT_ONCE, ..ParkedPage::default() };
    let claimed = async |claim| store.claim_parked(&page, claim).await.map(|found| found.len());
    assert_eq!(claimed(claim(1, 0)).await?, 2);
    assert_eq!(claimed(claim(2, 60)).await?, 2, "the first has ended");
    assert_eq!(claimed(claim(3, 60)).await?, 0);
    let ids: Vec<_> = store.parked(&page).await?.iter().map(|one| one.id).collect();
    store.extend_claim(&ids, claim(1, 0)).await?;
    assert_eq!(claimed(claim(3, 60)).await?, 0, "the first cannot end the second one's claim");
    let (one, other) = ids.split_at(1);
    store.extend_claim(one, claim(2, 0)).await?;
    store.extend_claim(other, claim(2, 120)).await?;
    assert_eq!(claimed(claim(3, 60)).await?, 1);
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
    let mut first = Vec::new();
    for (limit, by, seconds) in [(3, 1, 60), (2, 2, 600)] {
        let claimed = store.claim_parked(&oldest(limit), claim(by, seconds)).await?;
        first.extend(claimed.into_iter().filter(|_| by == 1).map(|one| one.id));
    }
    let all = oldest(MAX_PARKED_AT_ONCE);
    let both = store.claimed_parked(&all).await?;
    assert_eq!(both.deliveries, 5);
    let selection: Selection = serde_json::from_value(json!({"topic": "t.0"}))?;
    let some_of_them = ParkedPage { selection, ..all.clone() };
    let of_topic = store.claimed_parked(&some_of_them).await?;
    assert_eq!(of_topic, ClaimedByOthers { deliveries: 3, ..both }, "the later end is among them");
    store.extend_claim(&first, claim(1, 0)).await?;
    assert_eq!(store.claimed_parked(&all).await?, ClaimedByOthers { deliveries: 2, ..both });
    let ids: Vec<_> = messages.iter().map(|message| message.id).collect();
    store.extend_claim(&ids, claim(2, 0)).await?;
    assert_eq!(store.claimed_parked(&all).await?.deliveries, 0);
    Ok(())
}

/// Method: more deliveries than one statement counts, of messages for 64 subscriptions each, with more
/// topics than one statement has branches.
pub(super) async fn many_are_counted_in_steps(place: Place) -> Kept {
    const MESSAGES: u32 = 330;
    const TOPICS: u32 = 110;
    let store = place.open().await?;
    let mut messages = Vec::new();
    for number in 0..MESSAGES {
        let mut group = message(number, &format!("t.{}", number % TOPICS), some(1));
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
        (json!({"topic": "*.1"}), 64 * MESSAGES / TOPICS),
    ] {
        let selected: Selection = serde_json::from_value(selection.clone())?;
        assert_eq!(store.count_parked(&selected, u32::MAX).await?, count, "{selection}");
        assert_eq!(store.count_parked(&selected, 20_500).await?, count.min(20_500), "{selection}");
    }
    let selection = serde_json::from_value(json!({"topic": "t.*"}))?;
    let page = ParkedPage { selection, limit: 1_000, ..ParkedPage::default() };
    let ids: Vec<_> = walked(&*store, page).await?.into_iter().map(|one| one.id).collect();
    assert_eq!(ids.len(), 64 * MESSAGES as usize);
    assert!(ids.is_sorted_by(|one, next| one > next), "the newest first, each once");
    Ok(())
}
