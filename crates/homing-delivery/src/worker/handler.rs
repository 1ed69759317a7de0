//! The job that runs for each attempt.

use async_trait::async_trait;
use bytes::Bytes;

use crate::endpoint::{self, Endpoints};
use homing_domain::{
    delivery::Delivery, outcome::Outcome, subscription::Subscription, time::UnixMillis,
};

/// Our own failure to make an attempt: a bug or a broken setting, never the endpoint's fault.
pub type HandlerError = Box<dyn std::error::Error + Send + Sync>;

/// The result of one attempt. An outcome alone is enough: `Ok(outcome.into())`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptResult {
    /// The endpoint's action; it alone decides what follows.
    pub outcome: Outcome,
    /// The HTTP status, if there was one; also that of a response that was not complete in time.
    pub status: Option<u16>,
    /// The response's body or its beginning, for the attempt log. It must not contain secrets.
    pub response: Bytes,
    /// The reason for an incomplete response, or other notes for operators, for the attempt log.
    pub cause: Option<String>,
}

impl From<Outcome> for AttemptResult {
    fn from(outcome: Outcome) -> Self {
        Self { status: outcome.status(), outcome, response: Bytes::new(), cause: None }
    }
}

/// The job that the pool runs for every delivery.
#[async_trait]
pub trait Handler: Send + Sync {
    /// Makes one attempt, which ends within a deadline of its own. `now` is when it starts.
    ///
    /// # Errors
    ///
    /// [`HandlerError`]: no attempt was made. The delivery waits for the next step of its schedule,
    /// or for seconds if the error is a [`RequestError`](crate::endpoint::RequestError) that may
    /// pass; nothing counts against it or the endpoint. With
    /// [`RequestError::Unfit`](crate::endpoint::RequestError::Unfit) it is parked at once: that
    /// error is permanent.
    ///
    /// # Cancel safety
    ///
    /// Dropped at the end of a drain's grace; another worker then repeats the attempt.
    async fn attempt(
        &self,
        delivery: &Delivery,
        subscription: &Subscription,
        now: UnixMillis,
    ) -> Result<AttemptResult, HandlerError>;
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
    ) -> Result<AttemptResult, HandlerError> {
        let endpoint::Attempted { outcome, status, response, cause } =
            self.0.attempt(delivery, subscription, now).await?;
        Ok(AttemptResult { outcome, status, response, cause })
    }
}
