//! `/v1/batches`: publishing many events with one request.

use std::collections::BTreeSet;

use axum::extract::{Request, State};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue};

use super::{
    Api,
    auth::Caller,
    events::{
        self, Accepted, accepted, check_exists, check_takes_messages, checked_content_encoding,
        checked_content_type,
    },
    extract::{NoParameters, read_json},
    idempotency::{Fingerprint, Key},
    problem::{Kind, Problem},
};
use homing_broker::{Message, Route, error::BrokerError};
use homing_domain::{
    clock,
    event::{CONTENT_TYPE_DEFAULT, Event},
    id::{EventId, SubscriptionId},
    subscription::FieldError,
    topic::Topic,
    trace::TraceContext,
};

/// Events of one batch at most.
const MAX_EVENTS: usize = 1_000;
/// Publishes that wait for their confirm at the same time.
const MAX_UNCONFIRMED: usize = 32;

/// Events to publish, in this order as far as the broker takes them so.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"events": [{"topic": "order.paid", "body": {"amount": 3}}]}))]
pub(super) struct Batch {
    #[schema(min_items = 1, max_items = 1000)]
    events: Vec<BatchEvent>,
}

/// An event to publish.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct BatchEvent {
    /// What it is about.
    #[schema(min_length = 1, max_length = 255, pattern = r"^[^\s.]+(\.[^\s.]+)*$")]
    topic: String,
    /// Its id; one is made if it is not said.
    #[serde(default)]
    id: Option<String>,
    /// Only this subscription gets it.
    #[serde(default)]
    subscription: Option<SubscriptionId>,
    /// `application/json` if not said.
    #[serde(default)]
    content_type: Option<String>,
    /// How the body is packed, in base64 then: `gzip`, `br`, `zstd` and so on.
    #[serde(default)]
    content_encoding: Option<String>,
    /// Any JSON; its text as it stands here is the event's body.
    #[serde(default)]
    #[schema(value_type = Option<serde_json::Value>)]
    body: Option<Box<RawValue>>,
    /// The body where it is not JSON.
    #[serde(default)]
    body_base64: Option<String>,
}

/// What was published.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Batched {
    /// In the order of the batch.
    events: Vec<BatchedEvent>,
}

/// An event that was published.
#[derive(Serialize, utoipa::ToSchema)]
struct BatchedEvent {
    id: EventId,
    topic: Topic,
    /// Whether the broker owns it.
    published: bool,
    /// Why it is not known to.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
}

impl BatchEvent {
    /// The event, checked as if it were published alone.
    fn event(self, id: EventId, max_bytes: usize) -> Result<Event, FieldError> {
        let topic =
            Topic::for_publishing(&self.topic).map_err(|error| FieldError::new("topic", error))?;
        let content_type = match self.content_type {
            Some(text) => checked_content_type(&text),
            None => Ok(CONTENT_TYPE_DEFAULT.to_owned()),
        };
        let content_type =
            content_type.map_err(|message| FieldError::new("content_type", message))?;
        let content_encoding = self.content_encoding.map(|text| checked_content_encoding(&text));
        let content_encoding = content_encoding
            .transpose()
            .map_err(|message| FieldError::new("content_encoding", message))?;
        let body = match (self.body, self.body_base64) {
            (Some(_), Some(_)) => {
                let message = "set either `body` or `body_base64`, not both";
                return Err(FieldError::new("body_base64", message));
            }
            (Some(body), None) => Bytes::from(body.get().to_owned()),
            (None, Some(text)) => {
                let bytes = STANDARD.decode(text);
                bytes.map_err(|error| FieldError::new("body_base64", error))?.into()
            }
            (None, None) => Bytes::new(),
        };
        if body.len() > max_bytes {
            let message =
                format!("an event has at most {max_bytes} bytes (`worker.max_event_bytes`)");
            return Err(FieldError::new("body", message));
        }
        Ok(Event { id, topic, content_type, content_encoding, body })
    }
}

type Addressed = (Event, Option<SubscriptionId>);

