//! `/v1/parked`: parked messages.

use std::{num::NonZeroU32, time::Duration};

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};

use crate::{
    api::requests::{
        extract::JsonBody,
        query::{NoParameters, Query, UpTo, yes_or_no},
    },
    web::{
        App, AppState,
        problem::{Kind, Problem},
    },
};
use base64::{Engine, engine::general_purpose::STANDARD};
use homing_delivery::{
    circuits::{CircuitBreakers, Stopped},
    parking::{Action, Bodies, Entry, Selection, Slice, Tally},
};
use homing_domain::{
    id::SubscriptionId, subscription::FieldError, time::UnixMillis, topic::TopicPattern,
    verdict::ParkReason,
};

/// The time that a list scans; it does not find what comes later in a long queue.
const SCAN_TIME: Duration = Duration::from_secs(4);
const MAX_LIMIT: u32 = 1_000;
/// Bodies are up to a megabyte each, and all of them are in one answer.
const MAX_LIMIT_WITH_BODIES: u32 = 100;

/// The messages found by a scan.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = ParkedPage)]
pub(super) struct Shown {
    entries: Vec<ShownEntry>,
    /// Messages scanned.
    scanned: u32,
    /// Messages parked.
    total: u32,
}

/// A parked message, with at most one of the bodies.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = ParkedMessageShown)]
struct ShownEntry {
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
}

/// The part of the matching messages to list.
#[derive(Deserialize)]
pub(super) struct Excerpt {
    #[serde(default)]
    limit: UpTo<MAX_LIMIT, 50>,
    /// Include bodies.
    #[serde(default, deserialize_with = "yes_or_no")]
    body: bool,
}

/// List parked messages; none is removed.
///
/// Scans the queue from its head, for four seconds at most. If `scanned` is less than `total` and
/// fewer than `limit` were found, further matches may be among the rest; `homing parked list` and
/// `export` scan all of it, however long that takes. Replaying and dropping scan all, too.
///
/// A message that the broker parked may be up to 64 deliveries, which are listed one by one with the
/// same `parked_ms`: for pages, ask for 64 or more at a time.
#[utoipa::path(
    get, path = "/v1/parked", tag = "parked", operation_id = "list_parked",
    params(
        ("reason" = Option<ParkReason>, Query, description = "Only with this reason"),
        ("subscription" = Option<SubscriptionId>, Query, description = "Only of this subscription"),
        ("topic" = Option<String>, Query, description = "Only with a topic that matches this pattern"),
        ("event" = Option<String>, Query, description = "Only this event"),
        ("parked_after_ms" = Option<i64>, Query, description = "Only after this instant; for the next page, `parked_ms` of the last message"),
        ("parked_before_ms" = Option<i64>, Query, description = "Only before this instant"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "Maximum number, with bodies 100; 50 by default"),
        ("body" = Option<bool>, Query, description = "Include bodies"),
    ),
    responses((status = 200, description = "Matching messages, the first parked first", body = Shown)),
)]
pub(super) async fn list(
    State(app): State<AppState>,
    Query(selection, Excerpt { limit: UpTo(limit), body }): Query<Selection, Excerpt>,
) -> Result<Json<Shown>, Problem> {
    if body && limit > MAX_LIMIT_WITH_BODIES {
        let message = format!("a number from 1 to {MAX_LIMIT_WITH_BODIES} with bodies");
        return Err(FieldError::new("limit", message).into());
    }
    let bodies = if body { Bodies::Included } else { Bodies::Omitted };
    let _permit = app.permits.scan().await?;
    let slice = Slice { skip: 0, limit };
    let listed = app.services.parking.page(&selection, slice, bodies, SCAN_TIME).await;
    let listing = listed.map_err(|error| {
        Problem::broker(Kind::Broker, &error, "all parked messages are still parked")
    })?;
    let entries = listing.entries.into_iter().map(ShownEntry::new);
    let (scanned, total) = (listing.scanned, listing.total);
    Ok(Json(Shown { entries: entries.collect(), scanned, total }))
}

