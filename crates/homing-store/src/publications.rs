//! Which requests to publish events were answered, so that a repetition is.

use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;
use homing_domain::time::UnixMillis;

/// How long a publication is remembered at least, unless there are too many.
pub const PUBLICATIONS_KEPT: Duration = Duration::from_hours(24);
/// So many are kept; a few hundred more for a while.
pub const MAX_PUBLICATIONS: u32 = 100_000;

/// One in so many that are remembered forgets what is old or too much.
pub(super) const FORGETS_ONCE_IN: u32 = 128;

pub(super) const PUBLICATION: &str = "SELECT fingerprint FROM publications WHERE key = $1";
pub(super) const REMEMBER_PUBLICATION: &str = "\
    INSERT INTO publications (key, fingerprint, published_ms) VALUES ($1, $2, $3) \
    ON CONFLICT (key) DO NOTHING";
pub(super) const FORGET_OLD_PUBLICATIONS: &str = "DELETE FROM publications WHERE published_ms < $1";
pub(super) const FORGET_PUBLICATIONS_BEYOND: &str = "\
    DELETE FROM publications WHERE published_ms <= \
    (SELECT published_ms FROM publications ORDER BY published_ms DESC LIMIT 1 OFFSET $1)";

/// Remembers publications; part of [`Store`](super::Store).
#[async_trait]
pub trait PublicationStore {
    /// The fingerprint of what was published with `key`, if that is remembered.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn publication(&self, key: &str) -> Result<Option<String>, StoreError>;

    /// Remembers what was published with `key`; what is remembered already stays. Now and then
    /// forgets what is older than [`PUBLICATIONS_KEPT`], and the oldest beyond
    /// [`MAX_PUBLICATIONS`].
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn remember_publication(
        &self,
        key: &str,
        fingerprint: &str,
        now: UnixMillis,
    ) -> Result<(), StoreError>;
}

/// Before which instant publications are forgotten.
pub(super) fn horizon(now: UnixMillis) -> i64 {
    now.minus(PUBLICATIONS_KEPT).get()
}
