//! Log lines that would come once for each of very many deliveries.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use homing_domain::url::EndpointUrl;

/// URLs of which the log has said something lately.
#[derive(Default)]
pub(super) struct OnceAMinute(Mutex<HashMap<EndpointUrl, Instant>>);

impl OnceAMinute {
    /// Whether a line about `url` is due; it is not again for a minute.
    pub(super) fn is_due(&self, url: &EndpointUrl) -> bool {
        /// More of them say nothing new.
        const MAX_URLS: usize = 100;
        const INTERVAL: Duration = Duration::from_secs(60);
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        logged.retain(|_url, at| at.elapsed() < INTERVAL);
        if logged.len() >= MAX_URLS || logged.contains_key(url) {
            return false;
        }
        logged.insert(url.clone(), Instant::now());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_url_is_logged_once_a_minute() {
        let (once, minute) = (OnceAMinute::default(), Duration::from_secs(60));
        let [a, b] = ["https://example.com/a", "https://example.com/b"]
            .map(|url| url.parse::<EndpointUrl>().unwrap());
        assert_eq!([&a, &a, &b, &a].map(|url| once.is_due(url)), [true, false, true, false]);
        tokio::time::advance(minute).await;
        assert_eq!([&b, &b].map(|url| once.is_due(url)), [true, false]);
    }
}
