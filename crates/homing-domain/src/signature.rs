//! Standard Webhooks signatures: proof for the receiver that homing sent this event.
//!
//! Source: Standard Webhooks specification 1.0, *Verifying webhook authenticity*: the signed
//! content is `<webhook-id>.<webhook-timestamp>.<body>`, the header a list of `v1,<base64>` and
//! `v1a,<base64>` separated by spaces, one for every active secret.

use std::{fmt, str::FromStr, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::{id::DeliveryId, time::UnixMillis};

/// A signature scheme of Standard Webhooks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SignatureScheme {
    /// HMAC-SHA256 with a secret that homing and the receiver share, `whsec_…`.
    #[default]
    V1,
    /// Ed25519 with a key pair: the receiver knows the public key, `whpk_…`, and cannot sign.
    V1a,
}

/// The text names no signature scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`v1` (HMAC-SHA256, a shared secret) or `v1a` (Ed25519, a key pair)")]
pub struct SignatureSchemeError;

impl FromStr for SignatureScheme {
    type Err = SignatureSchemeError;

    fn from_str(text: &str) -> Result<Self, SignatureSchemeError> {
        match text {
            "v1" => Ok(Self::V1),
            "v1a" => Ok(Self::V1a),
            _ => Err(SignatureSchemeError),
        }
    }
}

/// A secret that signs: of the scheme `v1`, shared with a receiver, `whsec_` and the base64 of 24
/// to 64 bytes; or of `v1a`, the secret half of a key pair, `whsk_` and the base64 of its 32 bytes,
/// followed by the 32 bytes of the public key or not.
///
/// Shown by `Debug` as its prefix only.
#[derive(Clone)]
pub struct SigningSecret {
    key: Vec<u8>,
    signer: Signer,
    expires: Option<UnixMillis>,
}

/// The key as it signs.
#[derive(Clone)]
enum Signer {
    /// Has read the key: two of the four and more blocks that signing hashes.
    V1(Hmac<Sha256>),
    V1a(Arc<Ed25519KeyPair>),
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
    #[error("a signing secret begins with `whsec_` (v1) or `whsk_` (v1a)")]
    Prefix,
    /// The public half of a key pair.
    #[error("`whpk_` is the public key, which cannot sign; give the secret key, `whsk_…`")]
    Public,
    /// The part after the prefix is not base64.
    #[error("a signing secret is `whsec_` or `whsk_` and base64")]
    Base64,
    /// No key of Ed25519.
    #[error("a secret key has 32 bytes after decoding, or 64 with its public key, not {bytes}")]
    KeyLength {
        /// After decoding.
        bytes: usize,
    },
    /// The public key of another secret key.
    #[error("the second half of the secret key is not its public key")]
    KeyPair,
    /// Too weak or too long.
    #[error("a signing secret has 24 to 64 bytes after decoding, not {bytes}")]
    Length {
        /// After decoding.
        bytes: usize,
    },
}

/// The length of a secret key of Ed25519, and of a public one. Source: RFC 8032, 5.1.5.
const ED25519_BYTES: usize = 32;

impl SigningSecret {
    const SHARED: &str = "whsec_";
    const SECRET_KEY: &str = "whsk_";
    const PUBLIC_KEY: &str = "whpk_";

    /// A secret of `scheme` from 32 random bytes.
    ///
    /// # Errors
    ///
    /// [`SigningSecretError`]: not for such bytes.
    pub fn new(scheme: SignatureScheme, random: [u8; 32]) -> Result<Self, SigningSecretError> {
        match scheme {
            SignatureScheme::V1 => Self::from_bytes(random.to_vec()),
            SignatureScheme::V1a => Self::from_secret_key(&random),
        }
    }