/// A selection of parked messages.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ParkedSelection, example = json!({"reason": "gone", "dry_run": true}))]
pub(super) struct BulkRequest {
    reason: Option<ParkReason>,
    subscription: Option<SubscriptionId>,
    topic: Option<TopicPattern>,
    event: Option<String>,
    parked_after_ms: Option<UnixMillis>,
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
        let selection = Selection {
            reason: self.reason,
            subscription: self.subscription,
            topic: self.topic,
            event: self.event,
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

/// The result of a replay.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Replayed {
    #[serde(flatten)]
    tally: Tally,
    /// Endpoints to which nothing is sent now, and to which some of the messages go.
    stopped: Vec<StoppedEndpoint>,
}

/// An endpoint to which nothing is sent now.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct StoppedEndpoint {
    /// The normalised URL.
    url: String,
    /// `open`: no attempt is made until a probe succeeds. `frozen`: messages to it are held until
    /// it is enabled.
    state: &'static str,
    /// Messages of this replay that go to it.
    messages: u32,
}

/// Send parked messages again, from attempt 1.
#[utoipa::path(
    post, path = "/v1/parked/replay", tag = "parked", operation_id = "replay_parked",
    request_body = BulkRequest,
    responses((status = 200, description = "Counts of the messages sent again, or with `dry_run` that would be; and those for endpoints that are open or frozen", body = Replayed)),
)]
pub(super) async fn replay(
    State(app): State<AppState>,
    _: NoParameters,
    JsonBody(request): JsonBody<BulkRequest>,
) -> Result<Json<Replayed>, Problem> {
    act(&app, Action::Replay, request).await.map(Json)
}

/// Drop parked messages for ever.
#[utoipa::path(
    post, path = "/v1/parked/drop", tag = "parked", operation_id = "drop_parked",
    request_body = BulkRequest,
    responses((status = 200, description = "Counts of the dropped messages, or with `dry_run` of those that would be", body = Tally)),
)]
pub(super) async fn remove(
    State(app): State<AppState>,
    _: NoParameters,
    JsonBody(request): JsonBody<BulkRequest>,
) -> Result<Json<Tally>, Problem> {
    act(&app, Action::Drop, request).await.map(|done| Json(done.tally))
}

/// A client that disconnects ends the scan; what was done until then stays done.
async fn act(app: &App, action: Action, request: BulkRequest) -> Result<Replayed, Problem> {
    let replays = action == Action::Replay;
    let action = if request.dry_run { Action::Count } else { action };
    let limit = request.limit.map(NonZeroU32::get);
    let selection = request.selection()?;
    let _permit = app.permits.scan().await?;
    let stopped = if replays { stopped(app, &selection, limit).await? } else { Vec::new() };
    let mut so_far = Tally::default();
    let acted = app.services.parking.act(action, &selection, limit, |tally| so_far = tally).await;
    acted.map(|tally| Replayed { tally, stopped }).map_err(|error| {
        let consequence = "`matched` messages were processed; the rest are still parked";
        Problem::broker(Kind::Broker, &error, consequence)
            .with("matched", so_far.matched)
            .with("scanned", so_far.scanned)
            .with("total", so_far.total)
    })
}

async fn stopped(
    app: &App,
    selection: &Selection,
    limit: Option<u32>,
) -> Result<Vec<StoppedEndpoint>, Problem> {
    let stopped = app.services.circuits.stopped().await?;
    let counted =
        CircuitBreakers::stopped_among(stopped, &app.services.parking, selection, limit).await;
    let counted = counted.map_err(|error| {
        Problem::broker(Kind::Broker, &error, "all parked messages are still parked")
    })?;
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
        assert!(selected(json!({"reason": "gone", "all": true})).is_err());
    }
}
