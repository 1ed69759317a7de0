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

use super::{
    Purpose, RequestError, Sent,
    consent::handshake,
    form::{Content, in_form},
    oauth2::Token,
};
use homing_domain::{
    event::ContentEncoding,
    id::DeliveryId,
    signature::{SignedContent, signature_header},
    subscription::{AuthToken, Authentication},
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

const ANYTHING: HeaderValue = HeaderValue::from_static("*/*");

/// Builds the next attempt of a delivery as a request. The body is not copied, unless it is sent in
/// another form.
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
    if let Purpose::Handshake(origin) = sent.purpose {
        return handshake(sent, uri, origin);
    }
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
    let Content { content_type, encoding, attributes, body } = in_form(sent)?;
    let mut headers = headers(sent)?;
    for (name, text) in attributes {
        let unfit = || RequestError::Header { name: name.clone() };
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unfit())?;
        headers.insert(key, HeaderValue::from_str(&text).map_err(|_| unfit())?);
    }
    if let Some(content_type) = content_type {
        headers.insert(CONTENT_TYPE, content_type);
    }
    if let Some(encoding) = encoding.as_ref().map(ContentEncoding::as_str) {
        headers.insert(CONTENT_ENCODING, value(&CONTENT_ENCODING, encoding)?);
    }
    if body.is_empty() {
        // The client sends no length for an empty body, and many servers require one with every
        // POST (411). Source: RFC 9110, 8.6.
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    Ok((headers, body))
}

/// The headers of every request: the subscription's own, so that none of them replaces one of
/// homing's, and those that say who is calling.
pub(super) fn callers(sent: &Sent<'_>) -> Result<HeaderMap, RequestError> {
    let spec = &sent.subscription.spec;
    let mut headers = HeaderMap::with_capacity(OWN_HEADERS.saturating_add(spec.headers.len()));
    for (name, text) in &spec.headers {
        let unfit = || RequestError::Header { name: name.clone() };
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unfit())?;
        // Often a credential: kept out of `Debug` and of HTTP/2's header compression.
        headers.insert(key, sensitive(text).ok_or_else(unfit)?);
    }

    headers.insert(USER_AGENT, AGENT);
    headers.entry(ACCEPT).or_insert(ANYTHING);
    if let Some(text) = authorization(sent) {
        let authorization = sensitive(&text)
            .ok_or_else(|| RequestError::Header { name: AUTHORIZATION.to_string() })?;
        headers.insert(AUTHORIZATION, authorization);
    }
    Ok(headers)
}

/// The headers of a delivery.
fn headers(sent: &Sent<'_>) -> Result<HeaderMap, RequestError> {
    let Sent { delivery, now, .. } = *sent;
    let event = &delivery.event;
    let mut headers = callers(sent)?;
    let (id, mut text) = (delivery.id(), DeliveryId::BUFFER);
    headers.insert(WEBHOOK_ID, value(&WEBHOOK_ID, id.encode(&mut text))?);
    headers.insert(WEBHOOK_TIMESTAMP, now.seconds().into());
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
    let lasting = spec.auth_token.as_ref().map(bearer).or_else(fixed);
    lasting.or_else(|| sent.token.map(Token::authorization))
}

/// Bytes beyond ASCII stay unchanged, which HTTP calls opaque. Blanks at the ends are not part of a
/// value, and over HTTP/2 many servers close the whole connection because of them, with the
/// requests of others on it. Sources: RFC 9110, 5.5; RFC 9113, 8.2.1.
pub(super) fn value(name: &HeaderName, text: &str) -> Result<HeaderValue, RequestError> {
    HeaderValue::from_bytes(text.trim_ascii().as_bytes())
        .map_err(|_| RequestError::Header { name: name.to_string() })
}

fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_bytes(text.trim_ascii().as_bytes()).ok()?;
    value.set_sensitive(true);
    Some(value)
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
        let (source, purpose) = ("/shop", Purpose::Delivery);
        build(&Sent { delivery, subscription, now, token: None, source, purpose })
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
    fn a_cloud_event_is_signed_as_it_is_sent() {
        let built = |format: &str| {
            let changes = serde_json::json!({
                "format": format, "secrets": ["whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"],
            });
            built(("order.paid", "application/json"), &changes)
        };
        for (format, content_type, attribute) in [
            ("cloudevents-structured", "application/cloudevents+json", None),
            ("cloudevents-binary", "application/json", Some("/shop")),
        ] {
            let request = built(format);
            let (headers, body) = (request.headers(), body(&request));
            assert_eq!(headers[CONTENT_TYPE], content_type);
            let source = headers.get("ce-source").map(|value| value.to_str().unwrap());
            assert_eq!(source, attribute, "{format}");
            assert_eq!(body == event().body, attribute.is_some());
            let webhook = standardwebhooks::Webhook::new("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX");
            let id = headers[WEBHOOK_ID].to_str().unwrap();
            let signed = webhook.unwrap().sign(id, 1_700_000_000, &body);
            assert_eq!(headers[WEBHOOK_SIGNATURE], signed.unwrap(), "{format}");
        }
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
            assert_eq!(request.headers()[CONTENT_TYPE], "application/octet-stream", "{unfit:?}");
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
