//! Circuits can be seen and set; exactly what a circuit parked meanwhile is sent again.

use std::time::Duration;

use bytes::Bytes;
use homing_broker::{Message, Route};
use homing_domain::{
    clock,
    delivery::Progress,
    event::Event,
    id::{EventId, SubscriptionId},
    topic::Topic,
    verdict::ParkReason,
};
use homing_store::Intervention;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Answer, Running, start, start_with};
use crate::support::{
    broker::Raw,
    eventually, holds,
    receiver::{Receiver, Reply},
};

const HOOK: &str = "https://example.com/hook";

impl Running {
    async fn set(&self, url: &str, intervention: Intervention) {
        let circuits = &self.installation.parts.circuits;
        let url = url.parse().expect("a URL");
        circuits.set(&url, intervention).await.expect("the store answers");
    }

    /// Parks one delivery of a new event for each of these.
    async fn park(&self, parked: &[(SubscriptionId, ParkReason)]) {
        let broker = &self.installation.parts.broker;
        for (subscription, reason) in parked {
            let event = Event {
                id: EventId::from(clock::new_id()),
                topic: Topic::new("order.paid").expect("a topic"),
                content_type: "application/json".to_owned(),
                content_encoding: None,
                body: Bytes::from_static(b"{}"),
            };
            let message = Message::of_event(event)
                .for_subscription(*subscription, Progress::default())
                .parked(*reason, clock::now());
            broker.publish(&message.outgoing(), Route::Parked).await.expect("it is parked");
        }
        let count = u32::try_from(parked.len()).expect("few");
        self.installation.wait_for_parked(count).await;
    }

    async fn show(&self, url: &str) -> Value {
        let url: String = url::form_urlencoded::byte_serialize(url.as_bytes()).collect();
        self.get(&format!("/v1/endpoints/get?parked=true&url={url}")).await.expect(200).body
    }
}

/// The URLs listed, and what leads to the next page.
fn urls(answer: Answer) -> (Vec<String>, Value) {
    let answer = answer.expect(200);
    assert_eq!(answer.body.get("corrupt"), None);
    let endpoints = answer.body.get("endpoints").and_then(Value::as_array).expect("a list");
    let url = |endpoint: &Value| endpoint.get("url").and_then(Value::as_str).map(str::to_owned);
    let urls = endpoints.iter().map(|endpoint| url(endpoint).expect("a URL"));
    (urls.collect(), answer.body.get("next").cloned().unwrap_or_default())
}

#[tokio::test]
async fn endpoints_are_listed_by_state_and_page() {
    let running = start().await;
    assert_eq!(urls(running.get("/v1/endpoints").await), (Vec::new(), Value::Null));
    for number in 0..3 {
        running.set(&format!("{HOOK}/{number}"), Intervention::Disable).await;
    }
    running.set(&format!("{HOOK}/1"), Intervention::Enable).await;

    let (all, next) = urls(running.get("/v1/endpoints").await);
    assert_eq!(all, [0, 1, 2].map(|number| format!("{HOOK}/{number}")));
    assert_eq!(next, Value::Null);
    let (frozen, _) = urls(running.get("/v1/endpoints?state=frozen").await);
    assert_eq!(frozen, [0, 2].map(|number| format!("{HOOK}/{number}")));
    let (closed, _) = urls(running.get("/v1/endpoints?state=closed").await);
    assert_eq!(closed, [format!("{HOOK}/1")]);

    let (first, next) = urls(running.get("/v1/endpoints?limit=2").await);
    let next = next.as_str().expect("there are more");
    let (second, last) = urls(running.get(&format!("/v1/endpoints?limit=2&after={next}")).await);
    assert_eq!(([first, second].concat(), last), (all, Value::Null));
}

#[tokio::test]
async fn an_endpoint_is_shown_also_where_nothing_was_ever_attempted() {
    let running = start().await;
    let shown = running.show("HTTPS://Example.com:443/hook#part").await;
    assert_eq!(shown["url"], HOOK);
    assert_eq!((&shown["state"], &shown["reason"]), (&json!("closed"), &Value::Null));
    assert_eq!((&shown["parked"], &shown["arriving"]["messages"]), (&json!(0), &json!(0)));
    for count in ["successes", "failures", "consecutive_failures"] {
        assert_eq!(shown[count], 0, "{count}");
    }
    for instant in ["last_success", "last_outcome", "next_probe"] {
        assert_eq!(shown[instant], Value::Null, "{instant}");
    }
    let path = format!("/v1/endpoints/get?url={HOOK}");
    assert_eq!(
        running.get(&path).await.expect(200).body.get("parked"),
        None,
        "it was not requested"
    );

    running.set(HOOK, Intervention::Gone).await;
    let shown = running.show(HOOK).await;
    assert_eq!(shown["state"], "frozen");
    assert_eq!(shown["reason"], "the endpoint answered 410 Gone");
    assert_eq!(running.get("/v1/endpoints/get").await.field(), "url");
}

