//! The payload of an attempt, for the attempt log: without secrets, and bounded.

use bytes::Bytes;
use hyper::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderValue};
use url::Url;

use super::{
    Sent, request,
    secrets::{Secrets, is_secret, without_query},
};
use homing_domain::payload::{MASK, Part, Payload};

/// Bytes of the headers of a request or an answer that are kept.
const MAX_HEADER_BYTES: usize = 16 * 1_024;
/// The part of an answer that was read, without the secrets that it repeats.
pub(super) struct AnswerRead<'a> {
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a Bytes,
    /// It may go on.
    pub(super) is_cut: bool,
}

/// The attempts whose payloads are kept, and the extent of these. The default: none.
#[derive(Clone, Copy, Debug, Default)]
pub struct PayloadRule {
    /// Attempts that failed.
    pub failed: bool,
    /// Of a hundred attempts that succeeded, so many.
    pub accepted_percent: u8,
    /// At most so many bytes of each body.
    pub max_body_bytes: usize,
}

impl PayloadRule {
    /// Decides about an attempt.
    pub(super) fn keeps(&self, is_accepted: bool) -> bool {
        if !is_accepted {
            return self.failed;
        }
        match self.accepted_percent {
            0 => false,
            percent => percent >= 100 || fastrand::u8(..100) < percent,
        }
    }

    /// The payload of an attempt that sent `sent`, and of its answer, if there is one.
    pub(super) fn payload(
        &self,
        sent: &Sent<'_>,
        secrets: &Secrets,
        answer: Option<AnswerRead<'_>>,
    ) -> Option<Payload> {
        let (mut request, body) = request::content(sent).ok()?;
        if !sent.subscription.spec.secrets.is_empty() {
            request.insert(request::WEBHOOK_SIGNATURE, HeaderValue::from_static(MASK));
        }
        if let Some(host) = host(sent.subscription.spec.url.url()) {
            request.insert(HOST, host);
        }
        request.insert(CONTENT_LENGTH, body.len().into());
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        // A message may contain the key of its receiver.
        let body = match sent.subscription.spec.template {
            Some(_) => secrets.masked(&body, false).into(),
            None => body,
        };
        let request = self.part(&request, &body, text);
        let response = answer.map(|answer| {
            let text = |value: &HeaderValue| shown(secrets.masked_text(value.as_bytes()));
            let mut part = self.part(answer.headers, answer.body, text);
            part.cut |= answer.is_cut;
            part
        });
        Some(Payload { request, response })
    }

    /// Headers and body, bounded; `text` is what is shown of a header that is not a secret.
    fn part(
        &self,
        headers: &HeaderMap,
        body: &Bytes,
        text: impl Fn(&HeaderValue) -> String,
    ) -> Part {
        let (mut kept, mut bytes, mut left_out) = (Vec::with_capacity(headers.len()), 0_usize, 0);
        for (name, value) in headers {
            let is_secret = value.is_sensitive() || is_secret(name.as_str());
            let value = if is_secret { MASK.to_owned() } else { text(value) };
            bytes = bytes.saturating_add(name.as_str().len()).saturating_add(value.len());
            if bytes > MAX_HEADER_BYTES {
                left_out = u32::saturating_add(left_out, 1);
            } else {
                kept.push((name.as_str().to_owned(), value));
            }
        }
        // A part of a buffer would keep the whole of it in memory.
        let beginning = body.get(..self.max_body_bytes).map(Bytes::copy_from_slice);
        let cut = beginning.as_ref().is_some_and(|beginning| beginning.len() < body.len());
        let body = beginning.unwrap_or_else(|| body.clone());
        Part { headers: kept, headers_left_out: left_out, body, cut }
    }
}

/// The part of an answer's header that is shown: of addresses, no query.
fn shown(value: String) -> String {
    let is_address = value.contains("//") || value.starts_with(['/', '<', '?']);
    if is_address { without_query(&value) } else { value }
}

