//! Limits log lines that would otherwise appear for each of very many deliveries.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use homing_domain::url::EndpointUrl;
use parking_lot::Mutex;

/// The URLs that were logged recently.
#[derive(Default)]
pub(super) struct OnceAMinute(Mutex<HashMap<EndpointUrl, Instant>>);

impl OnceAMinute {
    /// True if a line about `url` is due; then not again for a minute.
    pub(super) fn is_due(&self, url: &EndpointUrl) -> bool {
        /// More URLs add nothing new.
        const MAX_URLS: usize = 100;
        const INTERVAL: Duration = Duration::from_secs(60);
        let mut logged = self.0.lock();
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
