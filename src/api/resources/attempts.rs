//! `/v1/attempts`: the attempt log; `/v1/events/{id}`: the timeline of one event.

use axum::{
    Json,
    extract::{Path, State},
};
use serde::{Deserialize, Deserializer};

use crate::{
    api::requests::{
        extract::NameInPath,
        query::{NoParameters, Paging, Query, yes_or_no},
    },
    history::{Explanation, PageView, RecordView},
    web::{
        AppState,
        problem::{Kind, Problem},
    },
};
use homing_domain::{
    id::{DeliveryId, EventId, SubscriptionId},
    record::RecordId,
    text::parsed_by,
    topic::Topic,
};
use homing_store::{RecordFilter, RecordPage};

/// List attempts, newest first.
#[utoipa::path(
    get, path = "/v1/attempts", tag = "attempts", operation_id = "list_attempts",
    params(
        ("event" = Option<String>, Query, description = "Only of this event"),
        ("delivery" = Option<DeliveryId>, Query, description = "Only of this delivery (`webhook-id`)"),
        ("subscription" = Option<SubscriptionId>, Query, description = "Only of this subscription"),
        ("url" = Option<String>, Query, description = "Only to this URL"),
        ("outcome" = Option<String>, Query, description = "Only with this outcome; `failed`: refused, timed out or unreachable"),
        ("status" = Option<String>, Query, description = "Only with this HTTP status, or one of this class: `503` or `5xx`"),
        ("since" = Option<String>, Query, description = "Only from this instant on"),
        ("until" = Option<String>, Query, description = "Only before this instant"),
        ("after" = Option<RecordId>, Query, description = "Begin after this one: `next` of the page before"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "Maximum number; 100 by default"),
    ),
    responses((status = 200, description = "One page", body = PageView)),
)]
pub(super) async fn list(
    State(app): State<AppState>,
    Query(filter, Paging { after, limit }): Query<RecordFilter, Paging<RecordId>>,
) -> Result<Json<PageView>, Problem> {
    let page = RecordPage { filter, after, limit: limit.0 };
    Ok(Json(app.services.history.page(&page).await?))
}

/// Get an attempt, with what it sent and received; secrets are masked.
#[utoipa::path(
    get, path = "/v1/attempts/{id}", tag = "attempts", operation_id = "get_attempt",
    params(("id" = RecordId, Path, description = "The attempt")),
    responses((status = 200, description = "The attempt; without a payload, `payload_note` says why", body = RecordView)),
)]
pub(super) async fn get(
    State(app): State<AppState>,
    _: NoParameters,
    NameInPath(id): NameInPath,
) -> Result<Json<RecordView>, Problem> {
    let missing = || Problem::new(Kind::NotFound, format!("there is no attempt {id}"));
    let id = id.parse().map_err(|_| missing())?;
    Ok(Json(app.services.history.attempt(id).await?.ok_or_else(missing)?))
}

/// The way in which an event is explained.
#[derive(Deserialize)]
pub(super) struct Wanted {
    /// A hint, where homing knows nothing of the event.
    #[serde(default, deserialize_with = "topic")]
    topic: Option<Topic>,
    /// Also show what its attempts sent and received.
    #[serde(default, deserialize_with = "yes_or_no")]
    payloads: bool,
}

fn topic<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Topic>, D::Error> {
    parsed_by(deserializer, Topic::new)
}

/// Get the timeline of an event.
///
/// An event of which nothing is known is no error: the answer explains the possible reasons.
#[utoipa::path(
    get, path = "/v1/events/{id}", tag = "events", operation_id = "explain_event",
    params(
        ("id" = String, Path, description = "The event", min_length = 1, max_length = 255),
        ("topic" = Option<String>, Query, description = "Its topic, if nothing is known of the event", min_length = 1, max_length = 255),
        ("payloads" = Option<bool>, Query, description = "Also show what its newest 20 attempts sent and received, a megabyte in all"),
    ),
    responses((status = 200, description = "Its timeline", body = Explanation)),
)]
pub(super) async fn explain(
    State(app): State<AppState>,
    id: Result<Path<String>, axum::extract::rejection::PathRejection>,
    Query(Wanted { topic, payloads }, _): Query<Wanted>,
) -> Result<Json<Explanation>, Problem> {
    let Path(id) = id.map_err(|error| Problem::new(Kind::NotFound, error.body_text()))?;
    let id = EventId::new(&id).map_err(|error| Problem::new(Kind::NotFound, error.to_string()))?;
    let history = &app.services.history;
    let mut explained = history.explain(id.as_str(), topic).await?;
    if payloads {
        history.add_payloads(&mut explained).await?;
    }
    Ok(Json(explained))
}
