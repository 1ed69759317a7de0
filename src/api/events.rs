//! `/v1/events`: publishing, for those who have no AMQP client at hand.

use axum::{
    Json,
    extract::{RawQuery, Request, State},
    http::{
        HeaderMap, HeaderName, StatusCode,
        header::{CONTENT_ENCODING, CONTENT_TYPE},
    },
};
use serde::Serialize;

use super::{
    Api,
    auth::Caller,
    extract::{Parameters, whole},
    idempotency::{Fingerprint, Key, REPLAYED, Repeatable},
    problem::{Kind, Problem},
};
use crate::registry::RegistryError;
use homing_broker::{Message, Route, error::BrokerError};
use homing_domain::{
    clock,
    delivery::Progress,
    event::{CONTENT_TYPE_DEFAULT, ContentEncoding, Event, NO_CODING},
    id::{EventId, SubscriptionId},
    subscription::FieldError,
    topic::Topic,
    trace::TraceContext,
};

/// The longest AMQP short string. Source: AMQP 0-9-1, 4.2.5.3.
const MAX_CONTENT_TYPE_BYTES: usize = 255;

/// What was published.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Published {
    id: EventId,
    topic: Topic,
}

/// An answer to a request to publish; a header tells whether it was given before.
pub(super) type Accepted<T> = (StatusCode, Option<[(HeaderName, &'static str); 1]>, Json<T>);

pub(super) fn accepted<T>(is_repeated: bool, told: T) -> Accepted<T> {
    (StatusCode::ACCEPTED, is_repeated.then_some([(REPLAYED, "true")]), Json(told))
}

/// Publishes an event. Answers when the broker owns it, and not before. The body is the event's,
/// byte for byte, of any content type.
///
/// With an `Idempotency-Key` the event's id derives from the key, and a repetition within a day is
/// answered the same (with `idempotency-replayed: true`) without publishing again.
#[utoipa::path(
    post, path = "/v1/events", tag = "events", operation_id = "publish_event",
    params(
        ("topic" = String, Query, description = "What the event is about: words with dots between them; `homing.` is reserved", min_length = 1, max_length = 255, pattern = r"^[^\s.]+(\.[^\s.]+)*$"),
        ("id" = Option<String>, Query, description = "Its id; one is made if it is not said", min_length = 1, max_length = 255),
        ("subscription" = Option<SubscriptionId>, Query, description = "Only this subscription gets it"),
        ("Content-Encoding" = Option<String>, Header, description = "How the body is packed: `gzip`, `br`, `zstd` and so on. It is published packed, and endpoints get the same header"),
        ("Idempotency-Key" = Option<String>, Header, description = "Made by the client for this request; instead of `id`", min_length = 1, max_length = 255),
    ),
    request_body(content = serde_json::Value, content_type = "application/json", description = "The event's body; any other content type is taken as well"),
    responses(
        (status = 202, description = "The broker owns the event", body = Published),
        (status = 409, description = "A request with this key is under way"),
        (status = 422, description = "The key belongs to another request"),
    )
)]
pub(super) async fn publish(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Accepted<Published>, Problem> {
    let parameters = Parameters::read(query.as_deref(), &["topic", "id", "subscription"])?;
    let topic = parameters.get_with("topic", Topic::for_publishing)?.ok_or_else(|| {
        FieldError::new("topic", "missing; say what the event is about: `?topic=order.paid`")
    })?;
    let id = parameters.get_with("id", EventId::new)?;
    let subscription = parameters.get::<SubscriptionId>("subscription")?;

    let (head, body) = request.into_parts();
    let key = Key::of(&head.headers, &Caller::of(&head.extensions))?;
    if id.is_some() && key.is_some() {
        let message = "set either this or `Idempotency-Key`, from which the id derives";
        return Err(FieldError::new("id", message).into());
    }
    let content_type = content_type(&head.headers)?;
    let content_encoding = content_encoding(&head.headers)?;
    let body = whole(body).await?;
    if let Some(subscription) = subscription {
        check_exists(&api, subscription).await?;
    }

    let id = id.or_else(|| key.as_ref().map(Key::event));
    let id = id.unwrap_or_else(|| EventId::from(clock::new_id()));
    let published = Published { id: id.clone(), topic: topic.clone() };
    let event = Event { id, topic, content_type, content_encoding, body };
    let repeatable =
        repeatable(&api, key.as_ref(), || part(Fingerprint::default(), &event, subscription))?;
    if let Some(repeatable) = &repeatable
        && repeatable.was_answered().await?
    {
        return Ok(accepted(true, published));
    }
    let mut message = message(event, subscription);
    message.trace = trace(&head.headers);
    let outcome = confirmed(&api, &message).await;
    outcome.map_err(|problem| problem.with("id", published.id.as_str()))?;
    if let Some(repeatable) = repeatable {
        repeatable.published().await;
    }
    Ok(accepted(false, published))
}

/// The trace that a client named, passed on to endpoints.
pub(super) fn trace(headers: &HeaderMap) -> Option<TraceContext> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let context: TraceContext = text("traceparent")?.parse().ok()?;
    Some(context.with_state(text("tracestate").map(str::to_owned)))
}

/// The request as one that can be repeated, if it has a key.
pub(super) fn repeatable(
    api: &Api,
    key: Option<&Key>,
    fingerprint: impl FnOnce() -> Fingerprint,
) -> Result<Option<Repeatable>, Problem> {
    let begin = |key| api.keys.begin(key, fingerprint(), std::sync::Arc::clone(&api.parts.store));
    key.map(begin).transpose()
}

/// `fingerprint` with an event as it was asked for.
pub(super) fn part(
    fingerprint: Fingerprint,
    event: &Event,
    subscription: Option<SubscriptionId>,
) -> Fingerprint {
    let subscription = subscription.map(|id| id.to_string()).unwrap_or_default();
    let fingerprint = fingerprint
        .with(event.topic.as_str().as_bytes())
        .with(event.content_type.as_bytes())
        .with(subscription.as_bytes())
        .with(&event.body);
    match &event.content_encoding {
        Some(encoding) => fingerprint.with(encoding.as_str().as_bytes()),
        None => fingerprint,
    }
}

/// The event as a message, to everybody who wants it or to one.
pub(super) fn message(event: Event, subscription: Option<SubscriptionId>) -> Message {
    let message = Message::of_event(event);
    match subscription {
        Some(subscription) => message.for_subscription(subscription, Progress::default()),
        None => message,
    }
}

fn content_type(headers: &HeaderMap) -> Result<String, FieldError> {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return Ok(CONTENT_TYPE_DEFAULT.to_owned());
    };
    let text = value.to_str().map_err(|_error| FieldError::new("content-type", "not ASCII"))?;
    checked_content_type(text).map_err(|message| FieldError::new("content-type", message))
}

