//! From a delivery to an HTTP request.
//!
//! Source of the three `webhook-` headers: Standard Webhooks specification 1.0, *Webhook headers*.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Uri,
    header::{
        ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap,
        HeaderName, HeaderValue, USER_AGENT,
    },
};

use super::{RequestError, Sent, oauth2::Token};
use homing_domain::{
    event::ContentEncoding,
    id::DeliveryId,
    signature::{SignedContent, signature_header},
    subscription::{AuthToken, Authentication, Sender, Template},
};

const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
pub(super) const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACE_STATE: HeaderName = HeaderName::from_static("tracestate");
const HOMING_ATTEMPT: HeaderName = HeaderName::from_static("x-homing-attempt");
const HOMING_REPLAY: HeaderName = HeaderName::from_static("x-homing-replay");
const HOMING_TOPIC: HeaderName = HeaderName::from_static("x-homing-topic");

/// As many of homing's own headers as most requests have; one with all of them has the map grow.
const OWN_HEADERS: usize = 12;

pub(super) const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("homing/", env!("CARGO_PKG_VERSION")));

/// The content type of a body whose own one no header can carry: bytes. RFC 9110, 8.3.
const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");

const ANYTHING: HeaderValue = HeaderValue::from_static("*/*");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Builds the next attempt of a delivery as a request. The body is not copied, unless it is sent in
/// Workfront's form or by a template.
///
/// # Errors
///
/// [`RequestError::Header`] for a header that HTTP cannot carry, [`RequestError::Url`] for a URL
/// that it cannot, [`RequestError::Key`] for a target that is no URL, [`RequestError::Unfit`] for an
/// event that Workfront's form cannot hold.
pub(super) fn build(sent: &Sent<'_>) -> Result<Request<Full<Bytes>>, RequestError> {
    let Sent { delivery, subscription, now, .. } = *sent;
    let url = &subscription.spec.url;
    if let Some(key) = url.key() {
        return Err(RequestError::Key(key.to_owned()));
    }
    let uri = Uri::try_from(url.as_str()).map_err(RequestError::Url)?;
    let (mut headers, body) = content(sent)?;
    let signed = SignedContent { id: delivery.id(), sent: now, body: &body };
    if let Some(signatures) = signature_header(&subscription.spec.secrets, &signed) {
        headers.insert(WEBHOOK_SIGNATURE, value(&WEBHOOK_SIGNATURE, &signatures)?);
    }
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    Ok(request)
}

