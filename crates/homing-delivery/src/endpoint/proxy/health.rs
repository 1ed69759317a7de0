//! The state of the proxy. While it fails, it is asked once a second: what comes in between fails
//! at once, or a proxy that takes connections and is silent would fill the lanes.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::{error, info};

use super::error::ProxyError;
use crate::endpoint::describe::describe;
use homing_domain::{clock, time::UnixMillis};

/// A proxy that fails is asked this often.
const ASK_INTERVAL: Duration = Duration::from_secs(1);
/// While it fails, there is a line this often.
const LINE_INTERVAL: Duration = Duration::from_secs(60);

/// The failure of the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyProblem {
    /// Since when it fails.
    pub since: UnixMillis,
    /// The last error, without the proxy's address and login.
    pub why: String,
}

/// The state of one proxy, as this process knows it.
#[derive(Default)]
pub(super) struct Health(Mutex<Option<Failing>>);

struct Failing {
    problem: ProxyProblem,
    ask_at: Instant,
    line_at: Instant,
}

impl Health {
    /// Allows a request to the proxy.
    ///
    /// # Errors
    ///
    /// [`ProxyError::Down`]: it fails, and another request has asked it a moment ago.
    pub(super) fn admit(&self) -> Result<(), ProxyError> {
        let now = Instant::now();
        match &mut *self.0.lock() {
            Some(failing) if now < failing.ask_at => {
                Err(ProxyError::Down(failing.problem.why.clone()))
            }
            Some(failing) => {
                failing.ask_at = now + ASK_INTERVAL;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Notes that the proxy answers.
    pub(super) fn answers(&self) {
        let mut state = self.0.lock();
        if let Some(Failing { problem, .. }) = state.take() {
            let failed_ms = clock::now().since(problem.since).as_millis();
            info!(failed_ms, "proxy.recovered: attempts are made again");
        }
    }

    /// Notes a failure, if it concerns all requests.
    pub(super) fn failed(&self, why: &ProxyError) {
        if !why.concerns_all() {
            return;
        }
        let (now, why) = (Instant::now(), describe(why));
        let mut state = self.0.lock();
        let failing = state.get_or_insert_with(|| Failing {
            problem: ProxyProblem { since: clock::now(), why: String::new() },
            ask_at: now,
            line_at: now,
        });
        failing.problem.why = why;
        failing.ask_at = now + ASK_INTERVAL;
        if now >= failing.line_at {
            failing.line_at = now + LINE_INTERVAL;
            let ProxyProblem { since, why } = &failing.problem;
            error!(error = why, %since, "proxy.failed: no attempts are made through it, deliveries wait");
        }
    }

    /// The present failure.
    pub(super) fn problem(&self) -> Option<ProxyProblem> {
        self.0.lock().as_ref().map(|failing| failing.problem.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_proxy_that_fails_is_asked_once_a_second() {
        let health = Health::default();
        assert!(health.admit().is_ok());
        health.failed(&ProxyError::Failed("of one host".to_owned()));
        assert_eq!((health.admit().is_ok(), health.problem()), (true, None));
        health.failed(&ProxyError::Silent);
        assert!(matches!(health.admit(), Err(ProxyError::Down(why)) if why.contains("answer")));
        tokio::time::advance(ASK_INTERVAL).await;
        assert!(health.admit().is_ok());
        assert!(health.admit().is_err(), "one is under way");
        let since = health.problem().unwrap().since;
        health.failed(&ProxyError::Login("407".to_owned()));
        let problem = health.problem().unwrap();
        assert_eq!(problem.since, since);
        assert!(problem.why.contains("407"), "{problem:?}");
        health.answers();
        assert_eq!((health.admit().is_ok(), health.problem()), (true, None));
    }
}
