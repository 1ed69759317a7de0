//! Traces: a span for every attempt, sent to a collector by OTLP. Off unless a collector is named.
//!
//! No delivery waits for a span: spans that the collector does not take in time are dropped and
//! counted. A span joins the trace that the event came with, or else a trace of the event's own.
//! Endpoints get their trace header independently of this (`endpoint/request.rs`).
//!
//! The protocol is written by hand, JSON over HTTP: homing needs only one message of it.
//!
//! Source: *OpenTelemetry Protocol Specification* 1.x, OTLP/HTTP with JSON encoding; *Semantic
//! Conventions for HTTP spans*.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::endpoint::Collector;
use homing_domain::{
    delivery::Delivery, outcome::Outcome, subscription::Subscription, time::UnixMillis,
    trace::TraceContext,
};
use homing_telemetry::metrics;

/// Spans that wait to be sent.
const MAX_WAITING: usize = 4_096;
/// Spans in one message.
const MAX_BATCH: usize = 512;
/// A span waits this long for others, to be sent with them.
const BATCH_WAIT: Duration = Duration::from_secs(2);
/// Deadline for the spans left at the end of the process.
const LAST_DEADLINE: Duration = Duration::from_secs(3);

/// Makes spans; cheap to clone.
#[derive(Clone)]
pub struct Tracer {
    queue: mpsc::Sender<Value>,
    sample_percent: u8,
}

/// Sends the spans that tracers make.
pub struct Sender {
    queue: mpsc::Receiver<Value>,
    collector: Collector,
    resource: Vec<Value>,
}

/// A span that has begun.
#[derive(Debug)]
pub struct Span {
    delivery: Delivery,
    context: TraceContext,
    parent: Option<u64>,
    started: UnixMillis,
}

/// A tracer, and the sender of its spans to `collector` as those of `resource`.
#[must_use]
pub fn open(
    collector: Collector,
    resource: &BTreeMap<String, String>,
    sample_percent: u8,
) -> (Tracer, Sender) {
    let (queue, waiting) = mpsc::channel(MAX_WAITING);
    let resource = resource.iter().map(|(key, value)| text(key, value)).collect();
    (Tracer { queue, sample_percent }, Sender { queue: waiting, collector, resource })
}

impl Tracer {
    /// Begins the span of an attempt.
    #[must_use]
    pub fn begin(&self, delivery: &Delivery, now: UnixMillis) -> Span {
        let id = fastrand::u64(1..);
        let (context, parent) = match &delivery.trace {
            Some(given) => (given.under(id), Some(given.parent)),
            None => (TraceContext::of_event(&delivery.event.id, id, self.sample_percent), None),
        };
        let delivery = delivery.clone().with_trace(Some(context.clone()));
        Span { delivery, context, parent, started: now }
    }

    /// Ends a span; `None`: no attempt was made, by a failure of our own.
    pub fn end(
        &self,
        span: &Span,
        subscription: &Subscription,
        outcome: Option<&Outcome>,
        now: UnixMillis,
    ) {
        if !span.context.sampled {
            return;
        }
        let span = span.to_json(subscription, outcome, now);
        if let Err(TrySendError::Full(_) | TrySendError::Closed(_)) = self.queue.try_send(span) {
            metrics::traces_lost(1);
        }
    }
}

fn text(key: &str, value: &(impl ToString + ?Sized)) -> Value {
    json!({"key": key, "value": {"stringValue": value.to_string()}})
}

/// 64-bit numbers are strings in this encoding.
fn number(key: &str, value: &impl ToString) -> Value {
    json!({"key": key, "value": {"intValue": value.to_string()}})
}

fn nanoseconds(instant: UnixMillis) -> String {
    i128::from(instant.get()).saturating_mul(1_000_000).to_string()
}

impl Span {
    /// The delivery with the trace context of this span, for the endpoint.
    #[must_use]
    pub fn delivery(&self) -> &Delivery {
        &self.delivery
    }

