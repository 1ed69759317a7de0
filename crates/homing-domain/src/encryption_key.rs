//! Keys with which the store encrypts secrets.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// 32 random bytes, written in base64. Shown by `Debug` as its id only.
#[derive(Clone, PartialEq, Eq)]
pub struct EncryptionKey([u8; 32]);

/// Identifies an [`EncryptionKey`] without revealing it: 16 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(String);

/// The text is not an encryption key. Never repeats the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an encryption key is 32 random bytes in base64 (44 characters); `homing keys generate` makes one"
)]
pub struct EncryptionKeyError;

impl EncryptionKey {
    /// A key from its bytes, which must be random.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key's bytes. A secret.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The text form. A secret.
    #[must_use]
    pub fn reveal(&self) -> String {
        STANDARD.encode(self.0)
    }

    /// The beginning of a hash: for 256 random bits it reveals nothing.
    #[must_use]
    pub fn id(&self) -> KeyId {
        let digest = Sha256::new().chain_update(b"homing encryption key\0").chain_update(self.0);
        let digest = digest.finalize();
        let beginning = digest.first_chunk().copied().unwrap_or_default();
        KeyId(format!("{:016x}", u64::from_be_bytes(beginning)))
    }
}

impl KeyId {
    /// An id as stored.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for EncryptionKey {
    type Error = EncryptionKeyError;

    fn try_from(text: &str) -> Result<Self, Self::Error> {
        let bytes = STANDARD.decode(text.trim()).map_err(|_| EncryptionKeyError)?;
        bytes.try_into().map(Self).map_err(|_| EncryptionKeyError)
    }
}

impl fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EncryptionKey({})", self.id())
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_is_revealed_and_never_printed() {
        let key = EncryptionKey::from_bytes([7; 32]);
        assert_eq!(EncryptionKey::try_from(key.reveal().as_str()), Ok(key.clone()));
        let printed = format!("{key:?}");
        assert!(!printed.contains(&key.reveal()) && printed.contains(key.id().as_str()));
    }

    #[test]
    fn keys_have_different_ids() {
        let id = |byte| EncryptionKey::from_bytes([byte; 32]).id();
        assert_eq!(id(1), id(1));
        assert_ne!(id(1), id(2));
        assert_eq!(id(1).as_str().len(), 16);
    }

    #[test]
    fn a_key_that_is_too_short_or_no_base64_is_refused() {
        let long = STANDARD.encode([1; 33]);
        for text in ["", "secret", "AAAA", "*******", long.as_str()] {
            assert_eq!(EncryptionKey::try_from(text), Err(EncryptionKeyError), "{text}");
        }
    }
}
