//! Lists: pages, everything at once, and the number that says when to read again.

use futures_util::future::join;
use homing_store::{MAX_PAGE_LIMIT, Page};

use super::{
    Kept, Place,
    samples::{all_pages, ids, insert_all, subscription},
};

pub(super) async fn the_limit_of_a_page_is_bounded(place: Place) -> Kept {
    let store = place.open().await?;
    let all = ["a", "b", "c"].map(subscription);
    insert_all(&*store, &all).await?;
    let [first, _, last] = &all;

    let one = store.subscriptions(Page { after: None, limit: 0 }).await?;
    assert_eq!((ids(&one.subscriptions), one.next), (vec![first.id], Some(first.id)));
    let exact = store.subscriptions(Page { after: None, limit: 3 }).await?;
    assert_eq!((ids(&exact.subscriptions), exact.next), (ids(&all), None));
    let none = store.subscriptions(Page { after: Some(last.id), limit: u32::MAX }).await?;
    assert_eq!((ids(&none.subscriptions), none.next), (vec![], None));
    Ok(())
}

/// Method: a second handle writes before, between and behind what is on the pages.
pub(super) async fn pages_are_complete_and_in_order_while_others_write(place: Place) -> Kept {
    let (reader, writer) = join(place.open(), place.open()).await;
    let (reader, writer) = (reader?, writer?);
    let early = subscription("early");
    let older: Vec<_> = (0..60).map(subscription).collect();
    insert_all(&*writer, &older).await?;
    let newer: Vec<_> = (100..140).map(subscription).chain([early]).collect();

    let (written, seen) = join(insert_all(&*writer, &newer), all_pages(&*reader, 7)).await;

    written?;
    let seen = seen?;
    assert!(seen.is_sorted_by(|one, next| one < next), "in order and once");
    let seen_older: Vec<_> = seen.into_iter().filter(|id| ids(&older).contains(id)).collect();
    assert_eq!(seen_older, ids(&older));
    assert_eq!(all_pages(&*reader, 100).await?.len(), 101);
    Ok(())
}

pub(super) async fn everything_is_read_over_several_batches(place: Place) -> Kept {
    let store = place.open().await?;
    let all: Vec<_> = (0..=MAX_PAGE_LIMIT).map(subscription).collect();
    insert_all(&*store, &all).await?;

    let snapshot = store.all_subscriptions().await?;

    assert_eq!(snapshot.subscriptions, all);
    assert_eq!(snapshot.corrupt, []);
    assert_eq!(all_pages(&*store, u32::MAX).await?, ids(&all));
    Ok(())
}

pub(super) async fn the_version_rises_with_every_change(place: Place) -> Kept {
    let store = place.open().await?;
    let mut one = subscription("a");
    let mut seen = vec![store.subscriptions_version().await?];

    store.insert_subscription(&one).await?;
    seen.push(store.subscriptions_version().await?);
    one.spec.description = Some("changed".to_owned());
    store.update_subscription(&one, one.updated).await?;
    seen.push(store.subscriptions_version().await?);
    store.remove_subscription(one.id).await?;
    seen.push(store.subscriptions_version().await?);

    assert!(seen.is_sorted_by(|one, next| one < next), "{seen:?}");
    Ok(())
}

pub(super) async fn the_version_stays_when_nothing_changes(place: Place) -> Kept {
    let store = place.open().await?;
    store.insert_subscription(&subscription("a")).await?;
    let before = store.subscriptions_version().await?;

    assert!(store.insert_subscription(&subscription("a")).await.is_err());
    let absent = subscription("b");
    assert!(store.update_subscription(&absent, absent.updated).await.is_err());
    assert!(!store.remove_subscription(subscription("a").id).await?);
    store.remember_queues(&["q".to_owned()]).await?;

    assert_eq!(store.subscriptions_version().await?, before);
    Ok(())
}

/// Goal: a worker that reloads misses nothing. Method: while one handle writes, each snapshot's
/// version, which counts the inserts, agrees with what it holds.
pub(super) async fn a_snapshot_agrees_with_its_version(place: Place) -> Kept {
    let (reader, writer) = (place.open().await?, place.open().await?);
    let all: Vec<_> = (0..50).map(subscription).collect();
    let before = reader.subscriptions_version().await?;
    let read = async {
        loop {
            let snapshot = reader.all_subscriptions().await?;
            let inserted = usize::try_from(snapshot.version.saturating_sub(before))?;
            let expected: Vec<_> = ids(&all).into_iter().take(inserted).collect();
            assert_eq!(ids(&snapshot.subscriptions), expected);
            if inserted == all.len() {
                return Kept::Ok(());
            }
        }
    };

    let (written, read) = join(insert_all(&*writer, &all), read).await;

    written.and(read)
}

pub(super) async fn subscriptions_are_found_by_their_url(place: Place) -> Kept {
    let store = place.open().await?;
    let elsewhere: Vec<_> = (0..3).map(subscription).collect();
    let mut here: Vec<_> = (3..7).map(subscription).collect();
    let url = "https://example.com/here".parse()?;
    for (number, subscription) in here.iter_mut().enumerate() {
        subscription.spec.url = Clone::clone(&url);
        subscription.spec.topics = vec![format!("topic.{number}").parse()?];
    }
    insert_all(&*store, &elsewhere).await?;
    insert_all(&*store, &here).await?;
    let expected = ids(&here);
    let (before, behind) = expected.split_at(3);
    let first = store.subscriptions_at(&url, Page { after: None, limit: 3 }).await?;
    assert_eq!((ids(&first.subscriptions), first.next), (before.to_vec(), before.last().copied()));
    let second = store.subscriptions_at(&url, Page { after: first.next, limit: 3 }).await?;
    assert_eq!((ids(&second.subscriptions), second.next), (behind.to_vec(), None));
    Ok(())
}
