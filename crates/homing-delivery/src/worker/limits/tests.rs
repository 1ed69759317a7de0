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
    limits.enter(&limits.gate(url), Lane::Primary, rate(max_per_second)).await
}

/// With so many requests per second.
fn rate(rate: Option<NonZeroU32>) -> OwnLimits {
    let rate = rate.map(|rate| rate.saturating_mul(NonZeroU32::new(60).unwrap()));
    OwnLimits { rate, ..OwnLimits::default() }
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

/// Goal: a rate limit holds after a pause of the endpoint, too. Method: real time, because the
/// limiter has its own clock; at 20 per second, all permits are taken for 300 ms.
#[tokio::test]
async fn what_waited_for_a_permit_is_not_sent_in_a_burst() {
    let limits = limits(8, Duration::from_secs(1));
    let gate = limits.gate(&url("https://example.com/"));
    let enter = |max_per_second| limits.enter_in_turn(&gate, 0, rate(max_per_second), false);
    let stalled = futures_util::future::join_all((0..8).map(|_| enter(None))).await;
    let waiting = futures_util::future::join_all((0..8).map(|_| enter(NonZeroU32::new(20))));
    tokio::pin!(waiting);
    let pause = Duration::from_millis(300);
    assert!(tokio::time::timeout(pause, &mut waiting).await.is_err());
    drop(stalled);
    let resumed = Instant::now();
    assert!(waiting.await.iter().all(Option::is_some));
    assert!(resumed.elapsed() >= Duration::from_millis(349), "{:?}", resumed.elapsed());
}

/// Goal: what waits for a rate limit or a place of the held share keeps no permits from others, and
/// wakes one at a time. Method: another URL has all places.
#[tokio::test(start_paused = true)]
async fn what_waits_in_turn_holds_one_permit_at_most() {
    let limits = limits(2_000, Duration::from_secs(1));
    let gate = |of: &str| limits.gate(&url(of));
    let (other, gate) = (gate("https://other.example/"), gate("https://example.com/"));
    let mut taken = Vec::new();
    for _ in 0..2 * 512 {
        taken.push(limits.enter_in_turn(&other, 0, rate(None), false).await);
    }
    let first = limits.enter_in_turn(&gate, 1, rate(None), false).await;
    let waiting = (0..8).map(|_| Box::pin(limits.enter_in_turn(&gate, 1, rate(None), false)));
    let mut waiting: Vec<_> = waiting.collect();
    for entering in &mut waiting {
        assert!(futures_util::poll!(entering).is_pending());
    }
    assert_eq!(gate.permits.taken(), 2);
    taken.truncate(512);
    assert!(futures_util::future::join_all(waiting).await.iter().all(Option::is_some));
    assert_eq!(gate.permits.taken(), 1, "theirs are given back");
    drop(first);
}

/// Goal: a URL of which all deliveries are held is watched, too: its permits follow what it takes.
#[tokio::test(start_paused = true)]
async fn what_comes_from_a_held_queue_is_watched() {
    let limits = limits(8, Duration::from_secs(1));
    let gate = limits.gate(&url("https://example.com/"));
    (0..3).for_each(|_| gate.pace.not_admitted(Obstacle::Endpoint));
    assert!(gate.is_slow(false));
    for _ in 0..5 {
        let permit = limits.enter_in_turn(&gate, 0, rate(None), false).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        let refused = Outcome::Refused { status: 429, retry_after: None };
        permit.ended(&refused, Duration::from_millis(10));
    }
    assert!(!gate.permits.is_whole());
    let permits = std::iter::from_fn(|| gate.permits.try_take());
    assert_eq!(permits.collect::<Vec<_>>().len(), 4);
}

/// Goal: no delivery waits for ever in the shared queue, and one of a held queue is late, not
/// refused.
#[tokio::test(start_paused = true)]
async fn what_waits_for_long_in_turn_keeps_its_url_slow() {
    let limits = limits(1, Duration::from_millis(200));
    let gate = limits.gate(&url("https://example.com/"));
    (0..3).for_each(|_| gate.pace.not_admitted(Obstacle::Endpoint));
    let hung = limits.enter_in_turn(&gate, 0, rate(None), false).await;
    assert!(limits.enter_in_turn(&gate, 1, rate(None), true).await.is_none());
    let late = limits.enter_in_turn(&gate, 0, rate(None), false);
    tokio::pin!(late);
    assert!(timeout(Duration::from_secs(60), &mut late).await.is_err());
    assert!(gate.is_slow(false));
    drop(hung);
    assert!(late.await.is_some());
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert!(!gate.is_slow(false));
}

/// Goal: what waits in turn for its rate limit keeps no other from the lanes. Method: real time,
/// because the limiter has its own clock; one request each 10 s.
#[tokio::test]
async fn what_waits_in_turn_for_its_rate_limit_makes_its_url_not_slow() {
    let limits = limits(8, Duration::from_millis(20));
    let limits = Limits { rate_wait: Duration::from_millis(20), ..limits };
    limits.share_with(10);
    let gate = limits.gate(&url("https://example.com/"));
    let limit = NonZeroU32::new(1);
    for _ in 0..5 {
        drop(limits.enter(&gate, Lane::Primary, rate(limit)).await);
    }
    assert_eq!((gate.is_slow(false), gate.is_slow(true)), (false, true));
    let waiting = limits.enter_in_turn(&gate, 0, rate(limit), false);
    assert!(timeout(Duration::from_millis(60), waiting).await.is_err());
    assert_eq!((gate.is_slow(false), gate.is_slow(true)), (false, true));
    assert!(limits.enter_in_turn(&gate, 0, rate(None), false).await.is_some());
}

/// Goal: subscriptions of one URL with different limits keep both. Method: real time, because the
/// limiter has its own clock; each in turn.
#[tokio::test]
async fn each_rate_limit_of_a_url_is_kept() {
    let limits = limits(10, Duration::ZERO);
    let url = url("https://example.com/");
    let started = tokio::time::Instant::now();
    for _ in 0..3 {
        for max_per_second in [10, 100] {
            let max_per_second = NonZeroU32::new(max_per_second);
            assert!(enter(&limits, &url, max_per_second).await.is_some());
        }
    }
    assert!(started.elapsed() >= Duration::from_millis(199), "{:?}", started.elapsed());
}

/// Goal: a subscription with a concurrency of its own gets no more, and keeps no others from its URL,
/// neither in the lanes nor in turn. Method: virtual time.
#[tokio::test(start_paused = true)]
async fn a_concurrency_of_its_own_holds_one_subscription() {
    let limits = limits(64, Duration::from_millis(200));
    let gate = limits.gate(&url("https://a.example/"));
    let id = "01931f5a-9c4e-7000-8000-000000000001".parse().unwrap();
    let concurrency = NonZeroU32::new(2).map(|limit| (id, limit));
    let own = OwnLimits { concurrency, ..OwnLimits::default() };
    let others = OwnLimits::default();

    let first = limits.enter(&gate, Lane::Primary, own).await.unwrap();
    let _second = limits.enter_in_turn(&gate, 0, own, false).await.unwrap();
    let started = Instant::now();
    for _ in 0..3 {
        assert!(limits.enter(&gate, Lane::Primary, own).await.is_none());
    }
    assert_eq!(started.elapsed(), Duration::from_millis(600), "each waited for its time");
    assert!(gate.is_slow(true) && !gate.is_slow(false), "it leaves the lanes, others stay");
    assert!(limits.enter(&gate, Lane::Primary, others).await.is_some());

    let third = Box::pin(limits.enter_in_turn(&gate, 0, own, false));
    tokio::pin!(third);
    assert!(futures_util::poll!(&mut third).is_pending());
    assert!(limits.enter_in_turn(&gate, 0, others, false).await.is_some());
    drop(first);
    assert!(third.await.is_some());
}
