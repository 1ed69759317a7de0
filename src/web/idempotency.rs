//! `Idempotency-Key`: a request that is sent again is recognised.
//!
//! Ids of events derive from the key, so receivers recognise a repetition in any case: its
//! deliveries have the same `webhook-id`. Beyond that, the store knows the keys of the last day, up
//! to [`MAX_PUBLICATIONS`](homing_store::MAX_PUBLICATIONS): a request with one of them gets the
//! same answer and is not published again. Without the store, publishing goes on.
//!
//! Source: IETF draft *The Idempotency-Key HTTP Header Field*, version 07, for the header, 409 and
//! 422.

use std::{collections::HashSet, sync::Arc, time::Duration};

use axum::http::{HeaderMap, HeaderName};
use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use super::{
    auth::Caller,
    problem::{Kind, Problem},
};
use homing_domain::{clock, id::EventId, subscription::FieldError};
use homing_store::Store;
use homing_telemetry::log_events;
use parking_lot::Mutex;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Marks a repeated answer.
pub(crate) const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

const MAX_KEY_BYTES: usize = 255;
/// For the store; then the event is published without it.
const STORE_DEADLINE: Duration = Duration::from_secs(2);

/// A key of a client, and its owner: every API token has keys of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key(String);

impl Key {
    /// The key of a request of `caller`, if it has one; in quotes or without.
    pub(crate) fn of(headers: &HeaderMap, caller: &Caller) -> Result<Option<Self>, FieldError> {
        let wrong = |message: &str| FieldError::new(IDEMPOTENCY_KEY.as_str(), message);
        let mut given = headers.get_all(IDEMPOTENCY_KEY).iter();
        let Some(value) = given.next() else { return Ok(None) };
        if given.next().is_some() {
            return Err(wrong("given more than once"));
        }
        let text = value.to_str().map_err(|_error| wrong("not ASCII"))?.trim();
        let bare = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
        if bare.is_empty() || bare.len() > MAX_KEY_BYTES {
            return Err(wrong("a key has 1 to 255 characters; a UUID is a good one"));
        }
        // No key and no caller has a control character.
        Ok(Some(Self(match caller.as_str() {
            "" => bare.to_owned(),
            caller => format!("{caller}\0{bare}"),
        })))
    }

    /// The id of the one event that is published with this key.
    pub(crate) fn event(&self) -> EventId {
        EventId::derived(&self.0)
    }

    /// The id of the event with this number in a batch. No key has a line break.
    pub(crate) fn event_of_batch(&self, number: usize) -> EventId {
        EventId::derived(&format!("{}\n{number}", self.0))
    }

    fn digest(&self) -> String {
        STANDARD.encode(Sha256::digest(&self.0))
    }
}

/// The digest of a request.
#[derive(Default)]
pub(crate) struct Fingerprint(Sha256);

impl Fingerprint {
    /// The same with a further part.
    pub(crate) fn with(mut self, part: &[u8]) -> Self {
        self.0.update(part.len().to_be_bytes());
        self.0.update(part);
        self
    }

    fn finish(self) -> String {
        STANDARD.encode(self.0.finalize())
    }
}

/// The keys of requests that are being answered.
#[derive(Clone, Default)]
pub(crate) struct Keys(Arc<Mutex<HashSet<String>>>);

/// A request with a key while it is answered.
pub(crate) struct Repeatable {
    keys: Keys,
    store: Arc<dyn Store>,
    digest: String,
    fingerprint: String,
}

impl Keys {
    /// Begins to answer a request that has `key`.
    pub(crate) fn begin(
        &self,
        key: &Key,
        fingerprint: Fingerprint,
        store: Arc<dyn Store>,
    ) -> Result<Repeatable, Problem> {
        let digest = key.digest();
        let fingerprint = fingerprint.finish();
        if !self.0.lock().insert(digest.clone()) {
            let detail = "a request with this `Idempotency-Key` is being answered; try again later";
            return Err(Problem::new(Kind::KeyInUse, detail));
        }
        Ok(Repeatable { keys: self.clone(), store, digest, fingerprint })
    }
}

impl Repeatable {
    /// True if this request was answered before.
    pub(crate) async fn was_answered(&self) -> Result<bool, Problem> {
        let step = "reading an idempotency key";
        match timeout(STORE_DEADLINE, self.store.publication(&self.digest)).await {
            Ok(Ok(Some(known))) if known != self.fingerprint => {
                let detail = "another request was made with this `Idempotency-Key`; every request \
                              needs a key of its own";
                Err(Problem::new(Kind::KeyReused, detail))
            }
            Ok(Ok(known)) => Ok(known.is_some()),
            Ok(Err(error)) => {
                log_events::store_unavailable(step, &error);
                Ok(false)
            }
            Err(elapsed) => {
                log_events::store_unavailable(step, &elapsed);
                Ok(false)
            }
        }
    }

    /// Remembers that everything was published.
    pub(crate) async fn published(&self) {
        let step = "remembering an idempotency key";
        let (digest, fingerprint) = (&self.digest, &self.fingerprint);
        let remembered = self.store.remember_publication(digest, fingerprint, clock::now());
        match timeout(STORE_DEADLINE, remembered).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => log_events::store_unavailable(step, &error),
            Err(elapsed) => log_events::store_unavailable(step, &elapsed),
        }
    }
}

impl Drop for Repeatable {
    fn drop(&mut self) {
        self.keys.0.lock().remove(&self.digest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(value: &str) -> Result<Option<Key>, FieldError> {
        let headers = HeaderMap::from_iter([(IDEMPOTENCY_KEY, value.parse().unwrap())]);
        Key::of(&headers, &Caller::default())
    }

    #[test]
    fn a_key_is_the_same_with_and_without_quotes() {
        assert_eq!(key("\"k-1\""), key(" k-1 "));
        assert_eq!(Key::of(&HeaderMap::new(), &Caller::default()), Ok(None));
        for wrong in ["", "\"\"", &"x".repeat(256)] {
            assert_eq!(key(wrong).unwrap_err().field, "idempotency-key");
        }
    }

    #[test]
    fn ids_derive_from_the_key_and_the_place_in_the_batch() {
        let (one, other) = (key("a").unwrap().unwrap(), key("b").unwrap().unwrap());
        assert_eq!(one.event(), one.event());
        assert_ne!(one.event(), other.event());
        assert_ne!(one.event(), one.event_of_batch(0));
        assert_ne!(one.event_of_batch(0), one.event_of_batch(1));
    }

    #[test]
    fn every_token_has_keys_of_its_own() {
        let headers = HeaderMap::from_iter([(IDEMPOTENCY_KEY, "k".parse().unwrap())]);
        let of = |caller: &Caller| Key::of(&headers, caller).unwrap().unwrap();
        let callers = [Caller::default(), Caller::named("a"), Caller::named("b")];
        let keys = callers.each_ref().map(of);
        for (number, key) in keys.iter().enumerate() {
            for other in &keys[number + 1..] {
                assert!(key.event() != other.event() && key.digest() != other.digest());
                assert_ne!(key.event_of_batch(0), other.event_of_batch(0));
            }
        }
        assert_eq!(keys[1], of(&Caller::named("a")));
    }

    #[test]
    fn parts_of_a_fingerprint_do_not_run_together() {
        let of = |parts: &[&str]| {
            let with = |so_far: Fingerprint, part: &&str| so_far.with(part.as_bytes());
            parts.iter().fold(Fingerprint::default(), with).finish()
        };
        assert_eq!(of(&["a", "b"]), of(&["a", "b"]));
        assert_ne!(of(&["a", "b"]), of(&["ab", ""]));
    }
}
