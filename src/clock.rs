//! What the rules may not do themselves: read the clock and draw at random.

use crate::domain::time::UnixMillis;

/// The present instant.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
pub fn now() -> UnixMillis {
    UnixMillis::new(jiff::Timestamp::now().as_millisecond())
}

/// A new `UUIDv7`: ids that sort by the time at which they were made.
#[must_use]
pub fn new_id() -> uuid::Uuid {
    uuid::Uuid::now_v7()
}

/// 32 random bytes, for secrets.
///
/// # Errors
///
/// The operating system has no randomness to give.
pub fn random_key() -> Result<[u8; 32], getrandom::Error> {
    let mut key = [0; 32];
    getrandom::fill(&mut key)?;
    Ok(key)
}