    /// A secret of the scheme `v1` from its bytes.
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
        Ok(Self { key, signer: Signer::V1(keyed), expires: None })
    }

    /// A secret of the scheme `v1a` from a secret key, with or without its public key.
    fn from_secret_key(key: &[u8]) -> Result<Self, SigningSecretError> {
        let unfit = |_rejected| SigningSecretError::KeyLength { bytes: key.len() };
        let (secret, public) = key.split_at(key.len().min(ED25519_BYTES));
        let pair = Ed25519KeyPair::from_seed_unchecked(secret).map_err(unfit)?;
        if !public.is_empty() && public.len() != ED25519_BYTES {
            return Err(SigningSecretError::KeyLength { bytes: key.len() });
        }
        if !public.is_empty() && public != pair.public_key().as_ref() {
            return Err(SigningSecretError::KeyPair);
        }
        Ok(Self { key: secret.to_vec(), signer: Signer::V1a(Arc::new(pair)), expires: None })
    }

    /// The scheme in which it signs.
    #[must_use]
    pub fn scheme(&self) -> SignatureScheme {
        match self.signer {
            Signer::V1(_) => SignatureScheme::V1,
            Signer::V1a(_) => SignatureScheme::V1a,
        }
    }

    /// The text form, `whsec_…`, or `whsk_…` with the public key behind it. A secret: one of the
    /// scheme `v1` is shown to its creator, once.
    #[must_use]
    pub fn reveal(&self) -> String {
        match &self.signer {
            Signer::V1(_) => format!("{}{}", Self::SHARED, STANDARD.encode(&self.key)),
            Signer::V1a(pair) => {
                let both = [self.key.as_slice(), pair.public_key().as_ref()].concat();
                format!("{}{}", Self::SECRET_KEY, STANDARD.encode(both))
            }
        }
    }

    /// The public key with which a receiver verifies signatures of the scheme `v1a`, `whpk_…`.
    #[must_use]
    pub fn public_key(&self) -> Option<String> {
        match &self.signer {
            Signer::V1(_) => None,
            Signer::V1a(pair) => {
                let key = STANDARD.encode(pair.public_key());
                Some(format!("{}{key}", Self::PUBLIC_KEY))
            }
        }
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
        self.scheme() == other.scheme() && self.key == other.key
    }

    /// Adds the signature of the content, whose text up to the body is `head`.
    fn sign(&self, head: &[u8], body: &[u8], header: &mut String) {
        match &self.signer {
            Signer::V1(keyed) => {
                let mut mac = keyed.clone();
                mac.update(head);
                mac.update(body);
                header.push_str("v1,");
                STANDARD.encode_string(mac.finalize().into_bytes(), header);
            }
            Signer::V1a(pair) => {
                header.push_str("v1a,");
                STANDARD.encode_string(pair.sign(&[head, body].concat()), header);
            }
        }
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

/// The value of `webhook-signature`: the scheme, a comma and the base64 of a signature for each
/// secret that has not expired when the request is sent. `None` without any.
#[must_use]
pub fn signature_header(secrets: &[SigningSecret], content: &SignedContent<'_>) -> Option<String> {
    let SignedContent { id, sent, body } = *content;
    let mut text = DeliveryId::BUFFER;
    let head = format!("{}.{}.", id.encode(&mut text), sent.seconds());
    let mut header = String::new();
    for secret in secrets.iter().filter(|secret| secret.signs_at(sent)) {
        if !header.is_empty() {
            header.push(' ');
        }
        secret.sign(head.as_bytes(), body, &mut header);
    }
    (!header.is_empty()).then_some(header)
}

impl TryFrom<String> for SigningSecret {
    type Error = SigningSecretError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let decoded =
            |encoded: &str| STANDARD.decode(encoded).map_err(|_| SigningSecretError::Base64);
        if let Some(encoded) = text.strip_prefix(Self::SHARED) {
            Self::from_bytes(decoded(encoded)?)
        } else if let Some(encoded) = text.strip_prefix(Self::SECRET_KEY) {
            Self::from_secret_key(&decoded(encoded)?)
        } else if text.starts_with(Self::PUBLIC_KEY) {
            Err(SigningSecretError::Public)
        } else {
            Err(SigningSecretError::Prefix)
        }
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.signer {
            Signer::V1(_) => "whsec_****",
            Signer::V1a(_) => "whsk_****",
        })
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

    /// Source: RFC 8032, 7.1, test 1.
    const SECRET_KEY: [u8; 32] = [
        0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c,
        0xc4, 0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae,
        0x7f, 0x60,
    ];
    const PUBLIC_KEY: &str = "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

    /// Goal: receivers can verify with the public key alone. Method: what is shown of the pair, and
    /// another implementation of the text that is signed.
    #[test]
    fn the_public_key_verifies_a_signature_of_the_secret_one() {
        let body = br#"{"hello": "world"}"#;
        let sent = UnixMillis::new(1_700_000_000_123);
        let pair = SigningSecret::new(SignatureScheme::V1a, SECRET_KEY).unwrap();
        let shared = SigningSecret::from_bytes(vec![7; 32]).unwrap();
        assert_eq!(pair.public_key().as_deref(), Some(PUBLIC_KEY));
        assert_eq!(shared.public_key(), None);

        let content = SignedContent { id: id(), sent, body };
        let header = signature_header(&[pair, shared.clone()], &content).unwrap();

        let (first, second) = header.split_once(' ').unwrap();
        assert_eq!(second, signature_header(&[shared], &content).unwrap());
        let signature = STANDARD.decode(first.strip_prefix("v1a,").unwrap()).unwrap();
        let key = STANDARD.decode(PUBLIC_KEY.strip_prefix("whpk_").unwrap()).unwrap();
        let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, key);
        let signed = format!("{}.1700000000.{{\"hello\": \"world\"}}", id());
        key.verify(signed.as_bytes(), &signature).unwrap();
        assert!(key.verify(&signed.as_bytes()[1..], &signature).is_err());
    }

    #[test]
    fn a_secret_key_is_read_with_its_public_key_and_without() {
        let pair = SigningSecret::new(SignatureScheme::V1a, SECRET_KEY).unwrap();
        let alone = format!("whsk_{}", STANDARD.encode(SECRET_KEY));
        let both = pair.reveal();
        assert_eq!(both.len(), "whsk_".len() + 88);
        for text in [alone, both.clone()] {
            assert_eq!(SigningSecret::try_from(text), Ok(pair.clone()));
        }
        assert_eq!(format!("{pair:?}"), "whsk_****");
        let same_bytes = SigningSecret::from_bytes(SECRET_KEY.to_vec()).unwrap();
        assert!(!pair.is_same(&same_bytes));
        let other = format!("whsk_{}", STANDARD.encode([SECRET_KEY, SECRET_KEY].concat()));
        assert_eq!(SigningSecret::try_from(other), Err(SigningSecretError::KeyPair));
    }

    #[test]
    fn weak_or_misspelt_secrets_are_refused() {
        let read = |text: &str| SigningSecret::try_from(text.to_owned()).unwrap_err();
        assert_eq!(read("secret"), SigningSecretError::Prefix);
        assert_eq!(read("whsec_***"), SigningSecretError::Base64);
        assert_eq!(read("whsec_AAAA"), SigningSecretError::Length { bytes: 3 });
        assert_eq!(read(PUBLIC_KEY), SigningSecretError::Public);
        assert_eq!(read("whsk_AAAA"), SigningSecretError::KeyLength { bytes: 3 });
        let long = format!("whsk_{}", STANDARD.encode([1; 33]));
        assert_eq!(read(&long), SigningSecretError::KeyLength { bytes: 33 });
    }
}
