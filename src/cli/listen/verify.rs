//! The check of a signature, as a receiver makes it.
//!
//! Source: Standard Webhooks specification 1.0, *Verifying webhook authenticity*.

use std::time::Duration;

use serde::Serialize;

use super::endpoint::Arrived;
use homing_domain::{
    signature::{SignedContent, SigningSecret, signature_header},
    time::UnixMillis,
};

/// A receiver refuses what was signed longer ago, or ahead.
const TOLERANCE: Duration = Duration::from_mins(5);

/// The result of the check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Signature {
    /// It is by the secret of the subscription, over this body.
    Valid,
    /// There is none.
    Missing,
    /// It is by another secret, or over something else.
    Wrong,
    /// It is older than five minutes, or ahead by as much.
    Late,
    /// There is no secret to check it by.
    NotChecked,
}

impl Signature {
    /// Checks the signature of a request.
    pub(super) fn of(arrived: &Arrived, secret: Option<&SigningSecret>) -> Self {
        let Some(secret) = secret else { return Self::NotChecked };
        let Some(header) = arrived.header("webhook-signature") else { return Self::Missing };
        let id = arrived.header("webhook-id").and_then(|id| id.parse().ok());
        let sent = arrived.header("webhook-timestamp").and_then(|sent| sent.parse::<i64>().ok());
        let (Some(id), Some(sent)) = (id, sent) else { return Self::Wrong };
        let sent = UnixMillis::new(sent.saturating_mul(1_000));
        let content = SignedContent { id, sent, body: &arrived.body };
        let expected = signature_header(std::slice::from_ref(secret), &content);
        let is_by_it = expected.is_some_and(|expected| header.split(' ').any(|it| it == expected));
        let apart = arrived.at.since(sent).max(sent.since(arrived.at));
        match (is_by_it, apart > TOLERANCE) {
            (false, _) => Self::Wrong,
            (true, true) => Self::Late,
            (true, false) => Self::Valid,
        }
    }

    /// In words.
    pub(super) fn report(self) -> &'static str {
        match self {
            Self::Valid => "signature valid",
            Self::Missing => "NOT SIGNED",
            Self::Wrong => "SIGNATURE WRONG",
            Self::Late => "signature valid, but more than 5 min from now",
            Self::NotChecked => "signature not checked",
        }
    }

    /// True if a receiver would take the request.
    pub(super) fn is_good(self) -> bool {
        matches!(self, Self::Valid | Self::NotChecked)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hyper::{HeaderMap, StatusCode};

    use super::*;

    const ID: &str = "4af58915-c050-5639-8c8e-8e62bb5a3d8e";

    fn arrived(headers: &[(&'static str, &str)], body: &'static [u8]) -> Arrived {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        Arrived {
            at: UnixMillis::new(1_700_000_000_000),
            method: "POST".to_owned(),
            path: "/".to_owned(),
            headers: map,
            body: Bytes::from_static(body),
            status: StatusCode::OK,
        }
    }

    /// Goal: what homing signs is found valid, and nothing else. Method: the specification's own
    /// library signs.
    #[test]
    fn a_signature_is_valid_for_its_body_its_secret_and_its_time() {
        let secret = SigningSecret::from_bytes(vec![7; 32]).unwrap();
        let other = SigningSecret::from_bytes(vec![8; 32]).unwrap();
        let signed = |sent: i64| {
            let sender = standardwebhooks::Webhook::new(&secret.reveal()).unwrap();
            sender.sign(ID, sent, b"{}").unwrap()
        };
        let check = |sent: i64, body, secret| {
            let (signature, sent) = (signed(sent), sent.to_string());
            let headers = [
                ("webhook-id", ID),
                ("webhook-timestamp", &sent),
                ("webhook-signature", &signature),
            ];
            Signature::of(&arrived(&headers, body), secret)
        };
        let now = 1_700_000_000;
        assert_eq!(check(now, b"{}", Some(&secret)), Signature::Valid);
        assert_eq!(check(now, b"{ }", Some(&secret)), Signature::Wrong);
        assert_eq!(check(now, b"{}", Some(&other)), Signature::Wrong);
        assert_eq!(check(now - 301, b"{}", Some(&secret)), Signature::Late);
        assert_eq!(check(now + 301, b"{}", Some(&secret)), Signature::Late);
        assert_eq!(check(now, b"{}", None), Signature::NotChecked);
        assert_eq!(Signature::of(&arrived(&[], b"{}"), Some(&secret)), Signature::Missing);
    }
}
