//! Permits and their waits.

use super::*;

fn limits(max_concurrency: usize, permit_wait: Duration) -> Limits {
    Limits::new(max_concurrency, (permit_wait, Duration::from_secs(5)), 512)
}

/// Takes a permit for a new event.
async fn enter(
    limits: &Limits,
    url: &EndpointUrl,
    max_per_second: Option<NonZeroU32>,
) -> Option<Permit> {
    limits.enter(&limits.gate(url), Lane::Primary, max_per_second).await
}

fn url(text: &str) -> EndpointUrl {
    text.parse().unwrap()
}

/// Goal: a URL that hangs holds its permits and places, and no more. Method: virtual time.
#[tokio::test(start_paused = true)]
async fn a_full_url_throttles_its_deliveries_and_delays_no_other() {
    let limits = limits(2, Duration::from_millis(200));
    let hung = url("https://hung.example/");
    let _first = enter(&limits, &hung, None).await.unwrap();
    let second = enter(&limits, &hung, None).await.unwrap();

    let started = tokio::time::Instant::now();
    assert!(enter(&limits, &hung, None).await.is_none());
    assert_eq!(started.elapsed(), Duration::from_millis(200));
    assert!(enter(&limits, &url("https://well.example/"), None).await.is_some());

    drop(second);
    assert!(enter(&limits, &hung, None).await.is_some());
}

/// Goal: few deliveries wait for a URL known to hang. Method: virtual time.
#[tokio::test(start_paused = true)]
async fn after_a_permit_wait_timed_out_as_many_wait_as_may_be_in_flight() {
    let limits = limits(1, Duration::from_secs(1));
    let hung = url("https://hung.example/");
    let held = enter(&limits, &hung, None).await.unwrap();
    assert!(enter(&limits, &hung, None).await.is_none());
    let waiting = enter(&limits, &hung, None);
    tokio::pin!(waiting);
    assert!(futures_util::poll!(waiting.as_mut()).is_pending());

    let started = Instant::now();
    assert!(enter(&limits, &hung, None).await.is_none());
    assert_eq!(started.elapsed(), Duration::ZERO);

    drop(held);
    assert!(waiting.await.is_some());
}

/// Goal: no delivery is throttled that would have got a permit in time. Method: virtual time; a
/// URL that takes 20 ms for each of 100 concurrent deliveries, all of which wait, and a slow
/// one that takes 10 in the time that a delivery may wait.
#[tokio::test(start_paused = true)]
async fn as_many_wait_as_will_get_a_permit() {
    let attempt = async |limits: &Limits, url: &EndpointUrl| {
        let permit = enter(limits, url, None).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        permit.is_some()
    };
    let limits = limits(10, Duration::from_millis(200));
    let fast = url("https://fast.example/");
    let all = futures_util::future::join_all((0..100).map(|_| attempt(&limits, &fast))).await;
    assert_eq!(all.iter().filter(|entered| **entered).count(), 100);

    // Twice as many are too many; from then on the rest is throttled at once.
    let all = futures_util::future::join_all((0..200).map(|_| attempt(&limits, &fast))).await;
    assert!((100..=120).contains(&all.iter().filter(|entered| **entered).count()));
    let started = Instant::now();
    let all = futures_util::future::join_all((0..200).map(|_| attempt(&limits, &fast))).await;
    assert!((90..=120).contains(&all.iter().filter(|entered| **entered).count()));
    assert!(started.elapsed() <= Duration::from_millis(240), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_url_that_recovers_gets_twice_as_many_with_every_success() {
    let limits = limits(6, Duration::ZERO);
    let url = url("https://example.com/");
    limits.start_slowly(&url);
    let accepted = Outcome::Accepted { status: 200 };
    for expected in [1, 2, 4, 6, 6] {
        let mut permits = Vec::new();
        while let Some(permit) = enter(&limits, &url, None).await {
            permits.push(permit);
        }
        assert_eq!(permits.len(), expected);
        let taken = u32::try_from(expected).unwrap();
        assert_eq!(limits.in_flight(), [(url.as_str().to_owned(), taken)]);
        permits.remove(0).ended(&accepted, Duration::ZERO);
    }
    assert_eq!(limits.in_flight(), []);
}

/// Goal: the limit is the pool's. Method: real time, because the limiter has its own clock; 20
/// per second shared by two workers is one every 100 ms.
#[tokio::test]
async fn a_rate_limit_is_shared_by_the_workers() {
    let limits = limits(10, Duration::ZERO);
    limits.share_with(2);
    let url = url("https://example.com/");
    let max_per_second = NonZeroU32::new(20);
    let started = tokio::time::Instant::now();
    for _ in 0..4 {
        assert!(enter(&limits, &url, max_per_second).await.is_some());
    }
    assert!(started.elapsed() >= Duration::from_millis(299), "{:?}", started.elapsed());
}

#[tokio::test]
async fn urls_that_are_not_in_use_are_forgotten() {
    let limits = limits(2, Duration::ZERO);
    let permit = enter(&limits, &url("https://a.example/"), None).await;
    drop(enter(&limits, &url("https://b.example/"), None).await);
    limits.start_slowly(&url("https://c.example/"));
    limits.forget_idle();
    assert_eq!(limits.gates.lock().len(), 2);
    drop(permit);
    limits.forget_idle();
    assert_eq!(limits.gates.lock().len(), 1);
}