/// How the body is packed; it is published as it comes.
fn content_encoding(headers: &HeaderMap) -> Result<Option<ContentEncoding>, FieldError> {
    let mut values = headers.get_all(CONTENT_ENCODING).iter().map(|value| value.to_str());
    let Some(first) = values.next() else { return Ok(None) };
    let listed = values.try_fold(first.unwrap_or_default().to_owned(), |listed, next| {
        next.map(|next| format!("{listed}, {next}"))
    });
    checked_content_encoding(&listed.unwrap_or_default())
        .map(Some)
        .map_err(|message| FieldError::new("content-encoding", message))
}

/// Content codings that endpoints know.
pub(super) fn checked_content_encoding(text: &str) -> Result<ContentEncoding, &'static str> {
    ContentEncoding::new(text).ok_or(NO_CODING)
}

/// A content type that a message can carry.
pub(super) fn checked_content_type(text: &str) -> Result<String, String> {
    match text.len() {
        0 => Ok(CONTENT_TYPE_DEFAULT.to_owned()),
        1..=MAX_CONTENT_TYPE_BYTES => Ok(text.to_owned()),
        _ => Err(format!("longer than {MAX_CONTENT_TYPE_BYTES} bytes")),
    }
}

/// An event for nobody would only be parked. A store that does not answer is no reason to refuse.
pub(super) async fn check_exists(
    api: &Api,
    subscription: SubscriptionId,
) -> Result<(), FieldError> {
    match api.parts.registry.get(subscription).await {
        Err(error @ RegistryError::NotFound { .. }) => Err(FieldError::new("subscription", error)),
        Ok(_) | Err(_) => Ok(()),
    }
}

const NOT_CONFIRMED: &str = "the event was not confirmed; publish it again, with the same id";

/// A broker that blocks publishers would only let the time run out.
pub(super) fn check_takes_messages(api: &Api) -> Result<(), Problem> {
    let [publishing, _consuming] = api.parts.broker.states();
    let Some(why) = publishing.blocked else { return Ok(()) };
    let detail = format!("the broker takes no messages now ({why}); {NOT_CONFIRMED}");
    Err(Problem::new(Kind::NotConfirmed, detail))
}

async fn confirmed(api: &Api, message: &Message) -> Result<(), Problem> {
    check_takes_messages(api)?;
    let published = api.parts.broker.publish(&message.outgoing(), Route::Events).await;
    published.map_err(|error| not_published(&error, NOT_CONFIRMED))
}

/// What the broker will never take is the client's to change; anything else may pass.
pub(super) fn not_published(error: &BrokerError, consequence: &str) -> Problem {
    if error.is_final() {
        return Problem::broker(Kind::TooLarge, error, "it is not published");
    }
    Problem::broker(Kind::NotConfirmed, error, consequence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_broker_will_never_take_is_answered_413_and_the_rest_503() {
        let status = |error| not_published(&error, NOT_CONFIRMED).to_json()["status"].clone();
        let reply = "PRECONDITION_FAILED - message size 2 is larger than configured max size 1";
        assert_eq!(status(BrokerError::TooLarge { reply: reply.to_owned() }), 413);
        assert_eq!(status(BrokerError::Closed), 503);
    }
}
