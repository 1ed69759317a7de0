//! The limits of one subscription, within those of its URL: requests per second, and at a time.
//!
//! All workers share them: each takes its part, evenly spaced, and makes one request at a time at
//! least.

use std::{collections::HashMap, num::NonZeroU32, sync::Arc, time::Duration};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use homing_domain::{id::SubscriptionId, subscription::Subscription};

/// Rate limits of one URL above which those that hold nothing back now are dropped.
const MAX_IDLE_LIMITS: usize = 64;

/// Of a minute.
const SECONDS: NonZeroU32 = NonZeroU32::MIN.saturating_add(59);

/// Semaphores of one URL above which those that are not in use are dropped.
const MAX_UNUSED: usize = 64;

/// The limits of one subscription.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::worker) struct OwnLimits {
    /// Requests per minute.
    pub(in crate::worker) rate: Option<NonZeroU32>,
    /// Requests at a time.
    pub(in crate::worker) concurrency: Option<(SubscriptionId, NonZeroU32)>,
}

impl OwnLimits {
    pub(in crate::worker) fn of(subscription: &Subscription) -> Self {
        let spec = &subscription.spec;
        let concurrency = spec.max_concurrency.map(|limit| (subscription.id, limit));
        let own = spec.rate_limit.map(|limit| limit.saturating_mul(SECONDS));
        let rate = own.into_iter().chain(spec.allowed_rate()).min();
        Self { rate, concurrency }
    }

    /// The rate as text.
    pub(in crate::worker) fn rate_text(self) -> Option<String> {
        let rate = self.rate?.get();
        let per_second = rate.checked_div(SECONDS.get()).filter(|_| rate.is_multiple_of(60));
        Some(per_second.map_or_else(|| format!("{rate}/min"), |rate| format!("{rate}/s")))
    }

    /// True if there is one.
    pub(in crate::worker) fn are_any(self) -> bool {
        self.rate.is_some() || self.concurrency.is_some()
    }
}

/// A rate limit, and the number of workers that share it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct RateLimit {
    pub(super) max_per_minute: NonZeroU32,
    pub(super) workers: u32,
}

impl RateLimit {
    /// Between two requests of one worker.
    pub(super) fn period(self) -> Duration {
        let period = Duration::from_secs(60).saturating_mul(self.workers);
        (period / self.max_per_minute.get()).max(Duration::from_nanos(1))
    }

    /// One worker's share, evenly spaced: endpoints with limits refuse bursts.
    pub(super) fn limiter(self) -> DefaultDirectRateLimiter {
        let quota = Quota::with_period(self.period());
        RateLimiter::direct(quota.unwrap_or(Quota::per_minute(self.max_per_minute)))
    }
}

/// Limiters of the starts of requests to one URL, by their limits: subscriptions may have different
/// ones.
#[derive(Default)]
pub(super) struct Limiters(Mutex<HashMap<RateLimit, Arc<DefaultDirectRateLimiter>>>);

impl Limiters {
    /// The limiter of `limit`, with which others of that number of workers are kept. One that is
    /// dropped would let the next request pass, as a new one does.
    pub(super) fn of(&self, limit: RateLimit) -> Arc<DefaultDirectRateLimiter> {
        let mut limiters = self.0.lock();
        limiters.retain(|other, _| other.workers == limit.workers);
        if limiters.len() >= MAX_IDLE_LIMITS && !limiters.contains_key(&limit) {
            limiters.retain(|_, one| Arc::strong_count(one) > 1 || one.check().is_err());
        }
        Arc::clone(limiters.entry(limit).or_insert_with(|| Arc::new(limit.limiter())))
    }
}

/// Permits of the subscriptions of one URL that have a concurrency of their own.
#[derive(Default)]
pub(super) struct Semaphores(Mutex<HashMap<SubscriptionId, (usize, Arc<Semaphore>)>>);

