//! `/v1/events`: publishing, for those who have no AMQP client at hand.

use axum::{
    Json,
    extract::{RawQuery, Request, State},
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
};
use serde::Serialize;

use super::{
    Api,
    extract::{Parameters, read_body},
    problem::{Kind, Problem},
};
use crate::{
    broker::{Message, Route, error::BrokerError},
    clock,
    domain::{
        delivery::Progress,
        event::{CONTENT_TYPE_DEFAULT, Event},
        id::{EventId, SubscriptionId},
        subscription::FieldError,
        topic::Topic,
    },
    registry::RegistryError,
};

/// The longest AMQP short string. Source: AMQP 0-9-1, 4.2.5.3.
const CONTENT_TYPE_BYTES_MAX: usize = 255;

/// What was published.
#[derive(Serialize)]
pub(super) struct Published {
    id: EventId,
    topic: Topic,
}

/// Answers when the broker owns the event, and not before. The body is the event's, byte for byte.
pub(super) async fn publish(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<(StatusCode, Json<Published>), Problem> {
    let parameters = Parameters::read(query.as_deref(), &["topic", "id", "subscription"])?;
    let topic = parameters.get_with("topic", Topic::new)?.ok_or_else(|| {
        FieldError::new("topic", "missing; say what the event is about: `?topic=order.paid`")
    })?;
    let id = parameters.get_with("id", EventId::new)?;
    let subscription = parameters.get::<SubscriptionId>("subscription")?;

    let (head, body) = request.into_parts();
    let content_type = content_type(&head.headers)?;
    let bytes_max = api.parts.event_bytes_max;
    let body = read_body(&head.headers, body, bytes_max).await?.ok_or_else(|| {
        let detail = format!("an event has at most {bytes_max} bytes (`worker.event_bytes_max`)");
        Problem::new(Kind::TooLarge, detail)
    })?;
    if let Some(subscription) = subscription {
        check_exists(&api, subscription).await?;
    }

    let id = id.unwrap_or_else(|| EventId::from(clock::new_id()));
    let event = Event { id: id.clone(), topic: topic.clone(), content_type, body };
    let mut message = Message::of_event(event);
    if let Some(subscription) = subscription {
        message = message.owed_to(subscription, Progress::default());
    }
    confirmed(&api, &message).await.map_err(|problem| problem.with("id", id.as_str()))?;
    Ok((StatusCode::ACCEPTED, Json(Published { id, topic })))
}

fn content_type(headers: &HeaderMap) -> Result<String, FieldError> {
    let wrong = |message: String| FieldError::new("content-type", message);
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return Ok(CONTENT_TYPE_DEFAULT.to_owned());
    };
    let text = value.to_str().map_err(|_error| wrong("not ASCII".to_owned()))?;
    match text.len() {
        0 => Ok(CONTENT_TYPE_DEFAULT.to_owned()),
        1..=CONTENT_TYPE_BYTES_MAX => Ok(text.to_owned()),
        _ => Err(wrong(format!("longer than {CONTENT_TYPE_BYTES_MAX} bytes"))),
    }
}

/// An event for nobody would only be parked. A store that does not answer is no reason to refuse.
async fn check_exists(api: &Api, subscription: SubscriptionId) -> Result<(), FieldError> {
    match api.parts.registry.get(subscription).await {
        Err(error @ RegistryError::NotFound { .. }) => Err(FieldError::new("subscription", error)),
        Ok(_) | Err(_) => Ok(()),
    }
}

const NOT_CONFIRMED: &str = "the event was not confirmed; publish it again, with the same id";

/// A broker that blocks publishers would only let the time run out.
async fn confirmed(api: &Api, message: &Message) -> Result<(), Problem> {
    let [publishing, _consuming] = api.parts.broker.states();
    if let Some(why) = publishing.blocked {
        let detail = format!("the broker takes no messages now ({why}); {NOT_CONFIRMED}");
        return Err(Problem::new(Kind::NotConfirmed, detail));
    }
    let unconfirmed =
        |error: BrokerError| Problem::broker(Kind::NotConfirmed, &error, NOT_CONFIRMED);
    api.parts.broker.publish(&message.outgoing(), Route::Events).await.map_err(unconfirmed)
}
