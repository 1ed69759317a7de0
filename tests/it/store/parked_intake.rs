//! Promises about what comes from the parking queue, and comes again.

use homing_store::{ParkedId, ParkedMessage};

use super::{
    Kept, Place,
    parked::{AMPLE, QUEUE, message, some},
};

/// The same as the broker sends it again, with another id.
fn again(message: &ParkedMessage, unique: u64) -> ParkedMessage {
    let mut again = message.clone();
    again.id = ParkedId::of_message(message.deliveries.first().and_then(|one| one.parked), unique);
    for one in &mut again.deliveries {
        one.id = again.id;
    }
    again.is_redelivered = true;
    again
}

/// Goal: a keeper that dies between commit and ack parks nothing twice.
pub(super) async fn a_message_that_comes_again_is_there_once(place: Place) -> Kept {
    let (store, other) = (place.open().await?, place.open().await?);
    let messages: Vec<_> = (0..50).map(|number| message(number, "t", some(1))).collect();
    let (first, rest) = messages.split_at(30);
    assert_eq!(store.park(QUEUE, first, AMPLE).await?.deliveries, 30);
    let totals = store.parked_totals().await?;
    let returned: Vec<_> = (0..).zip(first).map(|(n, one)| again(one, 900 + n)).collect();
    for part in returned.chunks(16) {
        let added = other.park(QUEUE, part, AMPLE).await?;
        assert_eq!((added.messages, added.deliveries), (part.len(), 0));
    }
    assert_eq!(other.parked_totals().await?, totals);
    // Removed meanwhile, and perhaps not acked yet.
    let first = messages.first().ok_or("one")?;
    assert_eq!(store.remove_parked(&[first.id]).await?, 1);
    assert_eq!(store.park(QUEUE, &[again(first, 990)], AMPLE).await?.deliveries, 0);
    let of_another_queue = other.park("other.parked", &[again(first, 991)], AMPLE).await?;
    assert_eq!(of_another_queue.deliveries, 1);
    assert_eq!(store.park(QUEUE, rest, AMPLE).await?.deliveries, 20);
    assert_eq!(store.parked_totals().await?.deliveries, 50);
    Ok(())
}

/// Goal: equal messages are as many deliveries. Method: a thousand; batches of them are committed
/// and come again, and are refused and come again.
pub(super) async fn equal_messages_are_all_kept(place: Place) -> Kept {
    const COUNT: u64 = 1_000;
    let store = place.open().await?;
    let one = message(1, "t", some(1));
    let unseen = |unique| ParkedMessage { is_redelivered: false, ..again(&one, unique) };
    let all: Vec<_> = (0..COUNT).map(unseen).collect();
    for batch in all.chunks(128) {
        assert_eq!(store.park(QUEUE, batch, AMPLE).await?.messages, batch.len());
    }
    assert_eq!(store.parked_totals().await?.deliveries, COUNT);
    // The last 104 were not acked; as many and three others come, which the store refused before.
    let returned: Vec<_> = (5_000..5_107).map(|unique| again(&one, unique)).collect();
    assert_eq!(store.park(QUEUE, &returned, AMPLE).await?.deliveries, 3);
    assert_eq!(store.park(QUEUE, &[unseen(7_000)], AMPLE).await?.deliveries, 1);
    // All of those were acked: what was delivered before, and is equal, is another one.
    let returned: Vec<_> = (8_000..8_005).map(|unique| again(&one, unique)).collect();
    assert_eq!(store.park(QUEUE, &returned, AMPLE).await?.deliveries, 4, "one may be that of 7000");
    Ok(())
}

/// Goal: of equal messages without an id, none is lost. Method: they come again and again, some of
/// them acked, in batches of which the store knows nothing.
pub(super) async fn messages_without_an_id_are_never_taken_for_another(place: Place) -> Kept {
    let store = place.open().await?;
    let one = ParkedMessage { digest: None, ..message(1, "t", some(1)) };
    let returned: Vec<_> = (0..300).map(|unique| again(&one, unique)).collect();
    for batch in returned.chunks(64) {
        assert_eq!(store.park(QUEUE, batch, AMPLE).await?.messages, batch.len());
    }
    assert_eq!(store.parked_totals().await?.deliveries, 300);
    Ok(())
}

/// Goal: no key is forgotten that a message needs. Method: a process that still encrypts with the old
/// one parks, with ids that come first, while everything is encrypted anew.
pub(super) async fn a_key_that_a_message_needs_is_kept(place: Place) -> Kept {
    const ROUNDS: u32 = 20;
    let (both, old) = (place.open_with(&[2, 1]).await?, place.open_with(&[1, 2]).await?);
    for round in 0..ROUNDS {
        let one = [message(ROUNDS - round, "t", some(1))];
        let (renewed, parked) = tokio::join!(both.reencrypt(), old.park(QUEUE, &one, AMPLE));
        renewed?;
        parked?;
        let Ok(new) = place.open_with(&[2]).await else { continue };
        let read = new.parked_messages(&[one[0].id]).await?;
        assert!(read.values().all(Result::is_ok), "round {round}");
        new.close().await;
    }
    Ok(())
}
