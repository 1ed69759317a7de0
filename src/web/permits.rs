//! Permits: limits on the number of requests and batches at one time.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit},
    time::timeout,
};

use super::problem::{Kind, Problem};

/// Concurrent requests.
const MAX_REQUESTS: usize = 64;
/// Concurrent batches, each of which is in memory in several forms.
const MAX_BATCHES: usize = 4;
/// Concurrent lists of parked deliveries with bodies, exports of them, and actions on them, each of
/// which has up to 32 MiB in memory.
const MAX_PARKED: usize = 8;
/// Pages that are kept current at one time; further ones have to be reloaded by hand.
#[cfg(feature = "dashboard")]
const MAX_STREAMS: usize = 64;
/// The wait for a permit before a request is refused.
const DEADLINE: Duration = Duration::from_secs(10);

/// The permits of one process; cheap to clone.
#[derive(Clone)]
pub(crate) struct Permits {
    requests: Arc<Semaphore>,
    batches: Arc<Semaphore>,
    parked: Arc<Semaphore>,
    #[cfg(feature = "dashboard")]
    streams: Arc<Semaphore>,
}

/// The reason why there is no permit: all were taken, for ten seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Busy {
    /// Those of requests.
    #[error("too many concurrent requests; this one was not started, try again")]
    Requests,
    /// Those of parked deliveries.
    #[error(
        "as many lists with bodies, exports and actions on parked deliveries run as may at a time; \
         this one was not started, try again"
    )]
    Parked,
}

impl From<Busy> for Problem {
    fn from(busy: Busy) -> Self {
        Self::new(Kind::Busy, busy.to_string())
    }
}

impl Default for Permits {
    fn default() -> Self {
        let permits = |number| Arc::new(Semaphore::new(number));
        Self {
            requests: permits(MAX_REQUESTS),
            batches: permits(MAX_BATCHES),
            parked: permits(MAX_PARKED),
            #[cfg(feature = "dashboard")]
            streams: permits(MAX_STREAMS),
        }
    }
}

impl Permits {
    /// The permit of a request.
    ///
    /// # Errors
    ///
    /// [`Busy`], after ten seconds.
    ///
    /// # Cancel safety
    ///
    /// Dropped, no permit was taken.
    pub(crate) async fn request(&self) -> Result<SemaphorePermit<'_>, Busy> {
        let permit = timeout(DEADLINE, self.requests.acquire()).await;
        permit.map_err(|_elapsed| Busy::Requests)?.map_err(|_closed| Busy::Requests)
    }

    /// The permit of a batch of events; a request has its deadline to wait for it.
    ///
    /// # Cancel safety
    ///
    /// Dropped, no permit was taken.
    pub(crate) async fn batch(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed.
        Arc::clone(&self.batches).acquire_owned().await.ok()
    }

    /// The permit of a list with bodies, an export or an action on parked deliveries.
    ///
    /// # Errors
    ///
    /// [`Busy`], after ten seconds.
    ///
    /// # Cancel safety
    ///
    /// Dropped, no permit was taken.
    pub(crate) async fn parked(&self) -> Result<SemaphorePermit<'_>, Busy> {
        let permit = timeout(DEADLINE, self.parked.acquire()).await;
        permit.map_err(|_elapsed| Busy::Parked)?.map_err(|_closed| Busy::Parked)
    }

    /// The permit of a page that is kept current; `None`: all are taken.
    #[cfg(feature = "dashboard")]
    pub(crate) fn stream(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.streams).try_acquire_owned().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_request_without_a_permit_is_refused_in_time() {
        let permits = Permits::default();
        let mut others = Vec::new();
        for _ in 0..MAX_REQUESTS {
            others.push(permits.request().await.unwrap());
        }
        assert!(permits.request().await.is_err());
        others.pop();
        assert!(permits.request().await.is_ok());
    }
}
