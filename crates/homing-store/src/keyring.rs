//! Encryption of single values, so that the database file, its log and its backups show no secret.
//!
//! XChaCha20-Poly1305 with a random nonce for every value, bound to the place where it is kept, so
//! that a value moved to another row or column is refused. Source: draft-irtf-cfrg-xchacha-03,
//! section 2; its 192-bit nonces may be drawn at random for any number of values.
//!
//! A text is written `v1.<key id>.<base64 of nonce and ciphertext>`; bytes are written as the key's
//! id, which has 16 digits, then nonce and ciphertext.

use std::{collections::BTreeMap, fmt, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use sha2::{Digest, Sha256};

use homing_domain::clock;
use homing_domain::encryption_key::{EncryptionKey, KeyId};

const FORM: &str = "v1.";
const NONCE_BYTES: usize = 24;
/// See [`EncryptionKey::id`].
const ID_BYTES: usize = 16;
const DIGEST_BYTES: usize = 16;

/// The keys in force: the first encrypts, all of them decrypt. Cheap to clone.
#[derive(Clone)]
pub(super) struct Keyring {
    primary: KeyId,
    ciphers: Arc<BTreeMap<KeyId, XChaCha20Poly1305>>,
    /// The primary key's first.
    digest_keys: Arc<[[u8; 32]]>,
}

/// The place of a value.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) column: &'static str,
    pub(super) row: &'a str,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.column, self.row)
    }
}

/// An error of encryption or decryption. Never shows the value.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeyringError {
    #[error("is not encrypted")]
    Clear,
    #[error("is encrypted with key {0}, which is not among `store.encryption_keys`")]
    UnknownKey(KeyId),
    #[error("cannot be decrypted: it was changed, or belongs to another row")]
    Forged,
    #[error("cannot be encrypted: it is too long")]
    TooLong,
    #[error("cannot be encrypted: the operating system has no randomness to give")]
    Randomness(#[source] getrandom::Error),
}

impl From<KeyringError> for sqlx::Error {
    fn from(error: KeyringError) -> Self {
        Self::Encode(Box::new(error))
    }
}

impl Keyring {
    /// `None` without keys.
    pub(super) fn new(keys: &[EncryptionKey]) -> Option<Self> {
        let cipher =
            |key: &EncryptionKey| (key.id(), XChaCha20Poly1305::new(&(*key.as_bytes()).into()));
        let digest_key = |key: &EncryptionKey| {
            let digest_key = Sha256::new().chain_update(b"homing digest key\0");
            digest_key.chain_update(key.as_bytes()).finalize().into()
        };
        let ciphers = Arc::new(keys.iter().map(cipher).collect());
        let digest_keys = keys.iter().map(digest_key).collect();
        Some(Self { primary: keys.first()?.id(), ciphers, digest_keys })
    }

    /// The key that encrypts.
    pub(super) fn primary(&self) -> &KeyId {
        &self.primary
    }

    pub(super) fn has(&self, id: &KeyId) -> bool {
        self.ciphers.contains_key(id)
    }

    pub(super) fn encrypt(&self, clear: &str, place: Place<'_>) -> Result<String, KeyringError> {
        let sealed = STANDARD_NO_PAD.encode(self.seal(clear.as_bytes(), place)?);
        Ok(format!("{FORM}{}.{sealed}", self.primary))
    }

    pub(super) fn decrypt(&self, kept: &str, place: Place<'_>) -> Result<String, KeyringError> {
        let parts = kept.strip_prefix(FORM).and_then(|rest| rest.split_once('.'));
        let (id, sealed) = parts.ok_or(KeyringError::Clear)?;
        let cipher = self.cipher(&KeyId::new(id))?;
        let sealed = STANDARD_NO_PAD.decode(sealed).map_err(|_| KeyringError::Forged)?;
        String::from_utf8(open(cipher, &sealed, place)?).map_err(|_| KeyringError::Forged)
    }

    pub(super) fn encrypt_bytes(
        &self,
        clear: &[u8],
        place: Place<'_>,
    ) -> Result<Vec<u8>, KeyringError> {
        Ok([self.primary.as_str().as_bytes(), &self.seal(clear, place)?].concat())
    }

    pub(super) fn decrypt_bytes(
        &self,
        kept: &[u8],
        place: Place<'_>,
    ) -> Result<Vec<u8>, KeyringError> {
        let (id, sealed) = kept.split_first_chunk::<ID_BYTES>().ok_or(KeyringError::Clear)?;
        let id = str::from_utf8(id).map_err(|_| KeyringError::Clear)?;
        open(self.cipher(&KeyId::new(id))?, sealed, place)
    }

