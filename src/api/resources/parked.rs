//! `/v1/parked`: parked deliveries.

use std::{collections::BTreeSet, fmt::Display, num::NonZeroU32};

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};

use crate::{
    api::requests::{
        extract::JsonBody,
        query::{NUL, NoParameters, Query, UpTo, yes_or_no},
    },
    services::Services,
    web::{App, AppState, acting::Acting, problem::Problem},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use homing_delivery::{
    circuits::{CircuitBreakers, Stopped},
    parking::{
        Action, Arriving, Begin, Bodies, Entry, Listing, MAX_COUNTED, SearchText, Selection, Tally,
    },
};
use homing_domain::{
    id::{DeliveryId, SubscriptionId},
    status_range::StatusRange,
    subscription::FieldError,
    text::{Word, parsed},
    time::{UnixMillis, iso8601},
    topic::TopicPattern,
    url::{EndpointUrl, EndpointUrlError},
    verdict::ParkReason,
};
use homing_store::ParkedId;

pub(crate) const MAX_LIMIT: u32 = 1_000;
/// Bodies are up to a megabyte each, and all of them are in one answer.
pub(crate) const MAX_LIMIT_WITH_BODIES: u32 = 100;

/// A part of what is parked.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ParkedPage)]
pub(crate) struct Shown {
    pub(crate) entries: Vec<ShownEntry>,
    /// For the next page, as `after`; `null`: there are no more.
    pub(crate) next: Option<String>,
    /// Deliveries that match, up to 10,000.
    pub(crate) matched: u32,
    /// Deliveries parked, whether they match or not.
    pub(crate) total: u64,
    /// Those that are not in the store yet, and in no list.
    pub(crate) arriving: Arriving,
}

/// A parked message, with at most one of the bodies.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ParkedMessageShown)]
pub(crate) struct ShownEntry {
    #[serde(flatten)]
    entry: Entry,
    /// The body, if it is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    /// The body, if it is not text.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

impl ShownEntry {
    fn new(mut entry: Entry) -> Self {
        let Some(body) = entry.body.take() else {
            return Self { entry, body: None, body_base64: None };
        };
        let text = str::from_utf8(&body).ok().map(str::to_owned);
        let body_base64 = text.is_none().then(|| STANDARD.encode(&body));
        Self { entry, body: text, body_base64 }
    }

    /// The entry with its body in bytes.
    pub(crate) fn into_entry(self) -> Entry {
        let Self { mut entry, body, body_base64 } = self;
        let decoded = || STANDARD.decode(body_base64?).ok().map(Bytes::from);
        entry.body = body.map(Bytes::from).or_else(decoded);
        entry
    }
}

/// The part of the matching messages to list.
#[derive(Deserialize)]
pub(super) struct Excerpt {
    #[serde(default, deserialize_with = "parsed")]
    after: Option<ParkedId>,
    #[serde(default)]
    limit: UpTo<MAX_LIMIT, 50>,
    /// Include bodies.
    #[serde(default, deserialize_with = "yes_or_no")]
    body: bool,
}

/// List parked deliveries, what was parked last first; none is removed.
#[utoipa::path(
    get, path = "/v1/parked", tag = "parked", operation_id = "list_parked",
    params(
        ("id" = Option<String>, Query, description = "Only the one with this id"),
        ("reason" = Option<ParkReason>, Query, description = "Only with this reason"),
        ("subscription" = Option<SubscriptionId>, Query, description = "Only of this subscription"),
        ("topic" = Option<String>, Query, description = "Only with a topic that matches this pattern"),
        ("event" = Option<String>, Query, description = "Only this event"),
        ("delivery" = Option<DeliveryId>, Query, description = "Only the one that is sent with this `webhook-id`"),
        ("url" = Option<String>, Query, description = "Only to this URL"),
        ("status" = Option<String>, Query, description = "Only with this HTTP status at the last attempt, or one of this class: `503` or `5xx`"),
        ("error" = Option<String>, Query, description = "Only what was parked for the error with this id, as `/v1/errors` has it"),
        ("text" = Option<String>, Query, min_length = 3, description = "Only with an event id that begins so, with this `webhook-id` or subscription, or with this in URL, topic, last outcome or the description of the subscription"),
        ("parked_after" = Option<String>, Query, description = "Only at or after this instant"),
        ("parked_before" = Option<String>, Query, description = "Only before this instant"),
        ("after" = Option<String>, Query, description = "Begin behind this one: `next` of the page before"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "Maximum number, with bodies 100; 50 by default"),
        ("body" = Option<bool>, Query, description = "Include bodies; a page ends after 16 MiB of them"),
    ),
    responses((status = 200, description = "Matching deliveries, what was parked last first", body = Shown)),
)]
pub(super) async fn list(
    State(app): State<AppState>,
    Query(selection, Excerpt { after, limit: UpTo(limit), body }): Query<Selection, Excerpt>,
) -> Result<Json<Shown>, Problem> {
    if body && limit > MAX_LIMIT_WITH_BODIES {
        let message = format!("a number from 1 to {MAX_LIMIT_WITH_BODIES} with bodies");
        return Err(FieldError::new("limit", message).into());
    }
    let bodies = if body { Bodies::Included } else { Bodies::Omitted };
    let _permit = if body { Some(app.permits.parked().await?) } else { None };
    let parking = &app.services.parking;
    let unchanged = |error| Problem::parking(error, "all parked messages are still parked");
    let begin = Begin { after, count: MAX_COUNTED, ..Begin::default() };
    let listing = parking.page(&selection, begin, limit, bodies).await.map_err(unchanged)?;
    let Listing { entries, next, total, arriving, matched } = listing;
    let entries = entries.into_iter().map(ShownEntry::new).collect();
    let next = next.map(|next| next.to_string());
    Ok(Json(Shown { entries, next, matched, total, arriving }))
}