/// The headers, without the signature, and the body of the request.
///
/// # Errors
///
/// As [`build`].
pub(super) fn content(sent: &Sent<'_>) -> Result<(HeaderMap, Bytes), RequestError> {
    let Sent { delivery, subscription, now, .. } = *sent;
    let event = &delivery.event;
    let spec = &subscription.spec;
    let (content_type, encoding, body) = match (&spec.workfront, &spec.template) {
        (Some(form), _) => (JSON, None, form.message(delivery, now).map_err(RequestError::Unfit)?),
        (None, Some(template)) => (JSON, None, message(template, sent)),
        (None, None) => {
            (content_type(&event.content_type), event.content_encoding.as_ref(), event.body.clone())
        }
    };
    let mut headers = headers(sent)?;
    headers.insert(CONTENT_TYPE, content_type);
    if let Some(encoding) = encoding.map(ContentEncoding::as_str) {
        headers.insert(CONTENT_ENCODING, value(&CONTENT_ENCODING, encoding)?);
    }
    if body.is_empty() {
        // The client sends no length for an empty body, and many servers require one with every
        // POST (411). Source: RFC 9110, 8.6.
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    Ok((headers, body))
}

/// The event as a message for people.
fn message(template: &Template, sent: &Sent<'_>) -> Bytes {
    let Sent { delivery, subscription, now, .. } = *sent;
    let token = subscription.spec.auth_token.as_ref();
    let sender = Sender {
        name: subscription.spec.description.as_deref().unwrap_or_default(),
        token: token.filter(|_| template.receiver.has_key_in_body()).map(AuthToken::reveal),
        now,
    };
    template.message(&delivery.event, &sender)
}

/// Puts the subscription's own headers first, so that none of them replaces one of homing's.
fn headers(sent: &Sent<'_>) -> Result<HeaderMap, RequestError> {
    let Sent { delivery, subscription, now, .. } = *sent;
    let (event, spec) = (&delivery.event, &subscription.spec);
    let mut headers = HeaderMap::with_capacity(OWN_HEADERS.saturating_add(spec.headers.len()));
    for (name, text) in &spec.headers {
        let unfit = || RequestError::Header { name: name.clone() };
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unfit())?;
        // Often a credential: kept out of `Debug` and of HTTP/2's header compression.
        headers.insert(key, sensitive(text).ok_or_else(unfit)?);
    }

    let (id, mut text) = (delivery.id(), DeliveryId::BUFFER);
    headers.insert(USER_AGENT, AGENT);
    headers.entry(ACCEPT).or_insert(ANYTHING);
    headers.insert(WEBHOOK_ID, value(&WEBHOOK_ID, id.encode(&mut text))?);
    headers.insert(WEBHOOK_TIMESTAMP, now.seconds().into());
    if let Some(text) = authorization(sent) {
        let authorization = sensitive(&text)
            .ok_or_else(|| RequestError::Header { name: AUTHORIZATION.to_string() })?;
        headers.insert(AUTHORIZATION, authorization);
    }
    if let Some(trace) = &delivery.trace {
        headers.insert(TRACE_PARENT, value(&TRACE_PARENT, &trace.to_string())?);
        if let Some(state) = trace.state() {
            headers.insert(TRACE_STATE, value(&TRACE_STATE, state)?);
        }
    }
    headers.insert(HOMING_ATTEMPT, delivery.next_attempt().get().into());
    if let Some(replay) = delivery.progress.replay {
        headers.insert(HOMING_REPLAY, value(&HOMING_REPLAY, &replay.to_string())?);
    }
    headers.insert(HOMING_TOPIC, value(&HOMING_TOPIC, event.topic.as_str())?);
    Ok(headers)
}

/// The value of `Authorization`; `None`: none but that of the subscription's own headers.
fn authorization(sent: &Sent<'_>) -> Option<String> {
    let spec = &sent.subscription.spec;
    let bearer = |token: &AuthToken| format!("Bearer {}", token.reveal().trim_ascii());
    let fixed = || spec.authentication.as_ref().and_then(Authentication::authorization);
    let is_elsewhere = spec.template.as_ref().is_some_and(|it| it.receiver.has_key_in_body());
    let token = spec.auth_token.as_ref().filter(|_| !is_elsewhere);
    let lasting = token.map(bearer).or_else(fixed);
    lasting.or_else(|| sent.token.map(Token::authorization))
}

/// Bytes beyond ASCII stay unchanged, which HTTP calls opaque. Blanks at the ends are not part of a
/// value, and over HTTP/2 many servers close the whole connection because of them, with the
/// requests of others on it. Sources: RFC 9110, 5.5; RFC 9113, 8.2.1.
fn value(name: &HeaderName, text: &str) -> Result<HeaderValue, RequestError> {
    HeaderValue::from_bytes(text.trim_ascii().as_bytes())
        .map_err(|_| RequestError::Header { name: name.to_string() })
}

fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_bytes(text.trim_ascii().as_bytes()).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn content_type(text: &str) -> HeaderValue {
    match HeaderValue::from_str(text.trim_ascii()) {
        Ok(value) if !value.is_empty() && text.is_ascii() => value,
        Ok(_) | Err(_) => BYTES,
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use http_body_util::BodyExt;

    use super::*;
    use crate::endpoint::tests::samples::{delivery, event, subscription};
    use homing_domain::{delivery::Delivery, subscription::Subscription, time::UnixMillis};

    fn sent(
        delivery: &Delivery,
        subscription: &Subscription,
        now: UnixMillis,
    ) -> Result<Request<Full<Bytes>>, RequestError> {
        build(&Sent { delivery, subscription, now, token: None })
    }

    fn built(event_type: (&str, &str), changes: &serde_json::Value) -> Request<Full<Bytes>> {
        let subscription = subscription("https://example.com/hook?key=1", changes);
        let mut event = event();
        event.topic = homing_domain::topic::Topic::new(event_type.0).unwrap();
        event.content_type = event_type.1.to_owned();
        let now = UnixMillis::new(1_700_000_000_999);
        sent(&delivery(event, &subscription), &subscription, now).unwrap()
    }

    fn body(request: &Request<Full<Bytes>>) -> Bytes {
        let whole = request.body().clone().collect();
        whole.now_or_never().unwrap().unwrap().to_bytes()
    }

    fn texts(request: &Request<Full<Bytes>>) -> Vec<String> {
        let mut texts: Vec<_> = request
            .headers()
            .iter()
            .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
            .collect();
        texts.sort();
        texts
    }

    #[test]
    fn a_request_describes_its_content_and_its_sender() {
        let request = built(("order.paid", "application/json"), &serde_json::json!({}));
        assert_eq!(request.method(), Method::POST);
        assert_eq!(request.uri(), "https://example.com/hook?key=1");
        assert_eq!(body(&request), event().body);
        let version = env!("CARGO_PKG_VERSION");
        let text = texts(&request).join("\n").replace(version, "<version>");
        insta::assert_snapshot!(text, @"
        accept: */*
        content-type: application/json
        user-agent: homing/<version>
        webhook-id: b1adf592-7868-5e29-8147-96f73712972a
        webhook-timestamp: 1700000000
        x-homing-attempt: 3
        x-homing-topic: order.paid
        ");
    }

    #[test]
    fn the_subscriptions_headers_are_sent_and_kept_out_of_logs() {
        let request = built(
            ("größe.geändert", "application/cloudevents+json; charset=utf-8"),
            &serde_json::json!({
                "auth_token": "geheim-äöü",
                "headers": {"X-Team": "payroll"},
                "secrets": ["whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX", "whsec_AQECAwQFBgcICQoLDA0ODxAREhMUFRYX"],
            }),
        );
        let headers = texts(&request);
        for expected in [
            "authorization: Bearer geheim-äöü",
            "content-type: application/cloudevents+json; charset=utf-8",
            "x-homing-topic: größe.geändert",
            "x-team: payroll",
        ] {
            assert!(headers.contains(&expected.to_owned()), "{expected} in {headers:#?}");
        }
        let signatures = request.headers()[WEBHOOK_SIGNATURE].to_str().unwrap();
        assert_eq!(signatures.split(' ').filter(|text| text.starts_with("v1,")).count(), 2);
        let debug = format!("{:?}", request.headers());
        assert!(!debug.contains("geheim") && !debug.contains("payroll"), "{debug}");
    }

    #[test]
    fn basic_credentials_are_sent_and_kept_out_of_logs() {
        let changes = serde_json::json!({
            "authentication": {"basic": {"username": "Aladdin", "password": "open sesame"}},
        });
        let request = built(("order.paid", "application/json"), &changes);
        let expected = "authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==".to_owned();
        assert!(texts(&request).contains(&expected));
        let debug = format!("{:?}", request.headers());
        assert!(!debug.contains("QWxhZGRpb"), "{debug}");
    }

    #[test]
    fn in_workfronts_form_what_is_sent_is_signed() {
        let changes = serde_json::json!({
            "topics": ["TASK.UPDATE"],
            "workfront": {},
            "secrets": ["whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"],
        });
        let request = built(("TASK.UPDATE", "text/plain"), &changes);
        let body = body(&request);
        assert!(body.starts_with(br#"{"eventType":"UPDATE","subscriptionId":"01931f5a"#));
        assert_eq!(request.headers()[CONTENT_TYPE], "application/json");
        let webhook = standardwebhooks::Webhook::new("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX");
        let headers = request.headers();
        let signed =
            webhook.unwrap().sign(headers[WEBHOOK_ID].to_str().unwrap(), 1_700_000_000, &body);
        assert_eq!(headers[WEBHOOK_SIGNATURE], signed.unwrap());
    }

    #[test]
    fn by_a_template_a_message_is_sent_and_a_key_in_it_in_no_header() {
        let changes = |receiver: &str| serde_json::json!({"template": {"receiver": receiver}, "auth_token": "the-key-0123"});
        let request = built(("homing.ledger.hour", "text/plain"), &changes("pagerduty"));
        assert_eq!(request.headers()[CONTENT_TYPE], "application/json");
        assert!(!request.headers().contains_key(AUTHORIZATION));
        let message: serde_json::Value = serde_json::from_slice(&body(&request)).unwrap();
        assert_eq!(message["routing_key"], "the-key-0123");
        let request = built(("homing.ledger.hour", "text/plain"), &changes("slack"));
        assert_eq!(request.headers()[AUTHORIZATION], "Bearer the-key-0123");
        assert!(!String::from_utf8_lossy(&body(&request)).contains("the-key-0123"));
    }

    #[test]
    fn a_packed_body_is_sent_with_its_coding_and_workfronts_form_without() {
        let subscription = subscription("https://example.com/", &serde_json::json!({}));
        let mut event = event();
        event.content_encoding = ContentEncoding::new("gzip");
        let delivery = delivery(event.clone(), &subscription);
        let request = sent(&delivery, &subscription, UnixMillis::new(0)).unwrap();
        assert_eq!(request.headers()[CONTENT_ENCODING], "gzip");

        let form = serde_json::json!({"topics": ["TASK.UPDATE"], "workfront": {}});
        let subscription =
            crate::endpoint::tests::samples::subscription("https://a.example", &form);
        event.topic = homing_domain::topic::Topic::new("TASK.UPDATE").unwrap();
        let delivery = crate::endpoint::tests::samples::delivery(event, &subscription);
        let request = sent(&delivery, &subscription, UnixMillis::new(0)).unwrap();
        assert_eq!(request.headers().get(CONTENT_ENCODING), None);
    }

    #[test]
    fn an_empty_body_has_a_length() {
        let subscription = subscription("https://example.com/", &serde_json::json!({}));
        let mut event = event();
        event.body = Bytes::new();
        let delivery = delivery(event, &subscription);
        let request = sent(&delivery, &subscription, UnixMillis::new(0)).unwrap();
        assert_eq!(request.headers()[CONTENT_LENGTH], "0");
    }

    /// Goal: no request breaks the HTTP/2 connection of others. Method: blanks at every place that
    /// a client fills in.
    #[test]
    fn blanks_at_the_ends_of_values_are_not_sent() {
        let mut subscription = subscription("https://example.com/", &serde_json::json!({}));
        subscription.spec.headers.insert("x-team".into(), " payroll\t".into());
        subscription.spec.auth_token = Some(" geheim ".to_owned().try_into().unwrap());
        let mut event = event();
        event.content_type = "text/plain ".to_owned();
        let delivery = delivery(event, &subscription);
        let request = sent(&delivery, &subscription, UnixMillis::new(0)).unwrap();
        for value in request.headers().values() {
            assert_eq!(value.as_bytes(), value.as_bytes().trim_ascii(), "{value:?}");
        }
        assert_eq!(request.headers()["x-team"], "payroll");
    }

    #[test]
    fn a_content_type_that_no_header_can_carry_is_bytes() {
        for unfit in ["", "text/plain\r\nx-evil: 1", "text/größe", "\0"] {
            let request = built(("a", unfit), &serde_json::json!({}));
            assert_eq!(request.headers()[CONTENT_TYPE], BYTES, "{unfit:?}");
        }
    }

    #[test]
    fn a_subscription_cannot_replace_what_homing_sends() {
        let mut subscription = subscription("https://example.com/", &serde_json::json!({}));
        subscription.spec.headers.insert("webhook-id".into(), "forged".into());
        subscription.spec.headers.insert("User-Agent".into(), "forged".into());
        let delivery = delivery(event(), &subscription);

        let request = sent(&delivery, &subscription, UnixMillis::new(0)).unwrap();

        assert!(!texts(&request).join("\n").contains("forged"));
    }

    #[test]
    fn an_own_accept_header_is_sent() {
        let changes = serde_json::json!({"headers": {"accept": "application/json"}});
        let request = built(("a", "text/plain"), &changes);
        let sent: Vec<_> = request.headers().get_all(ACCEPT).iter().collect();
        assert_eq!(sent, ["application/json"]);
    }

    #[test]
    fn a_header_that_http_cannot_carry_is_named() {
        let mut subscription = subscription("https://example.com/", &serde_json::json!({}));
        subscription.spec.headers.insert("x-team".into(), "a\r\nb".into());
        let delivery = delivery(event(), &subscription);

        let error = sent(&delivery, &subscription, UnixMillis::new(0)).unwrap_err();

        insta::assert_snapshot!(error, @"header `x-team` cannot be sent: its name or value is not one");
    }
}
