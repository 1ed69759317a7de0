//! The impure functions that rules may not call: the clock and random numbers.

use crate::{record::RecordId, time::UnixMillis};

/// The current instant.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
pub fn now() -> UnixMillis {
    UnixMillis::new(jiff::Timestamp::now().as_millisecond())
}

/// Microseconds since 1970, the same in all processes of a machine.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
pub fn micros() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

/// A new `UUIDv7`: ids that sort by their time of creation.
#[must_use]
pub fn new_id() -> uuid::Uuid {
    uuid::Uuid::now_v7()
}

/// A new id for a record of what began at `started`.
#[must_use]
pub fn new_record_id(started: UnixMillis) -> RecordId {
    let [_, _, _, _, _, _, random @ ..] = fastrand::u128(..).to_be_bytes();
    RecordId::new(started, random)
}

/// Random bytes, for secrets: 32 make a key.
///
/// # Errors
///
/// The operating system has no randomness available.
pub fn random<const BYTES: usize>() -> Result<[u8; BYTES], getrandom::Error> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}