/// Goal: it is seen where requests are in flight, and how many. Method: an endpoint that does
/// not end its answer.
#[tokio::test(flavor = "multi_thread")]
async fn requests_in_flight_are_seen_at_their_endpoint() {
    let running = Box::pin(start_with("endpoint.deadline = \"60s\"\n")).await;
    let receiver = Receiver::answering(|_| Reply::status(200).stalled()).await;
    let url = receiver.url("/slow");
    running.installation.subscribe_all(&url).await;
    running.set(&url, Intervention::Enable).await;
    let worker = running.installation.start();
    for id in ["e1", "e2", "e3"] {
        running.installation.publisher.publish(Raw::new("t", id, "{}")).await;
    }
    eventually(async || {
        let shown = running.show(&url).await;
        holds(shown["in_flight"] == 3, shown)
    })
    .await;
    let listed = running.get("/v1/endpoints").await.expect(200).body;
    assert_eq!(
        (&listed["endpoints"][0]["url"], &listed["endpoints"][0]["in_flight"]),
        (&json!(url), &json!(3))
    );
    assert_eq!(running.show(HOOK).await["in_flight"], 0);
    drop(worker);
}

/// Goal: exactly what a circuit parked is counted and replayed. Method: beside it, what was parked
/// for other reasons, and for another URL.
#[tokio::test]
async fn enabling_counts_and_replays_exactly_what_the_circuit_parked() {
    use ParkReason::{CircuitOpen, Exhausted, Frozen};
    let running = start().await;
    let installation = &running.installation;
    let here = installation.subscribe_all(HOOK).await;
    let elsewhere = installation.subscribe_all("https://example.com/elsewhere").await;
    let body = json!({"url": HOOK});
    let disabled = running.post("/v1/endpoints/disable", &body).await.expect(200).body;
    assert_eq!((&disabled["state"], &disabled["parked_by_circuit"]), (&json!("frozen"), &json!(0)));
    let parked = [(here, Frozen), (elsewhere, Frozen), (here, CircuitOpen), (here, Exhausted)];
    running.park(&parked).await;
    assert_eq!(running.show(HOOK).await["parked"], 2);

    let enabled = running.post("/v1/endpoints/enable", &body).await.expect(200).body;
    assert_eq!((&enabled["url"], &enabled["state"]), (&json!(HOOK), &json!("closed")));
    assert_eq!((&enabled["parked_by_circuit"], enabled.get("replayed")), (&json!(2), None));
    installation.wait_for_parked(4).await;

    let replay = json!({"url": HOOK, "replay": true});
    let replayed = running.post("/v1/endpoints/enable", &replay).await.expect(200).body;
    assert_eq!((&replayed["parked_by_circuit"], &replayed["replayed"]), (&json!(2), &json!(2)));
    installation.wait_for_depth(&installation.names().retry(), 2).await;
    let left = installation.wait_for_parked(2).await;
    let left: Vec<_> = left.iter().map(|entry| (entry.subscription_id, entry.reason)).collect();
    assert!(left.contains(&(Some(elsewhere), Frozen)) && left.contains(&(Some(here), Exhausted)));
    assert_eq!(running.show(HOOK).await["parked"], 0);
}

/// Goal: what is replayed arrives, each once, though the workers have to learn first that they may;
/// and no faster than it should. Method: a frozen URL under a worker, and all that is parked for
/// it replayed at once when it is enabled.
#[tokio::test]
async fn what_the_circuit_parked_arrives_once_and_slowly() {
    const HELD: usize = 60;
    let running = start().await;
    let installation = &running.installation;
    let receiver = Receiver::accepting().await;
    let url = receiver.url("/");
    installation.subscribe_all(&url).await;
    running.set(&url, Intervention::Disable).await;
    let worker = installation.start();
    for number in 0..HELD {
        installation.publisher.publish(Raw::new("t", &format!("e{number}"), "{}")).await;
    }
    installation.wait_for_parked(60).await;

    let begin = Instant::now();
    let replay = json!({"url": url, "replay": true});
    let replayed = running.post("/v1/endpoints/enable", &replay).await.expect(200).body;
    assert_eq!(replayed["replayed"], HELD);
    assert!(begin.elapsed() > Duration::from_millis(1_500), "{:?}", begin.elapsed());
    let requests = receiver.wait_for(HELD).await;
    installation.wait_for_parked(0).await;
    installation.assert_nothing_waits().await;
    worker.stop().await;
    assert_eq!(requests.len(), HELD);
    let shown = running.show(&url).await;
    assert_eq!((&shown["successes"], &shown["failures"]), (&json!(HELD), &json!(0)));
    assert_eq!(shown["last_outcome"], "accepted 200");
}

#[tokio::test]
async fn a_url_that_no_subscription_has_is_refused_with_those_that_are_like_it() {
    let running = start().await;
    running.installation.subscribe_all(HOOK).await;
    // What is frozen may be enabled, whichever subscriptions send there.
    for address in ["/v1/endpoints/enable", "/v1/endpoints/disable"] {
        let body = json!({"url": format!("{HOOK}s")});
        let refused = running.post(address, &body).await.expect(404).body;
        assert_eq!(refused["near"], json!([HOOK]));
        let body = json!({"url": format!("{HOOK}s"), "force": true});
        running.post(address, &body).await.expect(200);
    }
}
