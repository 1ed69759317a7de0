//! Asks an endpoint whether it wants to be called.
//!
//! The request goes the way of every delivery: the same addresses, proxy, certificate, credentials and
//! deadline. Sources: CloudEvents, *HTTP 1.1 Web Hooks for Event Delivery* 1.0.2, 4 (`handshake`; its
//! callback is left out); Slack, *Events API*, `url_verification` (`challenge`).

use std::{num::NonZeroU32, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, Uri, header::HeaderName};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Attempted, Endpoints, Purpose, RequestError, Sent,
    attempted::{Permission, bounded},
    client::BoxError,
    request::{callers, value},
};
use homing_domain::{
    clock,
    delivery::{Delivery, Progress},
    event::{CONTENT_TYPE_DEFAULT, Event},
    id::EventId,
    outcome::Outcome,
    subscription::{Consent, Subscription, VerificationMethod},
    time::UnixMillis,
    topic::Topic,
};

/// The topic of requests that ask for a consent; homing's own, so no event has it.
const TOPIC: &str = "homing.verification";

/// The type of a challenge.
const KIND: &str = "url_verification";

const REQUEST_ORIGIN: HeaderName = HeaderName::from_static("webhook-request-origin");
const REQUEST_RATE: HeaderName = HeaderName::from_static("webhook-request-rate");

/// The answer of an endpoint that was asked for its consent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The endpoint's action.
    pub outcome: Outcome,
    /// Its consent, or the reason why there is none, for operators.
    pub consent: Result<Consent, String>,
}

/// The body of the request of a challenge.
#[derive(Serialize)]
struct Challenge<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    /// The text that the answer has to repeat.
    challenge: &'a str,
}

/// An answer to a challenge in JSON.
#[derive(Deserialize)]
struct Repeated {
    challenge: String,
    /// That of the challenge, where all of it is sent back.
    #[serde(default, rename = "type")]
    kind: Value,
}

impl Endpoints {
    /// Asks the endpoint of `subscription` for its consent, by `method`.
    ///
    /// # Errors
    ///
    /// [`RequestError`]: the endpoint received nothing, or the proxy failed meanwhile.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it abandons the request, which the endpoint may have received.
    pub async fn ask_for_consent(
        &self,
        subscription: &Subscription,
        method: VerificationMethod,
        now: UnixMillis,
    ) -> Result<Answer, RequestError> {
        let challenge = challenge().map_err(RequestError::Unsendable)?;
        let delivery = request(subscription, &challenge).map_err(RequestError::Unsendable)?;
        let purpose = match method {
            VerificationMethod::Handshake => Purpose::Handshake(&self.origin),
            VerificationMethod::Challenge => Purpose::Challenge,
        };
        let sent = Sent {
            delivery: &delivery,
            subscription,
            now,
            token: None,
            source: &self.source,
            purpose,
        };
        let attempted = self.send(sent).await?;
        let allowed = allowed_rate(&attempted, method, (&self.origin, &challenge));
        let consent = allowed.map(|rate| Consent::new(method, &subscription.spec.url, now, rate));
        Ok(Answer { outcome: attempted.outcome, consent })
    }
}

/// The request that asks an endpoint whether it wants deliveries from `origin`; it asks for the rate
/// limit of the subscription.
///
/// Source: CloudEvents, *HTTP 1.1 Web Hooks for Event Delivery* 1.0.2, 4.1.
pub(super) fn handshake(
    sent: &Sent<'_>,
    uri: Uri,
    origin: &str,
) -> Result<Request<Full<Bytes>>, RequestError> {
    let mut headers = callers(sent)?;
    headers.insert(REQUEST_ORIGIN, value(&REQUEST_ORIGIN, origin)?);
    if let Some(limit) = sent.subscription.spec.rate_limit {
        headers.insert(REQUEST_RATE, limit.get().saturating_mul(60).into());
    }
    let mut request = Request::new(Full::default());
    *request.method_mut() = Method::OPTIONS;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    Ok(request)
}

/// 256 bits that only the request has.
fn challenge() -> Result<String, BoxError> {
    Ok(URL_SAFE_NO_PAD.encode(clock::random::<32>()?))
}

fn request(subscription: &Subscription, challenge: &str) -> Result<Delivery, BoxError> {
    let body = serde_json::to_vec(&Challenge { kind: KIND, challenge })?;
    let event = Event {
        id: EventId::from(clock::new_id()),
        topic: Topic::new(TOPIC)?,
        content_type: CONTENT_TYPE_DEFAULT.to_owned(),
        content_encoding: None,
        body: Bytes::from(body),
    };
    Ok(Delivery::new(Arc::new(event), subscription.id, Progress::default()))
}

