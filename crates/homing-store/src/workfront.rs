//! Subscriptions in Workfront's form, as its API counts them.

use async_trait::async_trait;

use super::{Listing, StoreError};

/// Reads subscriptions in Workfront's form by number; part of [`Store`](super::Store).
#[async_trait]
pub trait WorkfrontStore {
    /// At most `limit` (and [`MAX_PAGE_LIMIT`](super::MAX_PAGE_LIMIT)) of them behind the first
    /// `offset`, in the order in which they were made, and how many there are. `next` is not told.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn in_workfronts_form(
        &self,
        offset: u32,
        limit: u32,
    ) -> Result<(Listing, u64), StoreError>;
}
