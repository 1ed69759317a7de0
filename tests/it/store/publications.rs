//! Promises about requests to publish that were answered.

use homing_domain::time::UnixMillis;
use homing_store::{MAX_PUBLICATIONS, PUBLICATIONS_KEPT, Page};

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

/// Goal: however many keys come in a day, as many are kept as was said, the newest. Method: a full
/// table, written with the shell; one more than fits for every one that is remembered.
pub(crate) async fn of_too_many_publications_the_oldest_are_forgotten(place: Place) -> Kept {
    const TRIES: u32 = 10_000;
    let (store, now) = (place.open().await?, UnixMillis::new(1_700_000_000_000));
    store.remember_publication("oldest", "x", now).await?;
    let fill = "WITH RECURSIVE numbers (n) AS \
                (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 99999) \
                INSERT INTO publications SELECT 'key ' || n, 'x', 1700000000000 + n FROM numbers";
    place.shell(fill).await?;
    assert_eq!(MAX_PUBLICATIONS, 100_000, "that is how many there are now");
    let later = now.plus(std::time::Duration::from_secs(200));
    for number in 0..TRIES {
        store.remember_publication(&format!("later {number}"), "x", later).await?;
        if store.publication("oldest").await?.is_none() {
            // With each that came, one more went; the newest 100,000 are there.
            let (last_gone, first_kept) = (format!("key {number}"), format!("key {}", number + 1));
            assert_eq!(store.publication(&last_gone).await?, None);
            assert!(store.publication(&first_kept).await?.is_some(), "{first_kept}");
            assert!(store.publication("later 0").await?.is_some());
            return Ok(());
        }
    }
    Err("nothing was forgotten".into())
}

pub(crate) async fn subscriptions_in_workfronts_form_are_counted_and_paged(place: Place) -> Kept {
    let store = place.open().await?;
    let mut all: Vec<_> = (0..5).map(subscription).collect();
    for one in all.iter_mut().skip(2) {
        one.spec.workfront = Some(homing_domain::subscription::WorkfrontForm::default());
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