/// The host that a request to `url` names.
fn host(url: &Url) -> Option<HeaderValue> {
    let host = url.host_str()?;
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    HeaderValue::try_from(format!("{host}{port}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::Purpose;
    use crate::endpoint::tests::samples::{delivery, event, subscription};
    use homing_domain::time::UnixMillis;

    const RULE: PayloadRule = PayloadRule { failed: true, accepted_percent: 0, max_body_bytes: 8 };

    #[test]
    fn secrets_are_masked_on_both_sides_and_what_is_too_much_is_left_out() {
        let changes = serde_json::json!({
            "auth_token": "bearer-secret",
            "headers": {"X-Key": "header-secret"},
            "secrets": ["whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"],
        });
        let subscription = subscription("https://example.com:8443/hook", &changes);
        let delivery = delivery(event(), &subscription);
        let event_body = delivery.event.body.clone();
        let now = UnixMillis::new(1_700_000_000_999);
        let sent = Sent {
            delivery: &delivery,
            subscription: &subscription,
            now,
            token: None,
            source: "urn:homing",
            purpose: Purpose::Delivery,
        };
        let mut headers = HeaderMap::new();
        headers.insert("x-echo", HeaderValue::from_static("Bearer bearer-secret!"));
        headers.insert("set-cookie", HeaderValue::from_static("session=1"));
        headers.insert("location", HeaderValue::from_static("https://u:p@a.example/b?session=1"));
        headers.insert("x-session-token", HeaderValue::from_static("1"));
        let payload = |headers: &HeaderMap, body: &'static [u8], is_cut| {
            let body = Bytes::from_static(body);
            let answer = AnswerRead { headers, body: &body, is_cut };
            RULE.payload(&sent, &Secrets::of(&subscription, None), Some(answer)).unwrap()
        };
        let kept = |headers: &HeaderMap| payload(headers, b"0123", true).response.unwrap();
        assert!(kept(&headers).cut, "it may go on where it was read");
        let payload = payload(&headers, b"0123456789", false);
        let mut lines: Vec<_> = payload
            .request
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        lines.sort();
        let lines = lines.join("\n").replace(env!("CARGO_PKG_VERSION"), "<version>");
        insta::assert_snapshot!(lines, @"
        accept: */*
        authorization: ****
        content-length: 13
        content-type: application/json
        host: example.com:8443
        user-agent: homing/<version>
        webhook-id: b1adf592-7868-5e29-8147-96f73712972a
        webhook-signature: ****
        webhook-timestamp: 1700000000
        x-homing-attempt: 3
        x-homing-topic: order.paid
        x-key: ****
        ");
        assert!(payload.request.cut);
        assert_eq!(payload.request.body, event().body.slice(..8));
        assert!(
            !event_body.as_ptr_range().contains(&payload.request.body.as_ptr()),
            "it is a copy"
        );
        let response = payload.response.unwrap();
        assert_eq!((response.body.as_ref(), response.cut), (b"01234567".as_slice(), true));
        let named = |name: &str| response.headers.iter().find(|(known, _)| known == name).unwrap();
        assert_eq!(named("x-echo").1, "Bearer ****!");
        assert_eq!(named("set-cookie").1, MASK);
        assert_eq!(named("x-session-token").1, MASK);
        assert_eq!(named("location").1, "https://a.example/b?…");

        let large = HeaderValue::from_str(&"x".repeat(MAX_HEADER_BYTES)).unwrap();
        headers.insert("x-large", large);
        assert_eq!(kept(&headers).headers_left_out, 1);
    }

    #[test]
    fn a_share_of_what_succeeds_is_kept() {
        let kept = |percent| {
            let rule = PayloadRule { accepted_percent: percent, ..RULE };
            (0..1_000).filter(|_| rule.keeps(true)).count()
        };
        assert_eq!((kept(0), kept(100)), (0, 1_000));
        assert!((300..700).contains(&kept(50)), "{}", kept(50));
        assert!(RULE.keeps(false) && !PayloadRule::default().keeps(false));
    }
}
