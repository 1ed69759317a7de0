//! Messages at rest: compressed, then encrypted.
//!
//! An encrypted payload begins with a byte that says whether it was compressed, inside of what is
//! encrypted.

use std::io::{self, Read, Write};

use flate2::{Compression, read::DeflateDecoder, write::DeflateEncoder};

use crate::keyring::{Keyring, KeyringError, Place};

const COLUMN: &str = "parked";
const AS_IT_IS: u8 = 0;
const DEFLATED: u8 = 1;

/// The reason why a payload cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum PayloadError {
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    #[error("it cannot be unpacked")]
    Packed,
}

/// Encrypts a payload for its row.
pub(super) fn sealed(
    clear: &[u8],
    row: &str,
    keyring: &Keyring,
) -> Result<Vec<u8>, crate::StoreError> {
    let failed = |error| crate::StoreError::step("encrypting a parked message", error);
    let packed = packed(clear).map_err(|error| failed(sqlx::Error::Io(error)))?;
    resealed(&packed, row, keyring).map_err(|error| failed(error.into()))
}

/// Encrypts what is packed already.
pub(super) fn resealed(
    packed: &[u8],
    row: &str,
    keyring: &Keyring,
) -> Result<Vec<u8>, KeyringError> {
    keyring.encrypt_bytes(packed, Place { column: COLUMN, row })
}

/// Decrypts a payload, without unpacking it.
pub(super) fn unsealed(kept: &[u8], row: &str, keyring: &Keyring) -> Result<Vec<u8>, KeyringError> {
    keyring.decrypt_bytes(kept, Place { column: COLUMN, row })
}

/// Decrypts and unpacks a payload.
pub(super) fn opened(kept: &[u8], row: &str, keyring: &Keyring) -> Result<Vec<u8>, PayloadError> {
    let packed = unsealed(kept, row, keyring)?;
    match packed.split_first() {
        Some((&AS_IT_IS, clear)) => Ok(clear.to_vec()),
        Some((&DEFLATED, deflated)) => {
            let mut clear = Vec::new();
            let unpacked = DeflateDecoder::new(deflated).read_to_end(&mut clear);
            unpacked.map(|_| clear).map_err(|_| PayloadError::Packed)
        }
        Some(_) | None => Err(PayloadError::Packed),
    }
}

fn packed(clear: &[u8]) -> io::Result<Vec<u8>> {
    let mut deflating = DeflateEncoder::new(vec![DEFLATED], Compression::fast());
    deflating.write_all(clear)?;
    let deflated = deflating.finish()?;
    if deflated.len() <= clear.len() {
        return Ok(deflated);
    }
    Ok([&[AS_IT_IS], clear].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use homing_domain::encryption_key::EncryptionKey;

    #[test]
    fn a_payload_comes_back_and_stays_small() {
        let keyring = Keyring::new(&[EncryptionKey::from_bytes([1; 32])]).unwrap();
        let random: Vec<u8> =
            (0..1_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
        for clear in [Vec::new(), vec![b'x'; 10_000], random] {
            let kept = sealed(&clear, "1", &keyring).unwrap();
            assert_eq!(opened(&kept, "1", &keyring).unwrap(), clear);
            assert!(opened(&kept, "2", &keyring).is_err());
            assert!(kept.len() < clear.len() + 100);
        }
        assert!(sealed(&[b'x'; 10_000], "1", &keyring).unwrap().len() < 200);
    }
}
