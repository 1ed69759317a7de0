//! `/v1/attempts`: the attempt log; `/v1/events/{id}`: the timeline of one event.

use axum::{
    Json,
    extract::{Path, RawQuery, State},
};

use crate::{
    api::requests::extract::Parameters,
    history::{Explanation, PageView},
    web::{
        AppState,
        problem::{Kind, Problem},
    },
};
use homing_domain::{
    id::{DeliveryId, EventId, SubscriptionId},
    record::RecordId,
    time::UnixMillis,
    topic::Topic,
    url::EndpointUrl,
};
use homing_store::{MAX_PAGE_LIMIT, RecordFilter, RecordPage};

const PAGE_LIMIT_DEFAULT: u32 = 100;

const PARAMETERS: [&str; 10] = [
    "event",
    "delivery",
    "subscription",
    "url",
    "outcome",
    "status",
    "since_ms",
    "until_ms",
    "after",
    "limit",
];

/// List attempts, newest first.
#[utoipa::path(
    get, path = "/v1/attempts", tag = "attempts", operation_id = "list_attempts",
    params(
        ("event" = Option<String>, Query, description = "Only of this event"),
        ("delivery" = Option<DeliveryId>, Query, description = "Only of this delivery (`webhook-id`)"),
        ("subscription" = Option<SubscriptionId>, Query, description = "Only of this subscription"),
        ("url" = Option<String>, Query, description = "Only to this URL"),
        ("outcome" = Option<String>, Query, description = "Only of these classes, joined by commas: `accepted`, `refused`, `timed_out`, `unreachable`, `not_attempted`"),
        ("status" = Option<u16>, Query, minimum = 100, maximum = 999, description = "Only with this HTTP status"),
        ("since_ms" = Option<i64>, Query, description = "Only from this instant on, milliseconds since 1970"),
        ("until_ms" = Option<i64>, Query, description = "Only before this instant, milliseconds since 1970"),
        ("after" = Option<RecordId>, Query, description = "Begin after this one: `next` of the page before"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "Maximum number; 100 by default"),
    ),
    responses((status = 200, description = "One page", body = PageView)),
)]
pub(super) async fn list(
    State(app): State<AppState>,
    RawQuery(query): RawQuery,
) -> Result<Json<PageView>, Problem> {
    let parameters = Parameters::read(query.as_deref(), &PARAMETERS)?;
    let url: Option<EndpointUrl> = parameters.get("url")?;
    let filter = RecordFilter {
        event: parameters.get("event")?,
        delivery: parameters.get("delivery")?,
        subscription: parameters.get("subscription")?,
        url: url.map(|url| url.as_str().to_owned()),
        classes: parameters.get("outcome")?,
        status: parameters.get_with("status", status)?,
        since: instant(&parameters, "since_ms")?,
        until: instant(&parameters, "until_ms")?,
    };
    let limit = parameters.number("limit", PAGE_LIMIT_DEFAULT, 1..=MAX_PAGE_LIMIT)?;
    let page = RecordPage { filter, after: parameters.get("after")?, limit };
    Ok(Json(app.services.history.page(&page).await?))
}

fn status(text: &str) -> Result<u16, &'static str> {
    text.parse().ok().filter(|status| (100..=999).contains(status)).ok_or("a status, 100 to 999")
}

fn instant(parameters: &Parameters, name: &str) -> Result<Option<UnixMillis>, Problem> {
    parameters.get_with(name, |text| {
        text.parse().map(UnixMillis::new).map_err(|_| "milliseconds since 1970, a whole number")
    })
}

/// Get the timeline of an event.
///
/// An event of which nothing is known is no error: the answer explains the possible reasons. While
/// another request scans the parked messages, they are left out, and the answer says so.
#[utoipa::path(
    get, path = "/v1/events/{id}", tag = "events", operation_id = "explain_event",
    params(
        ("id" = String, Path, description = "The event", min_length = 1, max_length = 255),
        ("topic" = Option<String>, Query, description = "Its topic, if nothing is known of the event", min_length = 1, max_length = 255),
    ),
    responses((status = 200, description = "Its timeline", body = Explanation)),
)]
pub(super) async fn explain(
    State(app): State<AppState>,
    id: Result<Path<String>, axum::extract::rejection::PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Json<Explanation>, Problem> {
    let Path(id) = id.map_err(|error| Problem::new(Kind::NotFound, error.body_text()))?;
    let id = EventId::new(&id).map_err(|error| Problem::new(Kind::NotFound, error.to_string()))?;
    let parameters = Parameters::read(query.as_deref(), &["topic"])?;
    let topic = parameters.get_with("topic", Topic::new)?;
    let permit = app.permits.scan().await.ok();
    let explained = app.services.history.explain(id.as_str(), topic, permit.is_some()).await?;
    Ok(Json(explained))
}
