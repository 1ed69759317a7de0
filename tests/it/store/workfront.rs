//! Subscriptions in Workfront's form: which of them are the same.

use homing_domain::subscription::{AuthToken, Subscription, WorkfrontForm};
use homing_store::{Store, StoreError};

use super::{Kept, Place, samples::subscription};

fn with_token(token: &str) -> Subscription {
    let mut one = subscription("wf");
    one.spec.workfront = Some(WorkfrontForm::default());
    one.spec.auth_token = Some(AuthToken::try_from(token.to_owned()).expect("a token"));
    one
}

/// The one because of which `subscription` is refused; `None`: it was added.
async fn refused_for(store: &dyn Store, subscription: &Subscription) -> Option<String> {
    match store.insert_subscription(subscription).await {
        Ok(()) => None,
        Err(StoreError::Duplicate { existing }) => Some(existing.to_string()),
        Err(other) => panic!("{other:?}"),
    }
}

pub(super) async fn in_workfronts_form_tokens_make_different_subscriptions(place: Place) -> Kept {
    let store = place.open_with(&[1]).await?;
    let (first, second) = (with_token("a"), with_token("b"));
    for one in [&first, &second] {
        assert_eq!(refused_for(&*store, one).await, None);
    }
    let mut encoded = with_token("a");
    encoded.spec.workfront =
        Some(WorkfrontForm { base64_encoding: true, ..WorkfrontForm::default() });
    assert_eq!(refused_for(&*store, &encoded).await, None);
    assert_eq!(refused_for(&*store, &with_token("b")).await, Some(second.id.to_string()));

    let mut changed = second.clone();
    changed.spec.auth_token = first.spec.auth_token.clone();
    let updated = store.update_subscription(&changed, second.updated).await;
    let Err(StoreError::Duplicate { existing }) = updated else { panic!("{updated:?}") };
    assert_eq!(existing, first.id);
    Ok(())
}

/// Goal: neither a new key nor the end of the old one lets a second one in.
pub(super) async fn what_is_the_same_is_known_across_a_rotation(place: Place) -> Kept {
    let old = place.open_with(&[1]).await?;
    let first = with_token("a");
    old.insert_subscription(&first).await?;
    old.close().await;
    let id = Some(first.id.to_string());

    let both = place.open_with(&[2, 1]).await?;
    assert_eq!(refused_for(&*both, &with_token("a")).await, id);
    assert!(both.reencrypt().await?.is_whole());
    both.close().await;

    let new = place.open_with(&[2]).await?;
    assert_eq!(refused_for(&*new, &with_token("a")).await, id);
    assert_eq!(refused_for(&*new, &with_token("b")).await, None);
    Ok(())
}

/// The fingerprint of an earlier version has neither token nor encoding.
pub(super) async fn one_of_an_earlier_version_is_compared_too(place: Place) -> Kept {
    let store = place.open_with(&[1]).await?;
    let first = with_token("a");
    store.insert_subscription(&first).await?;
    place
        .shell(
            "UPDATE subscriptions SET fingerprint = '6egIyzNjhrVMYUCQvU7lQ3AxQRY5pm7vbtR7/z2F37E='",
        )
        .await?;
    assert_eq!(refused_for(&*store, &with_token("a")).await, Some(first.id.to_string()));
    let second = with_token("b");
    assert_eq!(refused_for(&*store, &second).await, None);

    // A change of its own gives it one of this version.
    store.update_subscription(&first, first.updated).await?;
    assert_eq!(refused_for(&*store, &with_token("a")).await, Some(first.id.to_string()));
    assert_eq!(refused_for(&*store, &with_token("b")).await, Some(second.id.to_string()));
    Ok(())
}
