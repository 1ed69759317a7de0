//! Standard Webhooks signatures: proof for the receiver that homing sent this event.
//!
//! Source: Standard Webhooks specification 1.0, *Verifying webhook authenticity*: the signed
//! content is `<webhook-id>.<webhook-timestamp>.<body>`, the header a list of `v1,<base64>`
//! separated by spaces, one for every active secret.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::{id::DeliveryId, time::UnixMillis};

/// A secret shared with a receiver; `whsec_` and the base64 of 24 to 64 bytes.
///
/// Shown by `Debug` as its prefix only.
#[derive(Clone)]
pub struct SigningSecret {
    key: Vec<u8>,
    /// Has read the key: two of the four and more blocks that signing hashes.
    keyed: Hmac<Sha256>,
    expires: Option<UnixMillis>,
}

impl PartialEq for SigningSecret {
    fn eq(&self, other: &Self) -> bool {
        self.is_same(other) && self.expires == other.expires
    }
}

impl Eq for SigningSecret {}

/// The text is not a signing secret. Never repeats the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigningSecretError {
    /// The prefix is missing.
    #[error("a signing secret begins with `whsec_`")]
    Prefix,
    /// The part after the prefix is not base64.
    #[error("a signing secret is `whsec_` and base64")]
    Base64,
    /// Too weak or too long.
    #[error("a signing secret has 24 to 64 bytes after decoding, not {bytes}")]
    Length {
        /// After decoding.
        bytes: usize,
    },
}

impl SigningSecret {
    const PREFIX: &str = "whsec_";

    /// A secret from its bytes.
    ///
    /// # Errors
    ///
    /// [`SigningSecretError::Length`] outside of 24 to 64 bytes.
    pub fn from_bytes(key: Vec<u8>) -> Result<Self, SigningSecretError> {
        let unfit = || SigningSecretError::Length { bytes: key.len() };
        if !(24..=64).contains(&key.len()) {
            return Err(unfit());
        }
        let keyed = Hmac::new_from_slice(&key).map_err(|_| unfit())?;
        Ok(Self { key, keyed, expires: None })
    }

    /// The text form, `whsec_…`. A secret: shown to its creator, once.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("{}{}", Self::PREFIX, STANDARD.encode(&self.key))
    }

    /// The same secret with an expiry, from which on it no longer signs; `None`: it never expires.
    #[must_use]
    pub fn with_expiry(self, expires: Option<UnixMillis>) -> Self {
        Self { expires, ..self }
    }

    /// The time of its expiry.
    #[must_use]
    pub fn expires(&self) -> Option<UnixMillis> {
        self.expires
    }

    /// True if it signs at `now`.
    #[must_use]
    pub fn signs_at(&self, now: UnixMillis) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }

    /// True if both are the same secret, whatever their expiry.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.key == other.key
    }

    /// The HMAC-SHA256 of the signed content, whose text up to the body is `head`.
    fn sign(&self, head: &[u8], body: &[u8]) -> impl AsRef<[u8]> {
        let mut mac = self.keyed.clone();
        mac.update(head);
        mac.update(body);
        mac.finalize().into_bytes()
    }
}

/// The content to sign.
#[derive(Clone, Copy, Debug)]
pub struct SignedContent<'a> {
    /// `webhook-id`.
    pub id: DeliveryId,
    /// `webhook-timestamp`.
    pub sent: UnixMillis,
    /// The body as sent.
    pub body: &'a [u8],
}

/// The value of `webhook-signature`: `v1,` and the base64 of a signature for each secret that has
/// not expired when the request is sent. `None` without any.
#[must_use]
pub fn signature_header(secrets: &[SigningSecret], content: &SignedContent<'_>) -> Option<String> {
    let SignedContent { id, sent, body } = *content;
    let mut text = DeliveryId::BUFFER;
    let head = format!("{}.{}.", id.encode(&mut text), sent.seconds());
    let mut header = String::new();
    for secret in secrets.iter().filter(|secret| secret.signs_at(sent)) {
        header.push_str(if header.is_empty() { "v1," } else { " v1," });
        STANDARD.encode_string(secret.sign(head.as_bytes(), body), &mut header);
    }
    (!header.is_empty()).then_some(header)
}

impl TryFrom<String> for SigningSecret {
    type Error = SigningSecretError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let encoded = text.strip_prefix(Self::PREFIX).ok_or(SigningSecretError::Prefix)?;
        let key = STANDARD.decode(encoded).map_err(|_| SigningSecretError::Base64)?;
        Self::from_bytes(key)
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("whsec_****")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::EventId;

    fn id() -> DeliveryId {
        let subscription = "01931f5a-9c4e-7000-8000-000000000001".parse().unwrap();
        DeliveryId::of(&EventId::new("e1").unwrap(), subscription)
    }

    /// Goal: receivers can verify. Method: the specification's own library is the receiver, and
    /// either of two secrets is enough.
    #[test]
    fn the_official_library_accepts_the_signature_of_either_secret() {
        let body = br#"{"hello": "world"}"#;
        let sent = UnixMillis::new(1_700_000_000_123);
        let secrets =
            [SigningSecret::from_bytes(vec![7; 32]), SigningSecret::from_bytes(vec![8; 24])]
                .map(Result::unwrap);

        let content = SignedContent { id: id(), sent, body };
        let header = signature_header(&secrets, &content).unwrap();

        for secret in &secrets {
            let receiver = standardwebhooks::Webhook::new(&secret.reveal()).unwrap();
            let expected = receiver.sign(&id().to_string(), sent.seconds(), body).unwrap();
            assert!(header.split(' ').any(|signature| signature == expected));
        }
    }

    #[test]
    fn a_secret_is_read_as_it_is_revealed_and_never_printed() {
        let secret = SigningSecret::from_bytes(vec![1; 24]).unwrap();
        assert_eq!(SigningSecret::try_from(secret.reveal()), Ok(secret.clone()));
        assert_eq!(format!("{secret:?}"), "whsec_****");
    }

    #[test]
    fn an_expired_secret_does_not_sign() {
        let sent = UnixMillis::new(1_000);
        let secret = |byte, expires: Option<i64>| {
            let secret = SigningSecret::from_bytes(vec![byte; 24]).unwrap();
            secret.with_expiry(expires.map(UnixMillis::new))
        };
        let content = SignedContent { id: id(), sent, body: b"{}" };
        let header = |secrets: &[SigningSecret]| signature_header(secrets, &content);
        let newest = secret(1, None);
        let alone = header(std::slice::from_ref(&newest));
        assert_eq!(header(&[newest.clone(), secret(2, Some(1_000))]), alone);
        assert_ne!(header(&[newest, secret(2, Some(1_001))]), alone);
        assert_eq!(header(&[secret(2, Some(1_000))]), None);
    }

    #[test]
    fn weak_or_misspelt_secrets_are_refused() {
        let read = |text: &str| SigningSecret::try_from(text.to_owned()).unwrap_err();
        assert_eq!(read("secret"), SigningSecretError::Prefix);
        assert_eq!(read("whsec_***"), SigningSecretError::Base64);
        assert_eq!(read("whsec_AAAA"), SigningSecretError::Length { bytes: 3 });
    }
}