/// A selection of parked messages.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ParkedSelection, example = json!({"reason": "gone", "dry_run": true}))]
pub(super) struct BulkRequest {
    /// The one with this id.
    id: Option<String>,
    reason: Option<ParkReason>,
    subscription: Option<SubscriptionId>,
    topic: Option<TopicPattern>,
    event: Option<String>,
    /// The one that is sent with this `webhook-id`.
    delivery: Option<String>,
    /// To this URL.
    url: Option<String>,
    /// With this HTTP status at the last attempt, or one of this class: `503` or `5xx`.
    #[schema(value_type = Option<String>, pattern = "^[1-9]([0-9]{2}|xx)$")]
    status: Option<StatusRange>,
    /// Parked for the error with this id, as `/v1/errors` has it.
    error: Option<String>,
    /// As in the list.
    #[schema(value_type = Option<String>, min_length = 3)]
    text: Option<SearchText>,
    /// Parked at or after this instant.
    #[serde(default, rename = "parked_after", alias = "parked_after_ms", with = "iso8601::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    parked_after_ms: Option<UnixMillis>,
    /// Parked before this instant.
    #[serde(
        default,
        rename = "parked_before",
        alias = "parked_before_ms",
        with = "iso8601::option"
    )]
    #[schema(value_type = Option<String>, format = DateTime)]
    parked_before_ms: Option<UnixMillis>,
    /// Maximum number.
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 4_294_967_295_u64)]
    limit: Option<NonZeroU32>,
    /// Select everything; instead of any condition.
    #[serde(default)]
    all: bool,
    /// Only count.
    #[serde(default)]
    dry_run: bool,
}

impl BulkRequest {
    /// The selection; everything only if `all` is true.
    fn selection(self) -> Result<Selection, FieldError> {
        let texts = [
            ("event", self.event.as_deref()),
            ("text", self.text.as_ref().map(SearchText::as_str)),
        ];
        if let Some((field, _)) = texts.iter().find(|(_, text)| text.is_some_and(has_nul)) {
            return Err(FieldError::new(*field, NUL));
        }
        let selection = Selection {
            ids: BTreeSet::new(),
            id: self.id.map(|id| id.parse()).transpose().map_err(wrong("id"))?,
            reason: self.reason,
            subscription: self.subscription,
            topic: self.topic,
            event: self.event,
            delivery: self.delivery.map(|id| id.parse()).transpose().map_err(wrong("delivery"))?,
            url: self.url.map(|url| normalised(&url)).transpose().map_err(wrong("url"))?,
            status: self.status,
            error: self.error.map(|id| id.parse()).transpose().map_err(wrong("error"))?,
            text: self.text,
            parked_after_ms: self.parked_after_ms,
            parked_before_ms: self.parked_before_ms,
            held_for: None,
        };
        match (selection.is_everything(), self.all) {
            (true, false) => Err(FieldError::new(
                "all",
                "no condition is set; to select everything that is parked, set `all` to true",
            )),
            (false, true) => {
                Err(FieldError::new("all", "set either `all` or conditions, not both"))
            }
            (true, true) | (false, false) => Ok(selection),
        }
    }
}

fn has_nul(text: &str) -> bool {
    text.contains('\0')
}

fn wrong<E: Display>(field: &'static str) -> impl Fn(E) -> FieldError {
    move |error| FieldError::new(field, error.to_string())
}

fn normalised(url: &str) -> Result<String, EndpointUrlError> {
    url.parse::<EndpointUrl>().map(|url| url.as_str().to_owned())
}

