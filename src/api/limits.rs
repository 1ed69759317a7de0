//! Limits on the time and the number of requests.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit},
    time::timeout,
};

use super::{
    Api,
    problem::{Kind, Problem},
};

/// For a request as a whole, including its body and the wait for a permit.
pub(super) const DEADLINE: Duration = Duration::from_secs(30);
/// For a scan of all parked messages: a million are counted in two to three minutes
/// (docs/PERFORMANCE.md), or sixty thousand are replayed at the limited rate of a replay.
pub(super) const SCAN_DEADLINE: Duration = Duration::from_mins(10);
/// Concurrent requests.
const MAX_REQUESTS: usize = 64;
/// Concurrent batches, each of which is in memory in several forms.
const MAX_BATCHES: usize = 4;
/// Size of the largest JSON body, except for batches.
pub(super) const MAX_JSON_BYTES: usize = 256 * 1_024;
/// Size of a batch of events.
pub(super) const MAX_BATCH_BYTES: usize = 8 * 1_024 * 1_024;
/// The wait for a permit before a request is refused.
const TURN_DEADLINE: Duration = Duration::from_secs(10);
/// The wait for a scan under way before another one is refused.
const SCAN_TURN_DEADLINE: Duration = Duration::from_secs(10);

/// The permits of requests, scans and batches.
#[derive(Clone)]
pub(super) struct Turns {
    requests: Arc<Semaphore>,
    scans: Arc<Semaphore>,
    batches: Arc<Semaphore>,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            requests: Arc::new(Semaphore::new(MAX_REQUESTS)),
            scans: Arc::new(Semaphore::new(1)),
            batches: Arc::new(Semaphore::new(MAX_BATCHES)),
        }
    }
}

impl Turns {
    /// The permit of a request.
    pub(super) async fn request(&self) -> Result<SemaphorePermit<'_>, Problem> {
        let busy = || {
            let detail = "too many concurrent requests; this one was not started, try again";
            Problem::new(Kind::Busy, detail)
        };
        let turn = timeout(TURN_DEADLINE, self.requests.acquire()).await;
        turn.map_err(|_elapsed| busy())?.map_err(|_closed| busy())
    }

    /// The permit to scan the parked messages. There is one: two scans hide messages from each
    /// other, so that a list would make a replay miss some.
    pub(super) async fn scan(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let busy = || {
            let detail = "another request is scanning the parked messages; only one may at a time";
            Problem::new(Kind::Busy, detail)
        };
        let turn = timeout(SCAN_TURN_DEADLINE, Arc::clone(&self.scans).acquire_owned()).await;
        turn.map_err(|_elapsed| busy())?.map_err(|_closed| busy())
    }

    /// The permit of a batch of events.
    pub(super) async fn batch(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed.
        Arc::clone(&self.batches).acquire_owned().await.ok()
    }
}

/// Lets a bounded number of requests pass at a time; the others wait.
pub(super) async fn turn(
    State(api): State<Api>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let _turn = api.turns.request().await?;
    Ok(next.run(request).await)
}

/// Abandons a request after a time.
pub(super) async fn deadline(
    State(time): State<Duration>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    timeout(time, next.run(request)).await.map_err(|_elapsed| {
        let seconds = time.as_secs();
        let detail = format!(
            "no answer within {seconds} s; the request may or may not have been carried out"
        );
        Problem::new(Kind::TimedOut, detail)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn two_scans_never_overlap_and_the_second_is_refused() {
        let turns = Turns::default();
        let first = turns.scan().await.unwrap();
        assert!(turns.scan().await.is_err());
        drop(first);
        assert!(turns.scan().await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_without_a_permit_is_refused_in_time() {
        let turns = Turns::default();
        let mut others = Vec::new();
        for _ in 0..MAX_REQUESTS {
            others.push(turns.request().await.unwrap());
        }
        assert!(turns.request().await.is_err());
        others.pop();
        assert!(turns.request().await.is_ok());
    }
}
