//! Promises about what comes from the parking queue, and comes again.

use homing_store::{Intake, ParkedId, ParkedMessage};
use uuid::Uuid;

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

/// A batch of an intake.
fn batch(intake: u128, batch: u64) -> Intake<'static> {
    Intake { id: Uuid::from_u128(intake), batch, ..QUEUE }
}

/// Goal: a keeper that dies between commit and ack parks nothing twice.
pub(super) async fn a_message_that_comes_again_is_there_once(place: Place) -> Kept {
    let (store, other) = (place.open().await?, place.open().await?);
    let messages: Vec<_> = (0..50).map(|number| message(number, "t", some(1))).collect();
    let (first, rest) = messages.split_at(30);
    assert_eq!(store.park(batch(1, 1), first, AMPLE).await?.deliveries, 30);
    let totals = store.parked_totals().await?;
    let returned: Vec<_> = (0..).zip(first).map(|(n, one)| again(one, 900 + n)).collect();
    for (number, part) in (1..).zip(returned.chunks(16)) {
        let added = other.park(batch(2, number), part, AMPLE).await?;
        assert_eq!((added.messages, added.deliveries), (part.len(), 0));
    }
    assert_eq!(other.parked_totals().await?, totals);
    // Removed meanwhile, and perhaps not acked yet.
    let last = first.last().ok_or("one")?;
    assert_eq!(store.remove_parked(&[last.id]).await?, 1);
    assert_eq!(store.park(batch(3, 1), &[again(last, 990)], AMPLE).await?.deliveries, 0);
    let of_another_queue = Intake { queue: "other.parked", ..batch(4, 1) };
    assert_eq!(store.park(of_another_queue, &[again(last, 991)], AMPLE).await?.deliveries, 1);
    assert_eq!(store.park(batch(3, 2), rest, AMPLE).await?.deliveries, 20);
    assert_eq!(store.parked_totals().await?.deliveries, 50);
    Ok(())
}

/// Goal: a commit whose answer was lost is none that failed. Method: the same is added again with the
/// same ids, as a whole and one by one; some of it was removed meanwhile, some has no digest, and
/// some is a repetition itself.
pub(super) async fn the_same_batch_twice_is_there_once(place: Place) -> Kept {
    let store = place.open().await?;
    let of_before: Vec<_> = (0..10).map(|number| message(number, "t", some(1))).collect();
    store.park(batch(1, 1), &of_before, AMPLE).await?;
    let returned = (900..).zip(&of_before).map(|(n, one)| again(one, n));
    let new = (10..30).map(|number| message(number, "t", some(1)));
    let without =
        (30..40).map(|number| ParkedMessage { digest: None, ..message(number, "t", some(1)) });
    let all: Vec<_> = returned.chain(new).chain(without).collect();
    let added = store.park(batch(2, 1), &all, AMPLE).await?;
    assert_eq!((added.messages, added.deliveries), (40, 30));
    let removed: Vec<_> = all.iter().skip(12).step_by(23).map(|one| one.id).collect();
    assert_eq!(store.remove_parked(&removed).await?, 2);
    let totals = store.parked_totals().await?;
    let added = store.park(batch(2, 1), &all, AMPLE).await?;
    assert_eq!((added.messages, added.deliveries), (40, 0));
    for one in &all {
        let added = store.park(batch(2, 1), std::slice::from_ref(one), AMPLE).await?;
        assert_eq!((added.messages, added.deliveries), (1, 0));
    }
    assert_eq!(store.parked_totals().await?, totals);
    Ok(())
}

/// Goal: keepers without a lock park nothing twice. Method: one adds new messages while another is
/// about to ack, and is killed before it does.
pub(super) async fn what_another_intake_added_is_not_forgotten(place: Place) -> Kept {
    let store = place.open().await?;
    let messages: Vec<_> = (0..20).map(|number| message(number, "t", some(1))).collect();
    let (first, second) = messages.split_at(10);
    store.park(batch(1, 1), first, AMPLE).await?;
    for (number, one) in (1..).zip(second) {
        store.park(batch(2, number), std::slice::from_ref(one), AMPLE).await?;
    }
    let returned: Vec<_> = (900..).zip(first).map(|(n, one)| again(one, n)).collect();
    let added = store.park(batch(2, 11), &returned, AMPLE).await?;
    assert_eq!((added.messages, added.deliveries), (10, 0));
    // A queue without a leader for a moment delivers one again in the same batch.
    let one = message(50, "t", some(1));
    let added = store.park(batch(2, 12), &[one.clone(), again(&one, 950)], AMPLE).await?;
    assert_eq!((added.messages, added.deliveries), (2, 1));
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
    for (number, part) in (1..).zip(all.chunks(128)) {
        assert_eq!(store.park(batch(1, number), part, AMPLE).await?.messages, part.len());
    }
    assert_eq!(store.parked_totals().await?.deliveries, COUNT);
    // The last 104 were not acked; as many and three others come, which the store refused before,
    // the latter one by one.
    let returned: Vec<_> = (5_000..5_107).map(|unique| again(&one, unique)).collect();
    let (most, others) = returned.split_at(104);
    assert_eq!(store.park(batch(2, 1), most, AMPLE).await?.deliveries, 0);
    for other in others {
        let added = store.park(batch(2, 1), std::slice::from_ref(other), AMPLE).await?;
        assert_eq!(added.deliveries, 1);
    }
    assert_eq!(store.park(batch(2, 2), &[unseen(7_000)], AMPLE).await?.deliveries, 1);
    // All of those were acked: what was delivered before, and is equal, is another one.
    let returned: Vec<_> = (8_000..8_005).map(|unique| again(&one, unique)).collect();
    let added = store.park(batch(3, 1), &returned, AMPLE).await?;
    assert_eq!(added.deliveries, 4, "one may be that of 7000");
    Ok(())
}

/// Goal: of equal messages without an id, none is lost. Method: they come again and again, some of
/// them acked, in batches of which the store knows nothing.
pub(super) async fn messages_without_an_id_are_never_taken_for_another(place: Place) -> Kept {
    let store = place.open().await?;
    let one = ParkedMessage { digest: None, ..message(1, "t", some(1)) };
    let returned: Vec<_> = (0..300).map(|unique| again(&one, unique)).collect();
    for (number, part) in (1..).zip(returned.chunks(64)) {
        assert_eq!(store.park(batch(number, 1), part, AMPLE).await?.messages, part.len());
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

/// Goal: nor does a version of homing forget it that knows of no parked messages, and deletes all keys
/// but its own.
pub(super) async fn a_key_that_a_message_needs_cannot_be_deleted(place: Place) -> Kept {
    let old = place.open_with(&[1]).await?;
    let one = message(1, "t", some(1));
    old.park(QUEUE, std::slice::from_ref(&one), AMPLE).await?;
    assert!(place.shell("DELETE FROM encryption_keys").await.is_err());
    assert!(place.open_with(&[2]).await.is_err(), "the key is known to be needed");
    old.remove_parked(&[one.id]).await?;
    place.shell("DELETE FROM encryption_keys").await
}
