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
    let Content { media_type, encoding, attributes, body } = in_form(sent)?;
    let mut headers = headers(sent)?;
    for (name, text) in attributes {
        let unfit = || RequestError::Header { name: name.clone() };
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unfit())?;
        headers.insert(key, HeaderValue::from_str(&text).map_err(|_| unfit())?);
    }
    if let Some(media_type) = media_type {
        headers.insert(CONTENT_TYPE, media_type);
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
    let is_elsewhere = spec.template.as_ref().is_some_and(|it| it.receiver.has_key_in_body());
    let token = spec.auth_token.as_ref().filter(|_| !is_elsewhere);
    let lasting = token.map(bearer).or_else(fixed);
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
mod tests;
