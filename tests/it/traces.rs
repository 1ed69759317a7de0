//! The trace that an event belongs to reaches its endpoints, and a collector learns of every attempt.

use homing_broker::message::header;
use serde_json::{Value, json};

use crate::support::{
    broker::Raw,
    installation::Installation,
    receiver::{Receiver, Recorded, Reply},
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn traced(id: &str) -> Raw {
    let raw = Raw::new("order.paid", id, "{}").header(header::TRACE_PARENT, PARENT);
    raw.header(header::TRACE_STATE, "vendor=1")
}

/// Fails the first attempt.
async fn endpoint() -> Receiver {
    Receiver::answering(|request| Reply::status(if request.attempt() == 1 { 503 } else { 200 }))
        .await
}

/// Trace id, span id and flags of the trace that an endpoint received.
fn report(request: &Recorded) -> (String, String, String) {
    let parent = request.header("traceparent").expect("it receives the trace");
    let parts: Vec<_> = parent.split('-').map(str::to_owned).collect();
    let [_, trace, span, flags] = parts.try_into().expect("four parts");
    (trace, span, flags)
}

#[tokio::test]
async fn without_a_collector_the_trace_is_passed_on_as_it_came() {
    let installation = Installation::new(&[50]).await;
    let receiver = endpoint().await;
    installation.subscribe_all(&receiver.url("/hook")).await;
    let running = installation.start();
    installation.publisher.publish(traced("event-1")).await;
    let requests = receiver.wait_for(2).await;
    for request in &requests {
        assert_eq!(request.header("traceparent"), Some(PARENT));
        assert_eq!(request.header("tracestate"), Some("vendor=1"));
    }
    installation.publisher.publish(Raw::new("order.paid", "event-2", "{}")).await;
    let requests = receiver.wait_for(4).await;
    running.stop().await;
    assert!(requests.iter().skip(2).all(|request| request.header("traceparent").is_none()));
}

/// The spans that a collector got.
fn spans(collector: &Receiver) -> Vec<Value> {
    let mut spans = Vec::new();
    for request in collector.requests() {
        assert_eq!(request.path, "/v1/traces");
        assert_eq!(request.header("content-type"), Some("application/json"));
        let document: Value = serde_json::from_slice(&request.body).expect("JSON");
        assert_eq!(request.header("api-key"), Some("a,b"));
        let resource = document.pointer("/resourceSpans/0/resource/attributes");
        let attribute = |key, value| json!({"key": key, "value": {"stringValue": value}});
        let expected = json!([
            attribute("service.name", "homing"),
            attribute("service.namespace", "shop"),
            attribute("service.version", env!("CARGO_PKG_VERSION")),
        ]);
        assert_eq!(resource, Some(&expected));
        let sent = document.pointer("/resourceSpans/0/scopeSpans/0/spans");
        spans.extend(sent.and_then(Value::as_array).expect("spans").clone());
    }
    spans
}

fn field<'a>(span: &'a Value, name: &str) -> &'a str {
    span.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// An attribute's value.
fn attribute<'a>(span: &'a Value, key: &str) -> Option<&'a str> {
    let attributes = span.get("attributes")?.as_array()?;
    let found = attributes.iter().find(|one| one.get("key") == Some(&json!(key)))?;
    found.get("value")?.as_object()?.values().next()?.as_str()
}

#[tokio::test]
async fn a_collector_gets_a_span_for_every_attempt() {
    let collector = Receiver::accepting().await;
    let settings = format!(
        "[traces]\ncollector = \"{}\"\nheaders = \"api-key=a%2Cb\"\n\
         resource_attributes = \"service.namespace=shop\"\n",
        collector.url("")
    );
    let installation = Installation::with(&[50], &settings).await;
    let receiver = endpoint().await;
    let subscription = installation.subscribe_all(&receiver.url("/hook?key=secret")).await;
    let running = installation.start();
    installation.publisher.publish(traced("event-1")).await;
    installation.publisher.publish(Raw::new("order.paid", "event-2", "{}")).await;
    let requests = receiver.wait_for(4).await;
    installation.assert_nothing_waits().await;
    running.stop().await;

    let spans = spans(&collector);
    assert_eq!(spans.len(), 4, "those at the end are sent before the process ends");
    for request in &requests {
        let (trace, span, flags) = report(request);
        assert_eq!(flags, "01");
        let sent = spans.iter().find(|sent| field(sent, "spanId") == span);
        let sent = sent.unwrap_or_else(|| panic!("{span} in {spans:?}"));
        assert_eq!(field(sent, "traceId"), trace);
        assert_eq!(attribute(sent, "homing.delivery.id"), Some(request.id().as_str()));
        let id = subscription.to_string();
        assert_eq!(attribute(sent, "homing.subscription.id"), Some(id.as_str()));
        let status = if request.attempt() == 1 { "503" } else { "200" };
        assert_eq!(attribute(sent, "http.response.status_code"), Some(status));
        assert_eq!(sent.get("status").is_some(), status == "503");
        assert!(field(sent, "startTimeUnixNano") <= field(sent, "endTimeUnixNano"));
        let own = attribute(sent, "homing.event.id") == Some("event-2");
        let parent = if own { "" } else { "00f067aa0ba902b7" };
        assert_eq!((field(sent, "parentSpanId"), own), (parent, trace != TRACE));
        assert!(!sent.to_string().contains("secret"), "{sent}");
    }
}

#[tokio::test]
async fn a_collector_that_is_away_holds_nothing_up() {
    let settings = "traces.collector = \"http://127.0.0.1:9\"\n";
    let installation = Installation::with(&[50], settings).await;
    let receiver = endpoint().await;
    installation.subscribe_all(&receiver.url("/hook")).await;
    let running = installation.start();
    for number in 0..20 {
        installation.publisher.publish(traced(&format!("event-{number}"))).await;
    }
    receiver.wait_for(40).await;
    installation.assert_nothing_waits().await;
    running.stop().await;
}

#[tokio::test]
async fn what_is_not_sampled_is_passed_on_and_not_recorded() {
    let collector = Receiver::accepting().await;
    let url = collector.url("");
    let settings = format!("traces.collector = \"{url}\"\ntraces.sample_percent = 0\n");
    let installation = Installation::with(&[50], &settings).await;
    let receiver = Receiver::accepting().await;
    installation.subscribe_all(&receiver.url("/hook")).await;
    let running = installation.start();
    installation.publisher.publish(Raw::new("order.paid", "event-1", "{}")).await;
    let unsampled = Raw::new("order.paid", "event-2", "{}");
    let unsampled = unsampled.header(header::TRACE_PARENT, &PARENT.replace("-01", "-00"));
    installation.publisher.publish(unsampled).await;
    let requests = receiver.wait_for(2).await;
    running.stop().await;
    assert!(requests.iter().all(|request| report(request).2 == "00"));
    assert_eq!(collector.count(), 0);
}