    /// The same for equal bytes under the same primary key; it proves nothing about them to those
    /// that have no key.
    pub(super) fn digest(&self, clear: &[u8]) -> [u8; DIGEST_BYTES] {
        self.digests(clear).next().unwrap_or_default()
    }

    /// The digests of `clear` by all keys, that by the primary key first.
    pub(super) fn digests(&self, clear: &[u8]) -> impl Iterator<Item = [u8; DIGEST_BYTES]> {
        self.digest_keys.iter().map(move |key| {
            let digest = Sha256::new().chain_update(key).chain_update(clear).finalize();
            digest.first_chunk().copied().unwrap_or_default()
        })
    }

    /// A random nonce, and what the primary key makes of `clear`.
    fn seal(&self, clear: &[u8], place: Place<'_>) -> Result<Vec<u8>, KeyringError> {
        let nonce: [u8; NONCE_BYTES] = clock::random().map_err(KeyringError::Randomness)?;
        let place = place.to_string();
        let payload = Payload { msg: clear, aad: place.as_bytes() };
        let cipher = self.cipher(&self.primary)?;
        let sealed =
            cipher.encrypt(&XNonce::from(nonce), payload).map_err(|_| KeyringError::TooLong)?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// Returns `true` if [`encrypt`](Self::encrypt) would write `kept` with the same key.
    pub(super) fn is_current(&self, kept: &str) -> bool {
        kept.strip_prefix(FORM)
            .and_then(|rest| rest.strip_prefix(self.primary.as_str()))
            .is_some_and(|rest| rest.starts_with('.'))
    }

    fn cipher(&self, id: &KeyId) -> Result<&XChaCha20Poly1305, KeyringError> {
        self.ciphers.get(id).ok_or_else(|| KeyringError::UnknownKey(id.clone()))
    }
}

fn open(
    cipher: &XChaCha20Poly1305,
    sealed: &[u8],
    place: Place<'_>,
) -> Result<Vec<u8>, KeyringError> {
    let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(KeyringError::Forged)?;
    let place = place.to_string();
    let payload = Payload { msg: sealed, aad: place.as_bytes() };
    cipher.decrypt(&XNonce::from(*nonce), payload).map_err(|_| KeyringError::Forged)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> EncryptionKey {
        EncryptionKey::from_bytes([byte; 32])
    }

    fn ring(bytes: &[u8]) -> Keyring {
        Keyring::new(&bytes.iter().copied().map(key).collect::<Vec<_>>()).unwrap()
    }

    const PLACE: Place<'_> = Place { column: "secrets", row: "1" };

    #[test]
    fn a_value_comes_back_and_is_never_written_the_same_way() {
        let ring = ring(&[1]);
        let (first, second) =
            (ring.encrypt("whsec_x", PLACE).unwrap(), ring.encrypt("whsec_x", PLACE).unwrap());
        assert_ne!(first, second);
        assert!(!first.contains("whsec"), "{first}");
        assert_eq!(ring.decrypt(&first, PLACE).unwrap(), "whsec_x");
    }

    #[test]
    fn the_first_key_encrypts_and_the_others_still_decrypt() {
        let old = ring(&[1]).encrypt("x", PLACE).unwrap();
        let both = ring(&[2, 1]);
        assert_eq!(both.decrypt(&old, PLACE).unwrap(), "x");
        assert!(!both.is_current(&old));
        let new = both.encrypt("x", PLACE).unwrap();
        assert!(both.is_current(&new));
        assert_eq!(ring(&[2]).decrypt(&new, PLACE).unwrap(), "x");
        let error = ring(&[2]).decrypt(&old, PLACE).unwrap_err();
        assert!(matches!(error, KeyringError::UnknownKey(id) if id == key(1).id()));
    }

    /// Goal: write access to the database is not enough to pass one row's secret off as another's.
    #[test]
    fn a_value_that_was_moved_or_changed_is_refused() {
        let ring = ring(&[1]);
        let kept = ring.encrypt("x", PLACE).unwrap();
        for place in [Place { row: "2", ..PLACE }, Place { column: "headers", ..PLACE }] {
            assert!(matches!(ring.decrypt(&kept, place), Err(KeyringError::Forged)), "{place}");
        }
        let mut changed = kept.clone();
        changed.truncate(kept.len() - 2);
        for kept in [changed.as_str(), &format!("v1.{}.", key(1).id()), &format!("{kept}!")] {
            assert!(matches!(ring.decrypt(kept, PLACE), Err(KeyringError::Forged)), "{kept}");
        }
        assert!(matches!(ring.decrypt("[]", PLACE), Err(KeyringError::Clear)));
    }
}
