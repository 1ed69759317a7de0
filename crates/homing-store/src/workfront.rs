//! Subscriptions in Workfront's form, as its API counts them.

use async_trait::async_trait;

use super::{
    Listing, MAX_PAGE_LIMIT, Page, StoreError,
    backend::{Backend, SqlStore},
    row,
    statement::sql,
    statements::{COUNT_IN_WORKFRONTS_FORM, IN_WORKFRONTS_FORM, IN_WORKFRONTS_FORM_BEHIND},
    subscription_store::behind,
};

/// Reads subscriptions in Workfront's form by number; part of [`Store`](super::Store).
#[async_trait]
pub trait WorkfrontStore {
    /// At most `limit` (and [`MAX_PAGE_LIMIT`]) of them behind the first `offset`, in the order of
    /// creation, and how many there are. `next` means nothing here.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn in_workfronts_form(
        &self,
        offset: u32,
        limit: u32,
    ) -> Result<(Listing, u64), StoreError>;

    /// A page of them in the order of creation; none is left out because of one that was deleted.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn page_in_workfronts_form(&self, page: Page) -> Result<Listing, StoreError>;
}

#[async_trait]
impl<B: Backend> WorkfrontStore for SqlStore<B> {
    async fn in_workfronts_form(
        &self,
        offset: u32,
        limit: u32,
    ) -> Result<(Listing, u64), StoreError> {
        let limit = limit.clamp(1, MAX_PAGE_LIMIT);
        let read = async {
            let (count,): (i64,) = self.one(sql(COUNT_IN_WORKFRONTS_FORM)).await?;
            let rows = sql(IN_WORKFRONTS_FORM).bind(i64::from(limit)).bind(i64::from(offset));
            Ok((row::page(self.all(rows).await?, limit, &self.keyring), count.unsigned_abs()))
        };
        self.ask("listing subscriptions in Workfront's form", read).await
    }

    async fn page_in_workfronts_form(&self, page: Page) -> Result<Listing, StoreError> {
        let limit = page.limit.clamp(1, MAX_PAGE_LIMIT);
        let rows = self.all(behind(IN_WORKFRONTS_FORM_BEHIND, page.after, limit));
        let rows = self.ask("listing subscriptions in Workfront's form", rows).await?;
        Ok(row::page(rows, limit, &self.keyring))
    }
}