    /// Leaves out the URL's path and query, which may hold secrets.
    fn to_json(
        &self,
        subscription: &Subscription,
        outcome: Option<&Outcome>,
        ended: UnixMillis,
    ) -> Value {
        const CLIENT: u8 = 3;
        const ERROR: u8 = 2;
        let delivery = &self.delivery;
        let url = subscription.spec.url.url();
        let mut attributes = match subscription.spec.url.key() {
            Some(key) => vec![text("homing.target", key)],
            None => vec![
                text("http.request.method", "POST"),
                text("url.scheme", url.scheme()),
                text("server.address", url.host_str().unwrap_or_default()),
                number("server.port", &url.port_or_known_default().unwrap_or_default()),
            ],
        };
        attributes.extend([
            number("http.request.resend_count", &delivery.progress.attempts),
            text("homing.topic", &delivery.event.topic),
            text("homing.event.id", &delivery.event.id),
            text("homing.delivery.id", &delivery.id()),
            text("homing.subscription.id", &delivery.subscription),
        ]);
        let status = outcome.and_then(Outcome::status);
        attributes.extend(status.map(|status| number("http.response.status_code", &status)));
        let error = match outcome {
            Some(outcome) if outcome.is_accepted() => None,
            Some(outcome) => Some(outcome.to_string()),
            None => Some("not attempted".to_owned()),
        };
        attributes.extend(error.as_ref().map(|error| text("error.type", error)));
        let mut span = json!({
            "traceId": format!("{:032x}", self.context.trace),
            "spanId": format!("{:016x}", self.context.parent),
            "name": if subscription.spec.url.key().is_some() { "job" } else { "POST" },
            "kind": CLIENT,
            "startTimeUnixNano": nanoseconds(self.started),
            "endTimeUnixNano": nanoseconds(ended),
            "attributes": attributes,
        });
        if let Some(fields) = span.as_object_mut() {
            let parent = self.parent.map(|parent| json!(format!("{parent:016x}")));
            fields.extend(parent.map(|parent| ("parentSpanId".to_owned(), parent)));
            let failed = error.map(|error| json!({"code": ERROR, "message": error}));
            fields.extend(failed.map(|failed| ("status".to_owned(), failed)));
        }
        span
    }
}

impl Sender {
    /// Sends spans until `stop`, then those that are left.
    pub async fn send(mut self, stop: CancellationToken) {
        while let Some(Some(batch)) = stop.run_until_cancelled(self.next()).await {
            self.post(batch).await;
        }
        let rest = async {
            self.queue.close();
            while let Some(batch) = self.next().await {
                self.post(batch).await;
            }
        };
        if timeout(LAST_DEADLINE, rest).await.is_err() {
            warn!("traces.left: the collector did not take them before the end");
        }
    }

    /// The next spans; `None`: the tracers are dropped. Cancel safe: dropped, it has taken none.
    async fn next(&mut self) -> Option<Vec<Value>> {
        while self.queue.is_empty() && !self.queue.is_closed() {
            tokio::time::sleep(BATCH_WAIT).await;
        }
        let mut batch = Vec::new();
        let taken = self.queue.recv_many(&mut batch, MAX_BATCH).await;
        (taken > 0).then_some(batch)
    }

    async fn post(&self, batch: Vec<Value>) {
        let spans = batch.len();
        let version = env!("CARGO_PKG_VERSION");
        let document = json!({"resourceSpans": [{
            "resource": {"attributes": self.resource},
            "scopeSpans": [{"scope": {"name": "homing", "version": version}, "spans": batch}],
        }]});
        match self.collector.post(document.to_string().into_bytes()).await {
            Ok(()) => debug!(spans, "traces.sent"),
            Err(error) => {
                metrics::traces_lost(spans);
                warn!(spans, error = %homing_domain::report::Chain(&error), "traces.lost");
            }
        }
    }
}
