//! What an attempt does.

use async_trait::async_trait;

use crate::{
    domain::{delivery::Delivery, outcome::Outcome, subscription::Subscription, time::UnixMillis},
    endpoint::Endpoints,
};

/// Our own failure to make an attempt: a bug or a broken setting, never the endpoint's doing.
pub type HandlerError = Box<dyn std::error::Error + Send + Sync>;

/// The job that the pool runs for every delivery.
#[async_trait]
pub trait Handler: Send + Sync {
    /// Makes one attempt, which ends within a deadline of its own. `now` is when it starts.
    ///
    /// # Errors
    ///
    /// [`HandlerError`]: no attempt was made. The delivery waits for the next step of its
    /// schedule; nothing is charged to it or to the endpoint.
    ///
    /// # Cancel safety
    ///
    /// Dropped at the end of a drain's grace; the attempt is then made again by somebody else.
    async fn attempt(
        &self,
        delivery: &Delivery,
        subscription: &Subscription,
        now: UnixMillis,
    ) -> Result<Outcome, HandlerError>;
}

/// The built-in handler: one POST for each attempt.
pub struct Webhooks(pub Endpoints);

#[async_trait]
impl Handler for Webhooks {
    async fn attempt(
        &self,
        delivery: &Delivery,
        subscription: &Subscription,
        now: UnixMillis,
    ) -> Result<Outcome, HandlerError> {
        Ok(self.0.attempt(delivery, subscription, now).await?.outcome)
    }
}