/// Publishes up to 1,000 events. What is wrong with any of them is told before one is published.
///
/// Answers 202 when the broker owns all of them. Where it does not, the answer is 503 and tells of
/// each: publish the batch again, with the same ids or the same `Idempotency-Key`.
#[utoipa::path(
    post, path = "/v1/batches", tag = "events", operation_id = "publish_batch",
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "Made by the client for this request; the ids of the events derive from it", min_length = 1, max_length = 255),
    ),
    request_body = Batch,
    responses(
        (status = 202, description = "The broker owns all events", body = Batched),
        (status = 409, description = "A request with this key is under way"),
        (status = 422, description = "The key belongs to another request"),
    )
)]
pub(super) async fn publish(
    State(api): State<Api>,
    _: NoParameters,
    request: Request,
) -> Result<Accepted<Batched>, Problem> {
    let key = Key::of(request.headers(), &Caller::of(request.extensions()))?;
    let trace = events::trace(request.headers());
    let _turn = api.turns.batch().await;
    let batch: Batch = read_json(request).await?;
    let batch = checked(batch, key.as_ref(), api.parts.max_event_bytes)?;
    let subscriptions: BTreeSet<_> = batch.iter().filter_map(|(_, only)| *only).collect();
    for subscription in subscriptions {
        check_exists(&api, subscription).await?;
    }
    let repeatable = events::repeatable(&api, key.as_ref(), || {
        let part = |so_far, (event, only): &Addressed| events::part(so_far, event, *only);
        batch.iter().fold(Fingerprint::default(), part)
    })?;
    if let Some(repeatable) = &repeatable
        && repeatable.was_answered().await?
    {
        let events = batch.iter().map(|(event, _)| report(event, Ok(()))).collect();
        return Ok(accepted(true, Batched { events }));
    }
    let batched = publish_all(&api, batch, trace).await?;
    if let Some(repeatable) = repeatable {
        repeatable.published().await;
    }
    Ok(accepted(false, batched))
}

fn checked(
    batch: Batch,
    key: Option<&Key>,
    max_bytes: usize,
) -> Result<Vec<Addressed>, FieldError> {
    if batch.events.is_empty() || batch.events.len() > MAX_EVENTS {
        let message = format!("{} events; a batch has 1 to {MAX_EVENTS}", batch.events.len());
        return Err(FieldError::new("events", message));
    }
    let check = |(number, event): (usize, BatchEvent)| {
        let wrong = |FieldError { field, message }| FieldError {
            field: format!("events[{number}].{field}"),
            message,
        };
        let only = event.subscription;
        let id = match (&event.id, key) {
            (Some(_), Some(_)) => {
                let message = "set either this or `Idempotency-Key`, from which the ids derive";
                return Err(wrong(FieldError::new("id", message)));
            }
            (Some(id), None) => {
                EventId::new(id).map_err(|error| wrong(FieldError::new("id", error)))?
            }
            (None, Some(key)) => key.event_of_batch(number),
            (None, None) => EventId::from(clock::new_id()),
        };
        Ok((event.event(id, max_bytes).map_err(wrong)?, only))
    };
    batch.events.into_iter().enumerate().map(check).collect()
}

fn report(event: &Event, outcome: Result<(), &BrokerError>) -> BatchedEvent {
    BatchedEvent {
        id: event.id.clone(),
        topic: event.topic.clone(),
        published: outcome.is_ok(),
        error: outcome.err().map(BrokerError::summary),
    }
}

/// One behind the other, without waiting for the confirm of the one before.
async fn publish_all(
    api: &Api,
    batch: Vec<Addressed>,
    trace: Option<TraceContext>,
) -> Result<Batched, Problem> {
    check_takes_messages(api)?;
    let publish = async |(event, only): Addressed| {
        let mut message: Message = events::message(event, only);
        message.trace.clone_from(&trace);
        let outcome = api.parts.broker.publish(&message.outgoing(), Route::Events).await;
        (report(&message.event, outcome.as_ref().copied()), outcome.err())
    };
    let outcomes: Vec<_> =
        stream::iter(batch).map(publish).buffered(MAX_UNCONFIRMED).collect().await;
    let (events, failures): (Vec<_>, Vec<_>) = outcomes.into_iter().unzip();
    // One that may pass goes before those that never will: the batch is worth another try.
    let worst = failures.into_iter().flatten().min_by_key(BrokerError::is_final);
    let Some(failure) = worst else {
        return Ok(Batched { events });
    };
    let consequence = "not all events were confirmed; publish the batch again, with the same ids";
    let problem = if failure.is_final() {
        // The ids of those that were published are theirs.
        let rest = "`events` tells which were published; leave this one out and give the others ids, or a \
                    key, of their own";
        Problem::broker(Kind::TooLarge, &failure, rest)
    } else {
        events::not_published(&failure, consequence)
    };
    Err(problem.with("events", json!(events)))
}
