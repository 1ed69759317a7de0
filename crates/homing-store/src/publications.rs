//! The publish requests that were answered, so that a repetition gets the same answer.

use std::time::Duration;

use async_trait::async_trait;

use super::{
    StoreError,
    backend::{Backend, SqlStore},
    statement::sql,
};
use homing_domain::time::UnixMillis;

/// A publication is remembered for this long, unless there are too many.
pub const PUBLICATIONS_KEPT: Duration = Duration::from_hours(24);
/// Publications that are kept; a few hundred more for a while.
pub const MAX_PUBLICATIONS: u32 = 100_000;

/// One in this many new publications also deletes those that are old or too many.
const FORGETS_ONCE_IN: u32 = 128;

const PUBLICATION: &str = "SELECT fingerprint FROM publications WHERE key = $1";
const REMEMBER_PUBLICATION: &str = "\
    INSERT INTO publications (key, fingerprint, published_ms) VALUES ($1, $2, $3) \
    ON CONFLICT (key) DO NOTHING";
const FORGET_OLD_PUBLICATIONS: &str = "DELETE FROM publications WHERE published_ms < $1";
const FORGET_PUBLICATIONS_BEYOND: &str = "\
    DELETE FROM publications WHERE published_ms <= \
    (SELECT published_ms FROM publications ORDER BY published_ms DESC LIMIT 1 OFFSET $1)";

/// Remembers publications; part of [`Store`](super::Store).
#[async_trait]
pub trait PublicationStore {
    /// The fingerprint of the request that was published with `key`, if it is remembered.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn publication(&self, key: &str) -> Result<Option<String>, StoreError>;

    /// Remembers the request that was published with `key`, unless one is remembered already. Now
    /// and then deletes those older than [`PUBLICATIONS_KEPT`], and the oldest beyond
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

#[async_trait]
impl<B: Backend> PublicationStore for SqlStore<B> {
    async fn publication(&self, key: &str) -> Result<Option<String>, StoreError> {
        let known = self.optional::<(String,)>(sql(PUBLICATION).bind(key));
        let known = self.ask("looking for a publication", known).await?;
        Ok(known.map(|(fingerprint,)| fingerprint))
    }

    async fn remember_publication(
        &self,
        key: &str,
        fingerprint: &str,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        let remembered = async {
            let mut transaction = self.begin().await?;
            let remember = sql(REMEMBER_PUBLICATION).bind(key).bind(fingerprint).bind(now.get());
            remember.execute(&mut transaction).await?;
            if fastrand::u32(..FORGETS_ONCE_IN) == 0 {
                let horizon = now.minus(PUBLICATIONS_KEPT).get();
                sql(FORGET_OLD_PUBLICATIONS).bind(horizon).execute(&mut transaction).await?;
                let beyond = sql(FORGET_PUBLICATIONS_BEYOND).bind(i64::from(MAX_PUBLICATIONS));
                beyond.execute(&mut transaction).await?;
            }
            transaction.commit().await
        };
        self.ask("remembering a publication", remembered).await
    }
}
