//! What is promised about requests to publish that were answered.

use homing::{
    domain::time::UnixMillis,
    store::{PUBLICATIONS_KEPT, Page},
};

use super::{
    Kept, Place,
    samples::{all_pages, insert_all, subscription},
};

pub(crate) async fn a_publication_is_known_by_its_key_and_stays_as_it_was(place: Place) -> Kept {
    let (store, now) = (place.open().await?, UnixMillis::new(1_700_000_000_000));
    assert_eq!(store.publication("key").await?, None);
    store.remember_publication("key", "first", now).await?;
    store.remember_publication("key", "second", now).await?;
    store.close().await;

    let store = place.open().await?;
    assert_eq!(store.publication("key").await?.as_deref(), Some("first"));
    assert_eq!(store.publication("KEY").await?, None);
    Ok(())
}

pub(crate) async fn publications_are_forgotten_after_a_day(place: Place) -> Kept {
    /// One in some hundred forgets; that none of so many does will not be seen.
    const TRIES: u32 = 10_000;
    let (store, now) = (place.open().await?, UnixMillis::new(1_700_000_000_000));
    let (old, recent) = (now, now.plus(std::time::Duration::from_millis(2)));
    store.remember_publication("old", "x", old).await?;
    store.remember_publication("recent", "x", recent).await?;
    let later = now.plus(PUBLICATIONS_KEPT).plus(std::time::Duration::from_millis(1));
    for number in 0..TRIES {
        store.remember_publication(&format!("key {number}"), "x", later).await?;
        if store.publication("old").await?.is_none() {
            assert!(store.publication("recent").await?.is_some(), "not a millisecond too soon");
            return Ok(());
        }
    }
    Err("the old one is still known".into())
}

pub(crate) async fn subscriptions_in_workfronts_form_are_counted_and_paged(place: Place) -> Kept {
    let store = place.open().await?;
    let mut all: Vec<_> = (0..5).map(subscription).collect();
    for one in all.iter_mut().skip(2) {
        one.terms.workfront = Some(homing::domain::subscription::WorkfrontForm::default());
    }
    insert_all(&*store, &all).await?;
    let (first, total) = store.in_workfronts_form(0, 2).await?;
    let (last, _) = store.in_workfronts_form(2, 2).await?;
    assert_eq!(total, 3);
    let paged: Vec<_> = first.subscriptions.into_iter().chain(last.subscriptions).collect();
    assert_eq!(paged.iter().collect::<Vec<_>>(), all.iter().skip(2).collect::<Vec<_>>());
    assert_eq!(all_pages(&*store, 2).await?.len(), 5);
    assert!(store.subscriptions(Page { after: None, limit: 9 }).await?.next.is_none());
    Ok(())
}
