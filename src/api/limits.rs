//! How long a request may take, and how many there may be at once.

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

/// For a request as a whole, its body and its waiting for a turn included.
pub(super) const DEADLINE: Duration = Duration::from_secs(30);
/// For going through what is parked, all of it: a million messages are counted in two to three
/// minutes (docs/PERFORMANCE.md), or sixty thousand are replayed at the pace that spares an endpoint.
pub(super) const SCAN_DEADLINE: Duration = Duration::from_mins(10);
/// Requests that are worked on.
const MAX_REQUESTS: usize = 64;
/// Batches that are worked on, each of which is in memory in several forms.
const MAX_BATCHES: usize = 4;
/// Size of the largest JSON body, except for batches.
pub(super) const MAX_JSON_BYTES: usize = 256 * 1_024;
/// Size of a batch of events.
pub(super) const MAX_BATCH_BYTES: usize = 8 * 1_024 * 1_024;
/// For others to end before a request is turned away that nobody has begun with.
const TURN_DEADLINE: Duration = Duration::from_secs(10);
/// For a walk that is under way to end before another one is turned away.
const SCAN_TURN_DEADLINE: Duration = Duration::from_secs(10);

/// Who may go on at this moment.
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
    /// The right to be worked for.
    pub(super) async fn request(&self) -> Result<SemaphorePermit<'_>, Problem> {
        let busy = || {
            let detail = "too many requests are worked on; this one was not begun, try again";
            Problem::new(Kind::Busy, detail)
        };
        let turn = timeout(TURN_DEADLINE, self.requests.acquire()).await;
        turn.map_err(|_elapsed| busy())?.map_err(|_closed| busy())
    }

    /// The right to walk through the parked messages. One at a time: two scans hide messages from
    /// each other, so that a look would make a replay miss some.
    pub(super) async fn scan(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let busy = || {
            let detail = "another request is going through the parked messages, one does at a time";
            Problem::new(Kind::Busy, detail)
        };
        let turn = timeout(SCAN_TURN_DEADLINE, Arc::clone(&self.scans).acquire_owned()).await;
        turn.map_err(|_elapsed| busy())?.map_err(|_closed| busy())
    }

    /// The right to work on a batch of events.
    pub(super) async fn batch(&self) -> Option<OwnedSemaphorePermit> {
        // Nobody closes the semaphore.
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

/// Gives up a request after a time.
pub(super) async fn deadline(
    State(time): State<Duration>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    timeout(time, next.run(request)).await.map_err(|_elapsed| {
        let seconds = time.as_secs();
        let detail = format!("no answer within {seconds} s; what was asked may be done or not");
        Problem::new(Kind::TimedOut, detail)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn two_walks_never_overlap_and_the_second_is_told_so() {
        let turns = Turns::default();
        let first = turns.scan().await.unwrap();
        assert!(turns.scan().await.is_err());
        drop(first);
        assert!(turns.scan().await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_finds_no_turn_is_refused_in_time() {
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
