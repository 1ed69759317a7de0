//! Secrets are encrypted, by keys that can be replaced; tokens are kept as digests.

use std::{sync::Arc, time::Duration};

use homing_domain::{
    api_token::{ApiToken, Scope, TokenDigest},
    clock,
    encryption_key::{EncryptionKey, KeyId},
    payload::{Part, Payload},
    signature::SigningSecret,
    subscription::Subscription,
    time::UnixMillis,
};
use homing_store::{Store, StoreError, settings::StoreSettings};

use super::{
    Kept, Place,
    samples::{client_certificate, subscription},
};

impl Place {
    /// As a process that has these keys, the first of which encrypts.
    pub(super) async fn open_with(&self, keys: &[u8]) -> Result<Arc<dyn Store>, StoreError> {
        let encryption_keys = keys.iter().map(|byte| key(*byte).reveal()).collect();
        homing_store::open(&StoreSettings { encryption_keys, ..self.settings.clone() }).await
    }
}

fn key(byte: u8) -> EncryptionKey {
    EncryptionKey::from_bytes([byte; 32])
}

fn ids(bytes: &[u8]) -> Vec<KeyId> {
    bytes.iter().map(|byte| key(*byte).id()).collect()
}

fn secretive(path: &str) -> Subscription {
    let mut one = subscription(path);
    one.spec.secrets = vec![SigningSecret::from_bytes(vec![7; 32]).expect("a secret")];
    one.spec.headers.insert("x-key".to_owned(), "k".to_owned());
    let basic = serde_json::json!({"basic": {"username": "u", "password": "p"}});
    one.spec.authentication = serde_json::from_value(basic).ok();
    one.spec.client_certificate = Some(client_certificate());
    one
}

pub(super) async fn a_store_is_not_opened_without_its_keys(place: Place) -> Kept {
    let one = secretive("a");
    place.open_with(&[1]).await?.insert_subscription(&one).await?;

    for keys in [&[2][..], &[2, 3]] {
        let refused = place.open_with(keys).await.err().ok_or("opened with a wrong key")?;
        let StoreError::KeyMissing { missing, given } = &refused else {
            return Err(refused.report().into());
        };
        assert_eq!(*missing, key(1).id());
        assert!(given.contains(key(2).id().as_str()), "{given}");
        assert!(!refused.report().contains(&key(2).reveal()), "{}", refused.report());
    }
    let store = place.open_with(&[1]).await?;
    assert_eq!(store.subscription(one.id).await?, Some(one));
    Ok(())
}

/// Method: more subscriptions than are encrypted anew in one transaction.
pub(super) async fn after_a_rotation_only_the_new_key_is_needed(place: Place) -> Kept {
    const COUNT: usize = 450;
    let old = place.open_with(&[1]).await?;
    let mut written = Vec::new();
    for number in 0..COUNT {
        let one = secretive(&number.to_string());
        old.insert_subscription(&one).await?;
        written.push(one);
    }
    old.close().await;

    let both = place.open_with(&[2, 1]).await?;
    assert_eq!(both.all_subscriptions().await?.subscriptions, written);
    assert_eq!((both.keys().await?.primary, both.keys().await?.used), (key(2).id(), ids(&[1, 2])));
    let done = both.reencrypt().await?;
    assert_eq!((done.changed, done.corrupt.len()), (u64::try_from(COUNT)?, 0));
    assert_eq!(both.reencrypt().await?.changed, 0);
    assert_eq!(both.keys().await?.used, ids(&[2]));
    both.close().await;

    let new = place.open_with(&[2]).await?;
    assert_eq!(new.all_subscriptions().await?.subscriptions, written);
    assert!(place.open_with(&[1]).await.is_err());
    Ok(())
}

