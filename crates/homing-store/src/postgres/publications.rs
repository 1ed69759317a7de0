//! Which requests to publish events were answered.

use async_trait::async_trait;

use super::PostgresStore;
use crate::{
    StoreError,
    publications::{
        FORGET_OLD_PUBLICATIONS, FORGET_PUBLICATIONS_BEYOND, FORGETS_ONCE_IN, MAX_PUBLICATIONS,
        PUBLICATION, PublicationStore, REMEMBER_PUBLICATION, horizon,
    },
};
use homing_domain::time::UnixMillis;

impl PostgresStore {
    async fn remember_published(
        &self,
        key: &str,
        fingerprint: &str,
        now: UnixMillis,
    ) -> sqlx::Result<()> {
        let mut transaction = self.pool.begin().await?;
        let remember = sqlx::query(REMEMBER_PUBLICATION).bind(key).bind(fingerprint);
        remember.bind(now.get()).execute(&mut *transaction).await?;
        if fastrand::u32(..FORGETS_ONCE_IN) == 0 {
            let forget = sqlx::query(FORGET_OLD_PUBLICATIONS).bind(horizon(now));
            forget.execute(&mut *transaction).await?;
            let forget = sqlx::query(FORGET_PUBLICATIONS_BEYOND).bind(i64::from(MAX_PUBLICATIONS));
            forget.execute(&mut *transaction).await?;
        }
        transaction.commit().await
    }
}

#[async_trait]
impl PublicationStore for PostgresStore {
    async fn publication(&self, key: &str) -> Result<Option<String>, StoreError> {
        let known = sqlx::query_scalar(PUBLICATION).bind(key).fetch_optional(&self.pool);
        self.ask("looking for a publication", known).await
    }

    async fn remember_publication(
        &self,
        key: &str,
        fingerprint: &str,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        let remembered = self.remember_published(key, fingerprint, now);
        self.ask("remembering a publication", remembered).await
    }
}
