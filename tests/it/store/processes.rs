//! Several processes on one store, one after the other or at once.

use futures_util::{
    StreamExt, TryStreamExt,
    future::{join, join_all, try_join_all},
    stream::iter,
};
use homing_store::StoreError;

use super::{
    Kept, Place,
    samples::{all_pages, ids, insert_all, subscription},
};

/// Method: twenty at once, over two handles as two processes would have.
pub(super) async fn one_of_many_concurrent_duplicates_is_taken(place: Place) -> Kept {
    let handles = [place.open().await?, place.open().await?];
    let rivals: Vec<_> = (0..20).map(|_| subscription("same")).collect();
    let inserts = rivals
        .iter()
        .zip(handles.iter().cycle())
        .map(|(one, store)| store.insert_subscription(one));
    let answers = join_all(inserts).await;

    let winners: Vec<_> =
        rivals.iter().zip(&answers).filter(|(_, answer)| answer.is_ok()).collect();
    let [(winner, _)] = winners.as_slice() else {
        return Err(format!("{} were taken", winners.len()).into());
    };
    for answer in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        assert!(
            matches!(answer, StoreError::Duplicate { existing } if *existing == winner.id),
            "{answer}"
        );
    }
    assert_eq!(all_pages(&*handles[0], 100).await?, [winner.id]);
    Ok(())
}

/// Goal: of changes to one subscription at the same time, each survives. Method: two handles change two
/// fields many times; who came too late reads again.
pub(super) async fn changes_at_the_same_time_do_not_undo_each_other(place: Place) -> Kept {
    const TIMES: u32 = 30;
    let handles = [place.open().await?, place.open().await?];
    let id = subscription("a");
    handles[0].insert_subscription(&id).await?;
    let id = id.id;
    let writers = handles.iter().enumerate().map(async |(writer, store)| {
        let mut outdated = 0;
        for number in 1..=TIMES {
            loop {
                let mut one = store.subscription(id).await?.ok_or("it is there")?;
                match writer {
                    0 => one.spec.rate_limit = std::num::NonZeroU32::new(number),
                    _ => one.spec.description = Some(number.to_string()),
                }
                let read = one.updated;
                one.updated = read.plus(std::time::Duration::from_millis(1));
                match store.update_subscription(&one, read).await {
                    Ok(()) => break,
                    Err(StoreError::Outdated { .. }) => outdated += 1,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok::<_, Box<dyn std::error::Error>>(outdated)
    });

    let outdated: u32 = try_join_all(writers).await?.into_iter().sum();

    assert!(outdated > 0, "none came too late: nothing was tried");
    let one = handles[0].subscription(id).await?.ok_or("it is there")?;
    assert_eq!(one.spec.rate_limit.map(std::num::NonZeroU32::get), Some(TIMES));
    assert_eq!(one.spec.description, Some(TIMES.to_string()));
    Ok(())
}

/// Method: two handles add, change and remove a hundred subscriptions each, ten at once: changes of
/// subscriptions wait for each other, and one that waits too long is refused.
pub(super) async fn two_that_write_at_once_lose_nothing(place: Place) -> Kept {
    let (one, other) = (place.open().await?, place.open().await?);
    let [ours, theirs] =
        [0..100, 100..200].map(|paths| paths.map(subscription).collect::<Vec<_>>());

    let (first, second) = join(insert_all(&*one, &ours), insert_all(&*other, &theirs)).await;
    first.and(second)?;
    assert_eq!(one.count_subscriptions().await?, 200);

    let changes = iter(&theirs).map(async |theirs| {
        let mut changed = theirs.clone();
        changed.spec.description = Some("changed".to_owned());
        one.update_subscription(&changed, theirs.updated).await
    });
    let removals = iter(&ours).map(|ours| other.remove_subscription(ours.id));
    let (changes, removals) = join(
        changes.buffer_unordered(10).try_collect::<()>(),
        removals.buffer_unordered(10).try_collect::<Vec<_>>(),
    )
    .await;
    changes?;
    assert!(removals?.into_iter().all(|was| was));

    let snapshot = one.all_subscriptions().await?;
    assert_eq!(ids(&snapshot.subscriptions), ids(&theirs));
    assert!(snapshot.subscriptions.iter().all(|one| one.spec.description.is_some()));
    Ok(())
}

/// Goal: worker and command may be started together. Method: the store is made by twelve handles.
pub(super) async fn a_store_that_many_open_at_once_is_one_store(place: Place) -> Kept {
    let stores = try_join_all((0..12).map(|_| place.open())).await?;
    let all: Vec<_> = (0..12).map(subscription).collect();
    try_join_all(stores.iter().zip(&all).map(|(store, one)| store.insert_subscription(one)))
        .await?;
    for store in &stores {
        assert_eq!(all_pages(&**store, 5).await?, ids(&all));
    }
    Ok(())
}

pub(super) async fn everything_survives_reopening(place: Place) -> Kept {
    let store = place.open().await?;
    let all: Vec<_> = (0..5).map(subscription).collect();
    insert_all(&*store, &all).await?;
    store.remember_queues(&["wait.a".to_owned()]).await?;
    let before = store.all_subscriptions().await?;
    store.close().await;

    let store = place.open().await?;
    assert_eq!(before.subscriptions, all);
    assert_eq!(store.all_subscriptions().await?, before);
    assert_eq!(store.known_queues().await?, ["wait.a"]);
    Ok(())
}

pub(super) async fn a_closed_store_says_so(place: Place) -> Kept {
    let store = place.open().await?;
    store.close().await;
    store.close().await;
    assert!(matches!(store.check().await, Err(StoreError::Closed)));
    let inserted = store.insert_subscription(&subscription("a")).await;
    assert!(matches!(inserted, Err(StoreError::Closed)));
    Ok(())
}
