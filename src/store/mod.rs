//! stub
use crate::domain::{id::SubscriptionId, subscription::Subscription};
#[derive(Debug, thiserror::Error)] #[error("x")] pub struct StoreError;
#[async_trait::async_trait] pub trait Store: Send + Sync {
    async fn subscriptions_version(&self) -> Result<i64, StoreError>;
    async fn all_subscriptions(&self) -> Result<Vec<Subscription>, StoreError>;
    async fn subscription(&self, id: SubscriptionId) -> Result<Option<Subscription>, StoreError>;
}
