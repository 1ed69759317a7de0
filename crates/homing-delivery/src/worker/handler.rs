//! The job that runs for each attempt.

use async_trait::async_trait;
use bytes::Bytes;
use std::{sync::Arc, time::Duration};

use crate::endpoint::{self, Endpoints, ProxyProblem};
use homing_domain::{
    delivery::Delivery, delivery_control::DeliveryControl, outcome::Outcome, payload::Payload,
    subscription::Subscription, time::UnixMillis,
};

/// Our own failure to make an attempt: a bug or a broken setting, never the endpoint's fault.
pub type HandlerError = Box<dyn std::error::Error + Send + Sync>;

/// The result of one attempt. An outcome alone is enough: `Ok(outcome.into())`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptResult {
    /// The endpoint's action; it decides what follows, and `control`.
    pub outcome: Outcome,
    /// The HTTP status, if there was one; also that of a response that was not complete in time.
    pub status: Option<u16>,
    /// The response's body or its beginning, for the attempt log. It must not contain secrets.
    pub response: Bytes,
    /// The reason for an incomplete response, or other notes for operators, for the attempt log.
    pub cause: Option<String>,
    /// The endpoint's instruction, which is followed.
    pub control: Option<DeliveryControl>,
    /// The request and the answer, for the attempt log. They must not contain secrets.
    pub payload: Option<Arc<Payload>>,
}

impl From<Outcome> for AttemptResult {
    fn from(outcome: Outcome) -> Self {
        let (status, response) = (outcome.status(), Bytes::new());
        Self { outcome, status, response, cause: None, control: None, payload: None }
    }
}

/// The end of one attempt, as a handler reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobOutcome {
    /// A webhook was sent; its [`Outcome`] decides.
    Attempted(AttemptResult),
    /// The job is done.
    Done,
    /// The job failed for this reason and runs again after the next wait of its schedule; at the end
    /// of the schedule it is parked as `exhausted`. Its target counts a failure.
    Retry(String),
    /// Not now: the job runs again after about this time. No attempt is counted, and nothing is
    /// charged to the job or to its target.
    Snooze(Duration),
    /// The job will never succeed, for this reason: it is parked as `cancelled` at once. Its target
    /// counts a failure.
    Cancel(String),
}

impl JobOutcome {
    /// The attempt that was made; `Err`: none, the job snoozes for so long.
    pub(super) fn attempted(self) -> Result<AttemptResult, Duration> {
        match self {
            Self::Attempted(result) => Ok(result),
            Self::Done => Ok(Outcome::Done.into()),
            Self::Retry(why) => Ok(Outcome::Failed { why: shortened(&why) }.into()),
            Self::Snooze(wait) => Err(wait),
            Self::Cancel(why) => Ok(Outcome::Cancelled { why: shortened(&why) }.into()),
        }
    }
}

/// The beginning of a reason: it travels in a header of the message.
fn shortened(why: &str) -> String {
    const MAX_CHARS: usize = 500;
    why.chars().take(MAX_CHARS).collect()
}

impl From<AttemptResult> for JobOutcome {
    fn from(result: AttemptResult) -> Self {
        Self::Attempted(result)
    }
}

impl From<Outcome> for JobOutcome {
    fn from(outcome: Outcome) -> Self {
        Self::Attempted(outcome.into())
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
    ) -> Result<JobOutcome, HandlerError>;

    /// The reason why it can make no attempts now, or not all, as text for operators. Workers report
    /// it, with their status.
    fn problem(&self) -> Option<String> {
        None
    }
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
    ) -> Result<JobOutcome, HandlerError> {
        let endpoint::Attempted { outcome, status, response, cause, control, payload, .. } =
            self.0.attempt(delivery, subscription, now).await?;
        Ok(AttemptResult { outcome, status, response, cause, control, payload }.into())
    }

    fn problem(&self) -> Option<String> {
        let ProxyProblem { since, why } = self.0.proxy_problem()?;
        Some(format!("since {since}, no attempts are made through the proxy: {why}"))
    }
}
