//! Bytes as they are stored: compressed, then encrypted, and bound to their place.
//!
//! What is opened is what was sealed, byte for byte: bytes that were changed, or moved to another
//! place, are refused before they are unpacked.

use std::io::{self, Read, Write};

use flate2::{Compression, read::DeflateDecoder, write::DeflateEncoder};

use super::keyring::{Keyring, KeyringError, Place};

/// The reason why sealed bytes cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum SealError {
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    #[error("cannot be unpacked: it was changed")]
    Damaged,
}

/// Seals bytes for a place with the primary key.
pub(super) fn seal(keyring: &Keyring, place: Place<'_>, clear: &[u8]) -> sqlx::Result<Vec<u8>> {
    let deflated = deflated(clear).map_err(sqlx::Error::Io)?;
    Ok(keyring.encrypt_bytes(&deflated, place)?)
}

/// Opens the sealed bytes of a place.
pub(super) fn open(
    keyring: &Keyring,
    place: Place<'_>,
    sealed: &[u8],
) -> Result<Vec<u8>, SealError> {
    let deflated = keyring.decrypt_bytes(sealed, place)?;
    let mut clear = Vec::new();
    let unpacked = DeflateDecoder::new(deflated.as_slice()).read_to_end(&mut clear);
    unpacked.map(|_| clear).map_err(|_| SealError::Damaged)
}

/// The same bytes, encrypted with the primary key; `None`: they cannot be decrypted.
pub(super) fn renewed(
    keyring: &Keyring,
    place: Place<'_>,
    sealed: &[u8],
) -> sqlx::Result<Option<Vec<u8>>> {
    let Ok(clear) = keyring.decrypt_bytes(sealed, place) else { return Ok(None) };
    Ok(Some(keyring.encrypt_bytes(&clear, place)?))
}

fn deflated(clear: &[u8]) -> io::Result<Vec<u8>> {
    let mut deflating = DeflateEncoder::new(Vec::new(), Compression::fast());
    deflating.write_all(clear)?;
    deflating.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use homing_domain::encryption_key::EncryptionKey;

    fn keyring(bytes: &[u8]) -> Keyring {
        let keys: Vec<_> =
            bytes.iter().map(|byte| EncryptionKey::from_bytes([*byte; 32])).collect();
        Keyring::new(&keys).unwrap()
    }

    const PLACE: Place<'_> = Place { column: "parked", row: "1" };

    #[test]
    fn bytes_come_back_and_stay_small() {
        let keyring = keyring(&[1]);
        let random: Vec<u8> =
            (0..1_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
        for clear in [Vec::new(), vec![b'x'; 10_000], random] {
            let sealed = seal(&keyring, PLACE, &clear).unwrap();
            assert_eq!(open(&keyring, PLACE, &sealed).unwrap(), clear);
            assert!(open(&keyring, Place { row: "2", ..PLACE }, &sealed).is_err());
            assert!(sealed.len() < clear.len() + clear.len() / 8 + 100);
            let packed = deflated(&clear).unwrap();
            let shown = sealed.windows(packed.len()).any(|window| window == packed);
            assert!(!shown, "it is packed, and not encrypted");
        }
        assert!(seal(&keyring, PLACE, &[b'x'; 10_000]).unwrap().len() < 200);
    }

    #[test]
    fn what_is_renewed_needs_the_new_key_only() {
        let sealed = seal(&keyring(&[1]), PLACE, b"clear").unwrap();
        let renewed = |keys: &[u8]| renewed(&keyring(keys), PLACE, &sealed).unwrap();
        assert_eq!(renewed(&[2]), None);
        let new = renewed(&[2, 1]).unwrap();
        assert_eq!(open(&keyring(&[2]), PLACE, &new).unwrap(), b"clear");
    }
}