/// Goal: a process that was not restarted during a rotation loses no secret. Method: it
/// writes after the old key was forgotten.
pub(super) async fn a_process_that_still_writes_with_an_old_key_is_not_locked_out(
    place: Place,
) -> Kept {
    let old = place.open_with(&[1, 2]).await?;
    let new = place.open_with(&[2, 1]).await?;
    new.reencrypt().await?;
    assert_eq!(new.keys().await?.used, ids(&[2]));

    let late = secretive("late");
    old.insert_subscription(&late).await?;
    assert_eq!(new.subscription(late.id).await?, Some(late));
    let mut used = new.keys().await?.used;
    used.sort();
    let mut both = ids(&[1, 2]);
    both.sort();
    assert_eq!(used, both);
    assert!(place.open_with(&[2]).await.is_err(), "a secret would be lost");
    new.reencrypt().await?;
    place.open_with(&[2]).await?;
    Ok(())
}

pub(super) async fn secrets_keep_their_end(place: Place) -> Kept {
    let store = place.open().await?;
    let mut one = secretive("a");
    let end = clock::now().plus(Duration::from_hours(1));
    let ending = SigningSecret::from_bytes(vec![8; 24])?.with_expiry(Some(end));
    one.spec.secrets.push(ending);
    store.insert_subscription(&one).await?;
    assert_eq!(store.subscription(one.id).await?, Some(one));
    Ok(())
}

pub(super) async fn api_tokens_are_added_once_listed_and_removed(place: Place) -> Kept {
    let store = place.open().await?;
    assert_eq!(store.tokens().await?, []);
    let token = |name: &str, scope| -> Result<ApiToken, Box<dyn std::error::Error>> {
        let digest = TokenDigest::of(name.as_bytes());
        let created = UnixMillis::new(1_700_000_000_000);
        Ok(ApiToken { name: name.parse()?, digest, scope, created })
    };
    let (ci, graphs) = (token("ci", Scope::Write)?, token("b.graphs", Scope::Read)?);
    assert!(store.insert_token(&ci).await?);
    assert!(store.insert_token(&graphs).await?);
    let other = ApiToken { digest: TokenDigest::of(b"other"), ..ci.clone() };
    assert!(!store.insert_token(&other).await?, "the name is taken");
    assert_eq!(store.tokens().await?, [graphs.clone(), ci]);

    assert!(store.remove_token("ci").await?);
    assert!(!store.remove_token("ci").await?);
    assert_eq!(place.open().await?.tokens().await?, [graphs]);
    Ok(())
}

/// Goal: payloads are encrypted anew with all else, and one that is not needs its old key.
pub(super) async fn after_a_rotation_payloads_need_only_the_new_key(place: Place) -> Kept {
    let old = place.open_with(&[1]).await?;
    let payload = |number: u8| {
        let body = vec![number / 2].into();
        let request = Part { body, ..Part::default() };
        Arc::new(Payload { request, response: None })
    };
    let payloads: Vec<_> =
        (0..120).map(|number| (clock::new_record_id(clock::now()), payload(number))).collect();
    old.keep_payloads(&payloads).await?;

    let both = place.open_with(&[2, 1]).await?;
    assert_eq!(both.reencrypt().await?.payloads, 120 + 60);
    assert_eq!(both.reencrypt().await?.payloads, 0);
    assert_eq!(both.keys().await?.used, ids(&[2]));
    let new = place.open_with(&[2]).await?;
    for (id, payload) in &payloads {
        assert_eq!(new.payload(*id).await?, Some(Ok((**payload).clone())));
    }

    let late = (clock::new_record_id(clock::now()), payload(1));
    old.keep_payloads(std::slice::from_ref(&late)).await?;
    let unread = new.payload(late.0).await?.ok_or("it is there")?;
    let error = unread.err().ok_or("it was read without its key")?.to_string();
    assert!(error.contains("is encrypted with key"), "{error}");
    assert!(place.open_with(&[2]).await.is_err(), "a payload would be lost");
    both.reencrypt().await?;
    assert_eq!(place.open_with(&[2]).await?.payload(late.0).await?, Some(Ok((*late.1).clone())));
    Ok(())
}
