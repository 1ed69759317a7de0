//! Limits of a subscription's own: its deadline, and its requests at a time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use tokio::time::{Instant, interval, sleep};

use crate::support::{
    broker::Raw,
    eventually, holds,
    installation::Installation,
    receiver::{Receiver, Reply},
};

/// Counts the requests that are under way.
#[derive(Clone, Default)]
struct UnderWay {
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl UnderWay {
    /// Another one, for this long.
    fn enter(&self, takes: Duration) {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        let count = Arc::clone(&self.now);
        #[expect(clippy::disallowed_methods, reason = "it ends by itself")]
        tokio::spawn(async move {
            // As the endpoint takes.
            sleep(takes).await;
            count.fetch_sub(1, Ordering::SeqCst);
        });
    }

    fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

async fn slow(takes: Duration) -> (Receiver, UnderWay) {
    let under_way = UnderWay::default();
    let counted = under_way.clone();
    let receiver = Receiver::answering(move |_| {
        counted.enter(takes);
        Reply::status(200).after(takes)
    })
    .await;
    (receiver, under_way)
}

/// Goal: endpoints that may take a minute for each request, and take seconds, get their answers
/// counted, no more requests at a time than they take, and delay a quick one by nothing. Method: five
/// of them, with more events than a lane has places, beside a quick one every 20 ms.
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_allowed_a_minute_delays_no_others() {
    const SLOW: usize = 5;
    const EACH: usize = 30;
    const TICKS: usize = 500;
    let settings = "worker.max_in_flight = 128\nendpoint.deadline = \"1s\"\n\
                    endpoint.connect_deadline = \"800ms\"\nheld.queues = 16";
    let installation = Installation::with(&[60_000], settings).await;
    let (receiver, under_way) = slow(Duration::from_secs(4)).await;
    let quick = Receiver::accepting().await;
    for number in 0..SLOW {
        let draft = json!({
            "url": receiver.url(&format!("/{number}")), "topics": [format!("slow.{number}")],
            "deadline": "60s", "max_concurrency": 10,
        });
        installation.subscribe(draft).await;
    }
    installation.subscribe(json!({"url": quick.url("/"), "topics": ["quick"]})).await;
    let running = installation.start();
    installation.wait_for_consumers(1).await;

    for number in 0..SLOW * EACH {
        let topic = format!("slow.{}", number % SLOW);
        installation.publisher.publish(Raw::new(&topic, &format!("s{number}"), "{}")).await;
    }
    let mut clock = interval(Duration::from_millis(20));
    let mut times = Vec::new();
    for tick in 0..TICKS {
        clock.tick().await;
        times.push(Instant::now());
        let raw = Raw::new("quick", &format!("q{tick}"), tick.to_string());
        installation.publisher.publish(raw).await;
    }
    quick.wait_for(TICKS).await;
    let requests = receiver.wait_for(SLOW * EACH).await;
    installation.assert_nothing_waits().await;
    running.stop().await;

    let mut late: Vec<_> = quick
        .requests()
        .iter()
        .map(|request| {
            let tick: usize = String::from_utf8_lossy(&request.body).parse().expect("a number");
            request.at - times[tick]
        })
        .collect();
    late.sort();
    let [median, p99] = [50, 99].map(|percent| late[TICKS * percent / 100]);
    println!("quick: {median:?}, p99 {p99:?}; {} slow ones at a time", under_way.most());
    assert!(p99 < Duration::from_secs(1), "{p99:?}");
    // The receiver's clock is a moment behind.
    assert!(under_way.most() <= SLOW * 11, "{}", under_way.most());
    assert!(requests.iter().all(|request| request.attempt() == 1), "each is accepted");
    assert!(installation.parked().await.is_empty());
}

/// Goal: two workers keep one limit together, it holds one subscription and no other at the same URL,
/// and a change of it holds at once.
#[tokio::test(flavor = "multi_thread")]
async fn requests_at_a_time_are_limited_for_one_subscription() {
    const EVENTS: usize = 40;
    let installation = Installation::with(&[60_000], "").await;
    let (limited, free) = (UnderWay::default(), UnderWay::default());
    let counted = (limited.clone(), free.clone());
    let receiver = Receiver::answering(move |request| {
        let takes = Duration::from_millis(100);
        let is_limited = request.header("x-limited").is_some();
        (if is_limited { &counted.0 } else { &counted.1 }).enter(takes);
        Reply::status(200).after(takes)
    })
    .await;
    let url = receiver.url("/");
    let draft = json!({
        "url": url, "topics": ["limited"], "headers": {"x-limited": "yes"}, "max_concurrency": 4,
    });
    let id = installation.subscribe(draft).await.subscription.id;
    installation.subscribe(json!({"url": url, "topics": ["free"]})).await;
    let workers = [installation.start(), installation.start()];
    installation.wait_for_consumers(2).await;
    let publish = async |topic: &str, begin: usize| {
        for number in begin..begin + EVENTS {
            let id = format!("{topic}-{number}");
            installation.publisher.publish(Raw::new(topic, &id, "{}")).await;
        }
    };
    // Until each knows of the other.
    sleep(Duration::from_secs(6)).await;
    publish("limited", 0).await;
    publish("free", 0).await;
    receiver.wait_for(2 * EVENTS).await;
    installation.assert_nothing_waits().await;
    println!("limited: {} at a time, others: {}", limited.most(), free.most());
    // The receiver's clock is a moment behind.
    assert!(limited.most() <= 6, "{}", limited.most());
    assert!(free.most() > 6, "{}", free.most());

    let none = serde_json::Map::from_iter([("max_concurrency".to_owned(), json!(null))]);
    installation.parts.registry.update(id, none).await.expect("it is taken");
    eventually(async || {
        let begin = receiver.count();
        publish("limited", begin).await;
        receiver.wait_for(begin + EVENTS).await;
        holds(limited.most() > 6, format!("{} at a time", limited.most()))
    })
    .await;
    for worker in workers {
        worker.stop().await;
    }
    assert!(receiver.requests().iter().all(|request| request.attempt() == 1));
}

/// Goal: a deadline that is shorter than that of others ends an attempt, and is refused where there
/// is no time to connect.
#[tokio::test]
async fn a_deadline_of_its_own_ends_an_attempt() {
    let settings = "endpoint.deadline = \"30s\"\nendpoint.connect_deadline = \"500ms\"";
    let installation = Installation::with(&[60_000], settings).await;
    let (receiver, _) = slow(Duration::from_secs(20)).await;
    let draft =
        |deadline: &str| json!({"url": receiver.url("/"), "topics": ["#"], "deadline": deadline});
    let too_short = serde_json::from_value(draft("500ms")).expect("a draft");
    let refused = installation.parts.registry.create(too_short).await;
    let refused = refused.expect_err("nothing is left").to_string();
    assert!(refused.contains("`endpoint.connect_deadline`"), "{refused}");
    installation.subscribe(draft("1s")).await;
    let running = installation.start();
    let began = Instant::now();
    installation.publisher.publish(Raw::new("t", "e", "{}")).await;
    let waits = installation.corner.topology.names().wait(Duration::from_secs(60));
    installation.wait_for_depth(&waits, 1).await;
    let took = began.elapsed();
    assert!(took > Duration::from_secs(1) && took < Duration::from_secs(10), "{took:?}");
    running.stop().await;
}