/// The result of a replay.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct Replayed {
    #[serde(flatten)]
    pub(crate) tally: Tally,
    /// Endpoints to which nothing is sent now, and to which some of the messages go.
    pub(crate) stopped: Vec<StoppedEndpoint>,
}

/// An endpoint to which nothing is sent now.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct StoppedEndpoint {
    /// The normalised URL.
    pub(crate) url: String,
    /// `open`: no attempt is made until a probe succeeds. `frozen`: messages to it are held until
    /// it is enabled.
    #[serde(deserialize_with = "homing_domain::text::word")]
    #[schema(value_type = String)]
    pub(crate) state: Word,
    /// Messages of this replay that go to it.
    pub(crate) messages: u32,
}

/// Send parked messages again, from attempt 1.
#[utoipa::path(
    post, path = "/v1/parked/replay", tag = "parked", operation_id = "replay_parked",
    request_body = BulkRequest,
    responses((status = 200, description = "Counts of the messages sent again, or with `dry_run` that would be; and those for endpoints that are open or frozen", body = Replayed)),
)]
pub(super) async fn replay(
    State(app): State<AppState>,
    Acting(services): Acting,
    _: NoParameters,
    JsonBody(request): JsonBody<BulkRequest>,
) -> Result<Json<Replayed>, Problem> {
    act((&app, &services), Action::Replay, request).await.map(Json)
}

/// Drop parked messages for ever.
#[utoipa::path(
    post, path = "/v1/parked/drop", tag = "parked", operation_id = "drop_parked",
    request_body = BulkRequest,
    responses((status = 200, description = "Counts of the dropped messages, or with `dry_run` of those that would be", body = Tally)),
)]
pub(super) async fn remove(
    State(app): State<AppState>,
    Acting(services): Acting,
    _: NoParameters,
    JsonBody(request): JsonBody<BulkRequest>,
) -> Result<Json<Tally>, Problem> {
    act((&app, &services), Action::Drop, request).await.map(|done| Json(done.tally))
}

/// A client that disconnects ends it; what was done until then stays done.
async fn act(
    (app, services): (&App, &Services),
    action: Action,
    request: BulkRequest,
) -> Result<Replayed, Problem> {
    let replays = action == Action::Replay;
    let action = if request.dry_run { Action::Count } else { action };
    let limit = request.limit.map(NonZeroU32::get);
    let selection = request.selection()?;
    let _permit = if action == Action::Count { None } else { Some(app.permits.parked().await?) };
    let stopped = if replays { stopped(services, &selection, limit).await? } else { Vec::new() };
    let mut so_far = Tally::default();
    let acted = services.parking.act(action, &selection, limit, |tally| so_far = tally).await;
    acted.map(|tally| Replayed { tally, stopped }).map_err(|error| {
        let consequence = "`matched` messages were processed; the rest are still parked";
        Problem::parking(error, consequence)
            .with("matched", so_far.matched)
            .with("total", so_far.total)
    })
}

async fn stopped(
    services: &Services,
    selection: &Selection,
    limit: Option<u32>,
) -> Result<Vec<StoppedEndpoint>, Problem> {
    let stopped = services.circuits.stopped().await?;
    let counted =
        CircuitBreakers::stopped_among(stopped, &services.parking, selection, limit).await;
    let counted =
        counted.map_err(|error| Problem::parking(error, "all parked messages are still parked"))?;
    let shown = counted.into_iter().map(|(Stopped { url, state, .. }, messages)| StoppedEndpoint {
        url,
        state: state.as_str(),
        messages,
    });
    Ok(shown.collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn everything_is_selected_only_by_all() {
        let selected = |json| {
            let request: BulkRequest = serde_json::from_value(json).unwrap();
            request.selection().map(|selection| selection.is_everything())
        };
        assert_eq!(selected(json!({"all": true})), Ok(true));
        assert_eq!(selected(json!({"reason": "gone"})), Ok(false));
        assert_eq!(selected(json!({"reason": "gone", "all": false})), Ok(false));
        assert!(selected(json!({})).is_err());
        assert!(selected(json!({"dry_run": true})).is_err());
        for text in ["", "ab"] {
            let read = serde_json::from_value::<BulkRequest>(json!({"text": text}));
            assert!(read.unwrap_err().to_string().contains("three letters"), "{text:?}");
        }
        assert!(selected(json!({"reason": "gone", "all": true})).is_err());
        for field in ["event", "text"] {
            let error = selected(json!({field: "abc\0"})).unwrap_err().to_string();
            assert!(error.contains("NUL"), "{error}");
        }
    }
}
