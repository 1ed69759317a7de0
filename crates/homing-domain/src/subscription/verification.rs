//! The consent of an endpoint, without which a subscription that asks for it sends nothing.

use std::{fmt, num::NonZeroU32, str::FromStr};

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::SubscriptionSpec;
use crate::{time::UnixMillis, url::EndpointUrl};

/// The way in which an endpoint is asked whether it wants to be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum VerificationMethod {
    /// `OPTIONS`; the answer allows the origin. Source: CloudEvents, *HTTP 1.1 Web Hooks for Event
    /// Delivery* 1.0.2, 4.
    Handshake,
    /// A POST with a random text, which the answer repeats.
    Challenge,
}

/// The text is not a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a way of verification is `handshake` or `challenge`")]
pub struct VerificationMethodError;

impl VerificationMethod {
    /// As in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Challenge => "challenge",
        }
    }
}

impl fmt::Display for VerificationMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for VerificationMethod {
    type Err = VerificationMethodError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::Handshake, Self::Challenge];
        all.into_iter().find(|method| method.as_str() == text).ok_or(VerificationMethodError)
    }
}

/// A subscription's verification, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// The way in which the endpoint is asked.
    pub method: VerificationMethod,
    /// The last consent, perhaps of another URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent: Option<Consent>,
}

/// The consent of one URL's endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consent {
    method: VerificationMethod,
    /// A digest of the URL.
    url: String,
    at: UnixMillis,
    /// Requests per minute that the endpoint allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    allowed_rate: Option<NonZeroU32>,
}

impl Consent {
    /// The consent of the endpoint at `url`, given at the instant `at` when it was asked by `method`.
    #[must_use]
    pub fn new(
        method: VerificationMethod,
        url: &EndpointUrl,
        at: UnixMillis,
        allowed_rate: Option<NonZeroU32>,
    ) -> Self {
        Self { method, url: digest(url), at, allowed_rate }
    }

    /// The instant at which it was given.
    #[must_use]
    pub fn at(&self) -> UnixMillis {
        self.at
    }

    /// Requests per minute that the endpoint allows; `None`: any number.
    #[must_use]
    pub fn allowed_rate(&self) -> Option<NonZeroU32> {
        self.allowed_rate
    }
}

impl Verification {
    /// One by this method, without a consent yet.
    #[must_use]
    pub fn by(method: VerificationMethod) -> Self {
        Self { method, consent: None }
    }

    /// The consent of the endpoint at `url`: one that was given in another way, or for another URL,
    /// does not count.
    #[must_use]
    pub fn consent_of(&self, url: &EndpointUrl) -> Option<&Consent> {
        let consent = self.consent.as_ref()?;
        self.is_of(consent, url).then_some(consent)
    }

    /// Keeps the consent of the endpoint at `url`; `false`: it was given in another way, for
    /// another URL, or before the one that is kept.
    pub fn keep(&mut self, consent: &Consent, url: &EndpointUrl) -> bool {
        let is_late = self.consent_of(url).is_some_and(|known| known.at > consent.at);
        let is_kept = self.is_of(consent, url) && !is_late;
        if is_kept {
            self.consent = Some(consent.clone());
        }
        is_kept
    }

    fn is_of(&self, consent: &Consent, url: &EndpointUrl) -> bool {
        consent.method == self.method && consent.url == digest(url)
    }
}

impl SubscriptionSpec {
    /// True if the endpoint has to consent before anything is sent, and has not.
    #[must_use]
    pub fn is_unverified(&self) -> bool {
        let verification = self.verification.as_ref();
        verification.is_some_and(|verification| verification.consent_of(&self.url).is_none())
    }

    /// Requests per minute that the endpoint allowed when it consented.
    #[must_use]
    pub fn allowed_rate(&self) -> Option<NonZeroU32> {
        self.verification.as_ref()?.consent_of(&self.url)?.allowed_rate()
    }
}

/// A URL may be as long as it likes; this is not.
fn digest(url: &EndpointUrl) -> String {
    STANDARD_NO_PAD.encode(Sha256::digest(url.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> EndpointUrl {
        text.parse().unwrap()
    }

    #[test]
    fn a_consent_holds_for_one_url_and_one_way_of_asking() {
        let (here, there) = (url("https://a.example/x?k=1"), url("https://a.example/x?k=2"));
        let mut verification = Verification::by(VerificationMethod::Handshake);
        assert_eq!(verification.consent_of(&here), None);
        let consent = Consent::new(VerificationMethod::Handshake, &here, UnixMillis::new(7), None);
        verification.consent = Some(consent.clone());
        assert_eq!(verification.consent_of(&here), Some(&consent));
        assert_eq!(verification.consent_of(&there), None);
        verification.method = VerificationMethod::Challenge;
        assert_eq!(verification.consent_of(&here), None);
    }

    /// Goal: an answer that comes late takes nothing from what was verified meanwhile.
    #[test]
    fn a_consent_is_kept_only_for_what_is_asked_now() {
        let (here, there) = (url("https://a.example/"), url("https://b.example/"));
        let of =
            |url, at| Consent::new(VerificationMethod::Handshake, url, UnixMillis::new(at), None);
        let mut verification = Verification::by(VerificationMethod::Handshake);
        assert!(verification.keep(&of(&here, 7), &here));
        assert!(!verification.keep(&of(&there, 9), &here), "of another URL");
        assert!(!verification.keep(&of(&here, 6), &here), "of before");
        assert_eq!(verification.consent, Some(of(&here, 7)));
        assert!(verification.keep(&of(&here, 8), &here), "renewed");
        assert!(verification.keep(&of(&there, 1), &there), "the first one of this URL");
        verification.method = VerificationMethod::Challenge;
        assert!(!verification.keep(&of(&there, 9), &there), "asked in another way");
    }

    #[test]
    fn what_is_stored_is_read_again() {
        let rate = NonZeroU32::new(120);
        let consent = Consent::new(
            VerificationMethod::Challenge,
            &url("https://a/"),
            UnixMillis::new(7),
            rate,
        );
        let stored = Verification { method: VerificationMethod::Challenge, consent: Some(consent) };
        let text = serde_json::to_string(&stored).unwrap();
        insta::assert_snapshot!(text, @r#"{"method":"challenge","consent":{"method":"challenge","url":"q5hkBE/CdBkIzCV+jMsGOYi7UQ6XyTJMZHCgXTtzTGU","at":7,"allowed_rate":120}}"#);
        assert_eq!(serde_json::from_str::<Verification>(&text).unwrap(), stored);
        let none = serde_json::from_str::<Verification>(r#"{"method":"handshake"}"#).unwrap();
        assert_eq!(none, Verification::by(VerificationMethod::Handshake));
    }
}
