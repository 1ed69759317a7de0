//! Subscriptions in Workfront's form.

use async_trait::async_trait;

use super::PostgresStore;
use crate::{
    Listing, MAX_PAGE_LIMIT, StoreError, row,
    statements::{COUNT_IN_WORKFRONTS_FORM, IN_WORKFRONTS_FORM},
    workfront::WorkfrontStore,
};

impl PostgresStore {
    async fn read_workfront(&self, offset: u32, limit: u32) -> sqlx::Result<(Listing, i64)> {
        let mut connection = self.pool.acquire().await?;
        let count = sqlx::query_scalar(COUNT_IN_WORKFRONTS_FORM);
        let count: i64 = count.fetch_one(&mut *connection).await?;
        let rows = sqlx::query(IN_WORKFRONTS_FORM).bind(i64::from(limit)).bind(i64::from(offset));
        let rows = rows.fetch_all(&mut *connection).await?;
        Ok((row::page(&rows, limit, &self.keyring)?, count))
    }
}

#[async_trait]
impl WorkfrontStore for PostgresStore {
    async fn in_workfronts_form(
        &self,
        offset: u32,
        limit: u32,
    ) -> Result<(Listing, u64), StoreError> {
        let limit = limit.clamp(1, MAX_PAGE_LIMIT);
        let step = "listing subscriptions in Workfront's form";
        let (listing, count) = self.ask(step, self.read_workfront(offset, limit)).await?;
        Ok((listing, count.unsigned_abs()))
    }
}
