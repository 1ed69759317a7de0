//! Promises about OAuth 2.0 tokens that workers share.

use std::{error::Error, time::Duration};

use homing_domain::subscription::{Authentication, OAuth2Credentials, Subscription};
use homing_store::{OAuth2Claim, OAuth2TokenState, Store};
use serde_json::json;

use super::{Kept, Place, samples::subscription};

const HOUR: Duration = Duration::from_hours(1);

fn credentials(client: &str) -> OAuth2Credentials {
    let credentials = json!({
        "token_url": "https://auth.example.com/token", "client_id": client, "client_secret": "s",
    });
    serde_json::from_value(credentials).expect("credentials")
}

fn with_credentials(path: &str, client: &str) -> Subscription {
    let mut one = subscription(path);
    one.spec.authentication = Some(Authentication::OAuth2(credentials(client)));
    one
}

async fn claim(store: &dyn Store, generation: i64) -> Result<OAuth2Claim, Box<dyn Error>> {
    let id = store.oauth2_token_id(&credentials("a"));
    Ok(store.claim_oauth2_token(&id, generation, HOUR).await?)
}

fn lost(claim: OAuth2Claim) -> OAuth2TokenState {
    let OAuth2Claim::Lost(state) = claim else { panic!("{claim:?}") };
    state
}

pub(crate) async fn one_worker_asks_for_a_token_and_the_others_read_it(place: Place) -> Kept {
    let (store, other) = (place.open().await?, place.open().await?);
    let id = store.oauth2_token_id(&credentials("a"));
    assert_eq!(claim(store.as_ref(), 0).await?, OAuth2Claim::Unshared);
    store.insert_subscription(&with_credentials("1", "a")).await?;
    assert_eq!(store.oauth2_token_status(&credentials("a")).await?, None);

    let won = OAuth2Claim::Won { generation: 0, failures: 0 };
    assert_eq!(claim(store.as_ref(), 0).await?, won);
    let state = lost(claim(other.as_ref(), 0).await?);
    assert!(state.token.is_none() && state.claimed > HOUR / 2, "{state:?}");
    assert!(store.keep_oauth2_token(&id, 0, ("first", HOUR)).await?);
    let state = lost(claim(other.as_ref(), 0).await?);
    let token = state.token.expect("it is there");
    assert_eq!((&*token.token, state.generation, state.claimed), ("first", 1, Duration::ZERO));
    assert!(token.left > HOUR / 2 && token.age < HOUR / 2, "{token:?}");

    let won = OAuth2Claim::Won { generation: 1, failures: 0 };
    assert_eq!(claim(other.as_ref(), 1).await?, won, "the next one");
    assert_eq!(lost(claim(store.as_ref(), 1).await?).token.expect("still").token, "first");
    assert!(!store.keep_oauth2_token(&id, 0, ("late", HOUR)).await?, "that claim is over");
    assert!(other.keep_oauth2_token(&id, 1, ("second", HOUR)).await?);
    assert_eq!(lost(claim(store.as_ref(), 1).await?).token.expect("new").token, "second");
    let status = store.oauth2_token_status(&credentials("a")).await?.expect("there is one");
    assert_eq!(status.expires, status.obtained.map(|obtained| obtained.plus(HOUR)));
    Ok(())
}

pub(crate) async fn a_claim_of_a_worker_that_died_ends(place: Place) -> Kept {
    let store = place.open().await?;
    store.insert_subscription(&with_credentials("1", "a")).await?;
    let id = store.oauth2_token_id(&credentials("a"));
    let won = OAuth2Claim::Won { generation: 0, failures: 0 };
    assert_eq!(store.claim_oauth2_token(&id, 0, Duration::ZERO).await?, won);
    assert_eq!(claim(store.as_ref(), 0).await?, won);
    Ok(())
}

