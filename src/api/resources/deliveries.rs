//! `/v1/deliveries`: deliveries with their present states; `/v1/events`: events with theirs.

use axum::{Json, extract::State};

use crate::{
    api::requests::query::{Paging, Query},
    history::{DeliveriesView, EventsView},
    web::{AppState, problem::Problem},
};
use homing_domain::{
    id::{DeliveryId, SubscriptionId},
    record::RecordId,
};
use homing_store::{DeliveryFilter, DeliveryPage};

/// List deliveries with their present states and their attempts, those that changed last first.
///
/// A state is that of the delivery's last record in the attempt log. Where records are missing,
/// `gaps` says so; a delivery without a record is not listed. What was parked last and is not there
/// any more has the state `was_parked` in place of `parked`: it was replayed or dropped since.
#[utoipa::path(
    get, path = "/v1/deliveries", tag = "attempts", operation_id = "list_deliveries",
    params(
        ("event" = Option<String>, Query, description = "Only of this event"),
        ("delivery" = Option<DeliveryId>, Query, description = "Only this one (`webhook-id`)"),
        ("subscription" = Option<SubscriptionId>, Query, description = "Only of this subscription"),
        ("url" = Option<String>, Query, description = "Only to this URL"),
        ("topic" = Option<String>, Query, description = "Only of events with this topic"),
        ("state" = Option<String>, Query, description = "Only in this state; `pending`: one in which something follows by itself"),
        ("since" = Option<String>, Query, description = "Only those whose last record began at or after this instant"),
        ("until" = Option<String>, Query, description = "Only those whose last record began before this instant"),
        ("after" = Option<RecordId>, Query, description = "Begin after this one: `next` of the page before"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "Maximum number; 100 by default"),
    ),
    responses((status = 200, description = "One page; a page may be short, or empty, and not the last one", body = DeliveriesView)),
)]
pub(super) async fn list(
    State(app): State<AppState>,
    Query(filter, Paging { after, limit }): Query<DeliveryFilter, Paging<RecordId>>,
) -> Result<Json<DeliveriesView>, Problem> {
    let page = DeliveryPage { filter, after, limit: limit.0 };
    Ok(Json(app.services.history.deliveries(&page).await?))
}

/// List events with the states of their deliveries, those of which one changed last first.
///
/// An event is chosen by one of its deliveries, and counted are all of them. Events without a record
/// in the attempt log are not listed: those that no subscription wants (`/v1/topics?unwanted=true`),
/// and those that no worker took yet.
#[utoipa::path(
    get, path = "/v1/events", tag = "events", operation_id = "list_events",
    params(
        ("event" = Option<String>, Query, description = "Only this event"),
        ("delivery" = Option<DeliveryId>, Query, description = "Only that of this delivery (`webhook-id`)"),
        ("subscription" = Option<SubscriptionId>, Query, description = "Only with a delivery to this subscription"),
        ("url" = Option<String>, Query, description = "Only with a delivery to this URL"),
        ("topic" = Option<String>, Query, description = "Only with this topic"),
        ("state" = Option<String>, Query, description = "Only with a delivery in this state; `pending`: one in which something follows by itself"),
        ("since" = Option<String>, Query, description = "Only with a delivery whose last record began at or after this instant"),
        ("until" = Option<String>, Query, description = "Only with a delivery whose last record began before this instant"),
        ("after" = Option<RecordId>, Query, description = "Begin after this one: `next` of the page before"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "Maximum number; 100 by default"),
    ),
    responses((status = 200, description = "One page; a page may be short, or empty, and not the last one", body = EventsView)),
)]
pub(super) async fn events(
    State(app): State<AppState>,
    Query(filter, Paging { after, limit }): Query<DeliveryFilter, Paging<RecordId>>,
) -> Result<Json<EventsView>, Problem> {
    let page = DeliveryPage { filter, after, limit: limit.0 };
    Ok(Json(app.services.history.events(&page).await?))
}