/// The rate that the answer allows, if it is a consent; else the reason why it is none.
fn allowed_rate(
    attempted: &Attempted,
    method: VerificationMethod,
    (origin, challenge): (&str, &str),
) -> Result<Option<NonZeroU32>, String> {
    let Attempted { outcome, cause, response, permission, .. } = attempted;
    if !outcome.is_accepted() {
        let cause = cause.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default();
        return Err(format!("it did not consent: {outcome}{cause}"));
    }
    match method {
        VerificationMethod::Handshake => by_handshake(permission.as_ref(), origin),
        VerificationMethod::Challenge => by_challenge(response, challenge).map(|()| None),
    }
}

fn by_handshake(
    permission: Option<&Permission>,
    origin: &str,
) -> Result<Option<NonZeroU32>, String> {
    let Some(Permission { is_given, origin: allowed, rate }) = permission else {
        return Err("its answer to OPTIONS has no header `WebHook-Allowed-Origin`".to_owned());
    };
    if !is_given {
        return Err(format!(
            "it allows the origin `{allowed}`, and homing is `{origin}` (`endpoint.origin`)"
        ));
    }
    match rate.as_deref() {
        None | Some("*") => Ok(None),
        Some(rate) => rate.parse().map(Some).map_err(|_| {
            format!("its `WebHook-Allowed-Rate` is `{rate}`; it is a number of requests per minute, or `*`")
        }),
    }
}

/// Checks that the answer is the challenge, or an object with it: a server that sends back all that
/// it gets has not read it.
fn by_challenge(response: &[u8], challenge: &str) -> Result<(), String> {
    const WANTED: &str = "the challenge as text, or as the member `challenge` of a JSON object";
    let response = response.trim_ascii();
    if response == challenge.as_bytes() {
        return Ok(());
    }
    let repeated: Option<Repeated> = serde_json::from_slice(response).ok();
    match repeated.filter(|repeated| repeated.challenge == challenge) {
        Some(repeated) if repeated.kind == KIND => Err(format!(
            "it sends back the whole request, as a server does that does not read it; its answer \
             has to be {WANTED}, without `type`"
        )),
        Some(_) => Ok(()),
        None if response.is_empty() => {
            Err(format!("its answer has no body; it has to be {WANTED}"))
        }
        None => {
            let shown = bounded(String::from_utf8_lossy(response).into_owned());
            Err(format!("its answer has to be {WANTED}; it is: {shown}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn answer(origin: &str, rate: Option<&str>) -> Result<Option<u32>, String> {
        const ASKING: &str = "hooks.example.com";
        let named = [("webhook-allowed-origin", Some(origin)), ("webhook-allowed-rate", rate)];
        let named = named.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let headers = named.map(|(name, value)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        });
        let permission = Permission::read(&headers.collect(), ASKING);
        let allowed = by_handshake(permission.as_ref(), ASKING);
        allowed.map(|rate| rate.map(NonZeroU32::get))
    }

    #[test]
    fn an_origin_is_allowed_by_name_or_with_all_others() {
        assert_eq!(answer("*", None), Ok(None));
        assert_eq!(answer("Hooks.Example.com", Some("*")), Ok(None));
        assert_eq!(answer("*", Some("120")), Ok(Some(120)));
        for (origin, rate, expected) in [
            ("other.example.com", None, "it allows the origin `other.example.com`"),
            ("", None, "it allows the origin ``"),
            ("*", Some("0"), "its `WebHook-Allowed-Rate` is `0`"),
            ("*", Some("fast"), "its `WebHook-Allowed-Rate` is `fast`"),
        ] {
            let error = answer(origin, rate).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
        assert!(by_handshake(None, "a").unwrap_err().contains("WebHook-Allowed-Origin"));
    }

    #[test]
    fn a_challenge_is_repeated_as_text_or_in_an_object() {
        for right in ["abc", " abc\n", r#"{"challenge": "abc"}"#, r#"{"ok":1,"challenge":"abc"}"#] {
            assert_eq!(by_challenge(right.as_bytes(), "abc"), Ok(()), "{right}");
        }
        let echo = r#"{"challenge": "abc", "type": "url_verification"}"#;
        for (wrong, said) in [
            ("", "no body"),
            ("ok", "it is: ok"),
            ("abcd", "it is: abcd"),
            (r#""abc""#, r#"it is: "abc""#),
            (r#"{"challenge": "xyz"}"#, "xyz"),
            (echo, "without `type`"),
        ] {
            let error = by_challenge(wrong.as_bytes(), "abc").unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        assert_ne!(challenge().unwrap(), challenge().unwrap());
    }
}