pub(crate) async fn a_token_request_that_failed_is_waited_out_by_all(place: Place) -> Kept {
    let (store, other) = (place.open().await?, place.open().await?);
    store.insert_subscription(&with_credentials("1", "a")).await?;
    let id = store.oauth2_token_id(&credentials("a"));
    claim(store.as_ref(), 0).await?;
    store.oauth2_token_failed(&id, 0, ("it answered 503", HOUR)).await?;
    let state = lost(claim(other.as_ref(), 0).await?);
    assert_eq!(state.error.as_deref(), Some("it answered 503"));
    assert!(state.retry_in > HOUR / 2 && state.claimed.is_zero(), "{state:?}");
    let status = other.oauth2_token_status(&credentials("a")).await?.expect("there is one");
    assert_eq!(status.error.as_deref(), Some("it answered 503"));
    let since = status.failing_since.expect("it fails");

    store.oauth2_token_failed(&id, 0, ("it answered 500", Duration::ZERO)).await?;
    let won = OAuth2Claim::Won { generation: 0, failures: 2 };
    assert_eq!(claim(other.as_ref(), 0).await?, won);
    let status = other.oauth2_token_status(&credentials("a")).await?.expect("there is one");
    assert_eq!(status.failing_since, Some(since));
    assert!(other.keep_oauth2_token(&id, 0, ("token", HOUR)).await?);
    let status = other.oauth2_token_status(&credentials("a")).await?.expect("there is one");
    assert_eq!((status.error, status.failing_since), (None, None));
    Ok(())
}

pub(crate) async fn a_token_goes_with_its_last_subscription(place: Place) -> Kept {
    let store = place.open().await?;
    let (mut one, other) = (with_credentials("1", "a"), with_credentials("2", "a"));
    store.insert_subscription(&one).await?;
    store.insert_subscription(&other).await?;
    let id = store.oauth2_token_id(&credentials("a"));
    claim(store.as_ref(), 0).await?;
    assert!(store.keep_oauth2_token(&id, 0, ("token", HOUR)).await?);

    assert!(store.remove_subscription(other.id).await?);
    assert!(store.oauth2_token_status(&credentials("a")).await?.is_some(), "one is left");
    let read = one.updated;
    one.updated = read.plus(Duration::from_millis(1));
    one.spec.description = Some("changed".to_owned());
    store.update_subscription(&one, read).await?;
    assert!(store.oauth2_token_status(&credentials("a")).await?.is_some(), "it has them still");
    claim(store.as_ref(), 1).await?;
    let read = one.updated;
    one.updated = read.plus(Duration::from_millis(1));
    one.spec.authentication = Some(Authentication::OAuth2(credentials("b")));
    store.update_subscription(&one, read).await?;
    assert_eq!(store.oauth2_token_status(&credentials("a")).await?, None);
    assert!(!store.keep_oauth2_token(&id, 1, ("late", HOUR)).await?);
    assert_eq!(claim(store.as_ref(), 0).await?, OAuth2Claim::Unshared);
    Ok(())
}

/// Goal: after a rotation, a token by the old key is neither read nor left.
pub(crate) async fn a_rotation_of_keys_has_tokens_asked_for_anew(place: Place) -> Kept {
    let old = place.open_with(&[1]).await?;
    old.insert_subscription(&with_credentials("1", "a")).await?;
    let id = old.oauth2_token_id(&credentials("a"));
    claim(old.as_ref(), 0).await?;
    assert!(old.keep_oauth2_token(&id, 0, ("token", HOUR)).await?);
    let new = place.open_with(&[2, 1]).await?;
    assert!(new.reencrypt().await?.is_whole());
    assert_eq!(old.oauth2_token_status(&credentials("a")).await?, None);
    assert_eq!(claim(old.as_ref(), 0).await?, OAuth2Claim::Unshared, "a process with the old key");
    let won = OAuth2Claim::Won { generation: 0, failures: 0 };
    assert_eq!(claim(new.as_ref(), 0).await?, won);
    let id = new.oauth2_token_id(&credentials("a"));
    assert!(new.keep_oauth2_token(&id, 0, ("token", HOUR)).await?);
    let alone = place.open_with(&[2]).await?;
    assert_eq!(lost(claim(alone.as_ref(), 0).await?).token.expect("a token").token, "token");
    Ok(())
}
