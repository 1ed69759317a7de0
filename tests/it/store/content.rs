//! Everything is read as it was written.

use homing_domain::{clock, id::SubscriptionId, subscription::Subscription, time::UnixMillis};
use homing_store::{ExpiringCertificate, StoreError};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};

use super::{
    Kept, Place,
    samples::{client_certificate, insert_all, spec, subscription},
};

/// Method: 300 random subscriptions, from which no schedule name is known to any settings.
pub(super) async fn every_field_is_read_back_as_it_was_written(place: Place) -> Kept {
    let store = place.open().await?;
    let mut runner = TestRunner::deterministic();
    let strategy = (spec(), any::<i64>(), any::<i64>());
    let mut written = Vec::new();
    for number in 0..300 {
        let (mut spec, created, updated) =
            strategy.new_tree(&mut runner).map_err(|reason| reason.to_string())?.current();
        spec.url = format!("{}{number}", spec.url.as_str()).parse()?;
        let id = SubscriptionId::new(clock::new_id());
        let (created, updated) = (UnixMillis::new(created), UnixMillis::new(updated));
        let one = Subscription { id, spec, created, updated };
        store.insert_subscription(&one).await?;
        assert_eq!(store.subscription(id).await?.as_ref(), Some(&one));
        written.push(one);
    }
    assert_eq!(store.all_subscriptions().await?.subscriptions, written);
    Ok(())
}

pub(super) async fn certificates_are_found_before_they_expire(place: Place) -> Kept {
    let store = place.open().await?;
    let (without, mut with) = (subscription("a"), subscription("b"));
    with.spec.client_certificate = Some(client_certificate());
    insert_all(&*store, &[without, with.clone()]).await?;
    let expires = client_certificate().expires();
    let found = store.expiring_certificates(expires, 9).await?;
    assert_eq!(found, []);
    let later = expires.plus(std::time::Duration::from_millis(1));
    let (subscription, url) = (with.id, with.spec.url.as_str().to_owned());
    let expected = ExpiringCertificate { subscription, url, expires };
    assert_eq!(store.expiring_certificates(later, 9).await?, [expected]);

    let read = with.updated;
    with.spec.client_certificate = None;
    store.update_subscription(&with, read).await?;
    assert_eq!(store.expiring_certificates(later, 9).await?, []);
    Ok(())
}

pub(super) async fn duplicates_are_refused_and_name_the_one_that_exists(place: Place) -> Kept {
    let store = place.open().await?;
    let first = subscription("a");
    store.insert_subscription(&first).await?;

    for again in [first.clone(), subscription("a")] {
        match store.insert_subscription(&again).await {
            Err(StoreError::Duplicate { existing }) => assert_eq!(existing, first.id),
            other => return Err(format!("{other:?}").into()),
        }
    }
    assert_eq!(store.count_subscriptions().await?, 1);
    Ok(())
}

pub(super) async fn an_update_replaces_the_spec_and_keeps_the_creation(place: Place) -> Kept {
    let store = place.open().await?;
    let mut one = subscription("a");
    store.insert_subscription(&one).await?;

    let created = one.created;
    one.spec = subscription("b").spec;
    one.spec.description = Some("changed".to_owned());
    let read = one.updated;
    one.updated = UnixMillis::new(5);
    let changed = Subscription { created: UnixMillis::new(7), ..one.clone() };
    store.update_subscription(&changed, read).await?;
    store.update_subscription(&changed, changed.updated).await?;

    assert_eq!(store.subscription(one.id).await?, Some(Subscription { created, ..one }));
    store.insert_subscription(&subscription("a")).await?;
    Ok(())
}

pub(super) async fn an_update_to_a_duplicate_is_refused(place: Place) -> Kept {
    let store = place.open().await?;
    let [first, mut second] = ["a", "b"].map(subscription);
    insert_all(&*store, &[first.clone(), second.clone()]).await?;

    let before = second.clone();
    second.spec = first.spec.clone();
    match store.update_subscription(&second, second.updated).await {
        Err(StoreError::Duplicate { existing }) => assert_eq!(existing, first.id),
        other => return Err(format!("{other:?}").into()),
    }
    assert_eq!(store.subscription(before.id).await?, Some(before));
    Ok(())
}

pub(super) async fn what_is_missing_is_reported_as_missing(place: Place) -> Kept {
    let store = place.open().await?;
    let here = subscription("a");
    store.insert_subscription(&here).await?;
    // The same terms: that nothing is there to be updated counts more than the duplicate.
    let absent = subscription("a");

    assert_eq!(store.subscription(absent.id).await?, None);
    assert!(!store.remove_subscription(absent.id).await?);
    match store.update_subscription(&absent, absent.updated).await {
        Err(StoreError::NotFound { id }) => assert_eq!(id, absent.id),
        other => return Err(format!("{other:?}").into()),
    }
    assert!(store.remove_subscription(here.id).await?);
    assert!(!store.remove_subscription(here.id).await?);
    assert_eq!(store.count_subscriptions().await?, 0);
    Ok(())
}

pub(super) async fn queues_are_remembered_once_and_forgotten(place: Place) -> Kept {
    let store = place.open().await?;
    let names = |names: &[&str]| -> Vec<String> { names.iter().map(ToString::to_string).collect() };
    assert_eq!(store.known_queues().await?, names(&[]));

    store.remember_queues(&names(&["wait.b", "wait.a", "wait.b"])).await?;
    store.remember_queues(&names(&["wait.a", "wait.c"])).await?;
    store.remember_queues(&[]).await?;
    assert_eq!(store.known_queues().await?, names(&["wait.a", "wait.b", "wait.c"]));

    assert!(store.forget_queue("wait.b").await?);
    assert!(!store.forget_queue("wait.b").await?);
    assert_eq!(store.known_queues().await?, names(&["wait.a", "wait.c"]));
    Ok(())
}