impl Semaphores {
    /// The permits of a subscription with the limits `own`, of which this worker, one of `workers`,
    /// has its part; `None`: it has no concurrency of its own.
    ///
    /// When the limit changes, or the number of workers, new permits replace the former ones, which
    /// requests that are under way still have.
    pub(super) fn of(&self, own: OwnLimits, workers: u32) -> Option<Arc<Semaphore>> {
        let (subscription, limit) = own.concurrency?;
        let share = (limit.get() / workers.max(1)).max(1);
        let share = usize::try_from(share).unwrap_or(usize::MAX);
        let mut kept = self.0.lock();
        if kept.len() >= MAX_UNUSED && !kept.contains_key(&subscription) {
            kept.retain(|_, (_, permits)| Arc::strong_count(permits) > 1);
        }
        let new = || (share, Arc::new(Semaphore::new(share)));
        let (present, permits) = kept.entry(subscription).or_insert_with(new);
        if *present != share {
            (*present, *permits) = new();
        }
        Some(Arc::clone(permits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use homing_domain::{
        subscription::{Consent, Draft, VerificationMethod},
        time::UnixMillis,
    };

    fn limited(subscription: u8, limit: u32) -> OwnLimits {
        let id = format!("01931f5a-9c4e-7000-8000-0000000000{subscription:02}");
        let concurrency = (id.parse().unwrap(), NonZeroU32::new(limit).unwrap());
        OwnLimits { concurrency: Some(concurrency), ..OwnLimits::default() }
    }

    #[test]
    fn the_lower_rate_counts_and_is_shown() {
        let own = |rate_limit: Option<u32>, allowed: Option<u32>| {
            let changes = serde_json::json!({
                "url": "https://a.example/", "topics": ["t"], "rate_limit": rate_limit,
                "verification": "handshake",
            });
            let draft: Draft = serde_json::from_value(changes).unwrap();
            let spec = draft.build(&[]).unwrap();
            let (id, now) = (SubscriptionId::new(uuid::Uuid::from_u128(1)), UnixMillis::new(0));
            let mut one = Subscription { id, spec, created: now, updated: now };
            let (method, allowed) =
                (VerificationMethod::Handshake, allowed.and_then(NonZeroU32::new));
            let consent = Consent::new(method, &one.spec.url, now, allowed);
            one.spec.verification.as_mut().unwrap().consent = Some(consent);
            OwnLimits::of(&one).rate_text()
        };
        assert_eq!(own(None, None), None);
        assert_eq!(own(Some(5), None).as_deref(), Some("5/s"));
        assert_eq!(own(None, Some(30)).as_deref(), Some("30/min"));
        assert_eq!(own(Some(5), Some(120)).as_deref(), Some("2/s"));
        assert_eq!(own(Some(1), Some(120)).as_deref(), Some("1/s"));
    }

    /// Goal: each of very many limits at one URL holds back, and those that hold nothing back take
    /// no room. Method: a request a minute at most.
    #[test]
    fn many_rate_limits_at_one_url_are_all_kept() {
        let limits = |workers| {
            let of = move |max| RateLimit { max_per_minute: max, workers };
            (1..=500).filter_map(NonZeroU32::new).map(of)
        };
        let all = Limiters::default();
        assert!(limits(500).all(|limit| all.of(limit).check().is_ok()), "the first one passes");
        assert!(limits(500).all(|limit| all.of(limit).check().is_err()), "the second one waits");
        let idle = Limiters::default();
        limits(1).for_each(|limit| drop(idle.of(limit)));
        assert!(idle.0.lock().len() <= MAX_IDLE_LIMITS, "none of them was used");
    }

    #[test]
    fn each_worker_has_its_part_and_one_at_least() {
        let permits = |limit, workers| {
            let all = Semaphores::default();
            all.of(limited(1, limit), workers).unwrap().available_permits()
        };
        assert_eq!([permits(8, 1), permits(8, 3), permits(2, 4)], [8, 2, 1]);
        assert!(Semaphores::default().of(OwnLimits::default(), 1).is_none());
    }

    #[test]
    fn subscriptions_of_one_url_have_permits_of_their_own() {
        let all = Semaphores::default();
        let one = all.of(limited(1, 1), 1).unwrap();
        let _taken = Arc::clone(&one).try_acquire_owned().unwrap();
        assert!(all.of(limited(1, 1), 1).unwrap().try_acquire().is_err());
        assert!(all.of(limited(2, 1), 1).unwrap().try_acquire().is_ok());
        // A change of the limit.
        assert!(all.of(limited(1, 2), 1).unwrap().try_acquire().is_ok());
    }
}
