//! New signing secrets, and the rotation of those that are there.

use super::RegistryError;
use homing_domain::{
    clock,
    signature::{SignatureScheme, SigningSecret},
    subscription::{FieldError, MAX_SECRETS},
    time::UnixMillis,
};

/// A new random signing secret.
pub(super) fn new_secret(scheme: SignatureScheme) -> Result<SigningSecret, RegistryError> {
    let key = clock::random::<32>().map_err(RegistryError::Randomness)?;
    SigningSecret::new(scheme, key)
        .map_err(|error| RegistryError::Field(FieldError::new("secrets", error)))
}

/// The new secret, then those that still sign, which do so until `end` at most.
pub(super) fn rotated(
    present: Vec<SigningSecret>,
    newest: &SigningSecret,
    end: UnixMillis,
    now: UnixMillis,
) -> Vec<SigningSecret> {
    let limited = present.into_iter().map(|secret| {
        let expires = secret.expires().map_or(end, |expires| expires.min(end));
        secret.with_expiry(Some(expires))
    });
    let still = limited.filter(|secret| secret.signs_at(now));
    std::iter::once(newest.clone()).chain(still).take(MAX_SECRETS).collect()
}
