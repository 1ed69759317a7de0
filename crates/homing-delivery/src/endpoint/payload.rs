//! The payload of an attempt, for the attempt log: without secrets, and bounded.

use bytes::Bytes;
use hyper::header::{
    AUTHORIZATION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, SET_COOKIE,
};
use url::Url;

use super::{Attempted, Sent, request};
use homing_domain::{
    payload::{MASK, Part, Payload},
    subscription::{AuthToken, Subscription},
};

/// Bytes of the headers of a request or an answer that are kept.
const MAX_HEADER_BYTES: usize = 16 * 1_024;
/// A shorter secret that an endpoint repeats is not masked: it would be found everywhere.
const MIN_SECRET_BYTES: usize = 4;

/// Headers whose values are secrets, besides those that are marked as sensitive.
const SECRET: [HeaderName; 3] = [AUTHORIZATION, SET_COOKIE, request::WEBHOOK_SIGNATURE];

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

    /// The payload of `attempted`, which was answered with `headers`.
    pub(super) fn payload(
        &self,
        sent: &Sent<'_>,
        attempted: &Attempted,
        headers: Option<&HeaderMap>,
    ) -> Option<Payload> {
        let (mut request, body) =
            request::content(sent.delivery, sent.subscription, sent.now).ok()?;
        if let Some(host) = host(sent.subscription.spec.url.url()) {
            request.insert(HOST, host);
        }
        request.insert(CONTENT_LENGTH, body.len().into());
        let secrets = secrets(sent.subscription);
        let response = headers.map(|headers| self.part(headers, &attempted.response, &secrets));
        Some(Payload { request: self.part(&request, &body, &[]), response })
    }

    fn part(&self, headers: &HeaderMap, body: &Bytes, secrets: &[&[u8]]) -> Part {
        let (mut kept, mut bytes, mut left_out) = (Vec::with_capacity(headers.len()), 0_usize, 0);
        for (name, value) in headers {
            let is_secret = value.is_sensitive() || SECRET.contains(name);
            let value = if is_secret {
                MASK.to_owned()
            } else {
                String::from_utf8_lossy(&masked(value.as_bytes().to_vec(), secrets)).into_owned()
            };
            bytes = bytes.saturating_add(name.as_str().len()).saturating_add(value.len());
            if bytes > MAX_HEADER_BYTES {
                left_out = u32::saturating_add(left_out, 1);
            } else {
                kept.push((name.as_str().to_owned(), value));
            }
        }
        let cut = body.len() > self.max_body_bytes;
        let body = body.slice(..body.len().min(self.max_body_bytes));
        Part { headers: kept, headers_left_out: left_out, body, cut }
    }
}

/// The host that a request to `url` names.
fn host(url: &Url) -> Option<HeaderValue> {
    let host = url.host_str()?;
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    HeaderValue::try_from(format!("{host}{port}")).ok()
}

/// The secrets that a request to `subscription` carries.
fn secrets(subscription: &Subscription) -> Vec<&[u8]> {
    let spec = &subscription.spec;
    let token = spec.auth_token.iter().map(AuthToken::reveal);
    let texts = token.chain(spec.headers.values().map(String::as_str));
    let secrets = texts.map(|text| text.trim_ascii().as_bytes());
    secrets.filter(|secret| secret.len() >= MIN_SECRET_BYTES).collect()
}

/// Masks the secrets of `subscription` that its endpoint repeats.
pub(super) fn without_secrets(read: Vec<u8>, subscription: &Subscription) -> Vec<u8> {
    if read.len() < MIN_SECRET_BYTES {
        return read;
    }
    masked(read, &secrets(subscription))
}

fn masked(mut text: Vec<u8>, secrets: &[&[u8]]) -> Vec<u8> {
    for secret in secrets {
        let mut from = 0;
        let found = |text: &[u8], from: usize| {
            let rest = text.get(from..).unwrap_or_default();
            let at = rest.windows(secret.len()).position(|part| part == *secret)?;
            from.checked_add(at)
        };
        while let Some(at) = found(&text, from) {
            text.splice(at..at.saturating_add(secret.len()), MASK.bytes());
            from = at.saturating_add(MASK.len());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::tests::samples::{delivery, event, subscription};
    use homing_domain::{outcome::Outcome, time::UnixMillis};

    const RULE: PayloadRule = PayloadRule { failed: true, accepted_percent: 0, max_body_bytes: 8 };

    fn attempted(response: &'static [u8]) -> Attempted {
        let outcome = Outcome::Refused { status: 503, retry_after: None };
        let response = Bytes::from_static(response);
        Attempted { outcome, status: Some(503), response, cause: None, payload: None }
    }

    #[test]
    fn secrets_are_masked_on_both_sides_and_what_is_too_much_is_left_out() {
        let changes = serde_json::json!({
            "auth_token": "bearer-secret",
            "headers": {"X-Key": "header-secret"},
            "secrets": ["whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"],
        });
        let subscription = subscription("https://example.com:8443/hook", &changes);
        let delivery = delivery(event(), &subscription);
        let now = UnixMillis::new(1_700_000_000_999);
        let sent = Sent { delivery: &delivery, subscription: &subscription, now };
        let mut headers = HeaderMap::new();
        headers.insert("x-echo", HeaderValue::from_static("Bearer bearer-secret!"));
        headers.insert("set-cookie", HeaderValue::from_static("session=1"));
        let payload = RULE.payload(&sent, &attempted(b"0123456789"), Some(&headers)).unwrap();
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
        let response = payload.response.unwrap();
        assert_eq!((response.body.as_ref(), response.cut), (b"01234567".as_slice(), true));
        let named = |name: &str| response.headers.iter().find(|(known, _)| known == name).unwrap();
        assert_eq!(named("x-echo").1, "Bearer ****!");
        assert_eq!(named("set-cookie").1, MASK);

        let large = HeaderValue::from_str(&"x".repeat(MAX_HEADER_BYTES)).unwrap();
        headers.insert("x-large", large);
        let response = RULE.payload(&sent, &attempted(b""), Some(&headers)).unwrap().response;
        assert_eq!(response.unwrap().headers_left_out, 1);
    }

    #[test]
    fn a_secret_that_is_repeated_is_masked_wherever_it_is() {
        let secrets = [b"secret".as_slice(), b"***".as_slice()];
        assert_eq!(masked(b"a secret, secretsecret".to_vec(), &secrets[..1]), b"a ****, ********");
        assert_eq!(masked(b"***".to_vec(), &secrets), b"****");
        assert_eq!(masked(b"secre".to_vec(), &secrets), b"secre");
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
