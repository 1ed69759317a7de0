//! `/v1/ledger/{subscription}`: what was delivered, by the hour.

use std::time::Duration;

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};

use crate::{
    api::requests::{extract::IdInPath, query::Query},
    web::{AppState, problem::Problem},
};
use homing_domain::{
    clock, id::SubscriptionId, ledger::View, subscription::FieldError, text::parsed,
    time::UnixMillis,
};
use homing_store::LedgerListing;

/// The time before now that is shown by default, and the longest one.
const DEFAULT: Duration = Duration::from_hours(24);
const LONGEST: Duration = Duration::from_hours(24 * 31);

/// The time to show.
#[derive(Deserialize)]
pub(super) struct Window {
    #[serde(default, alias = "since_ms", deserialize_with = "parsed")]
    since: Option<UnixMillis>,
    #[serde(default, alias = "until_ms", deserialize_with = "parsed")]
    until: Option<UnixMillis>,
}

/// Hours of a subscription.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Ledger)]
pub(crate) struct Shown {
    subscription: SubscriptionId,
    /// The oldest hour that is kept, of any subscription; RFC 3339.
    kept_since: Option<String>,
    /// The oldest first; hours in which no worker ran are not there.
    pub(crate) hours: Vec<View>,
}

impl Shown {
    /// The hours in `listing`.
    pub(crate) fn new(subscription: SubscriptionId, listing: LedgerListing) -> Self {
        Self {
            subscription,
            kept_since: listing.kept_since.map(|hour| hour.to_string()),
            hours: listing.hours.into_iter().map(View::from).collect(),
        }
    }
}

/// Get the number and a checksum of what was delivered for a subscription, by the hour.
///
/// An hour is that of `webhook-timestamp`. The subscription may have been deleted.
#[utoipa::path(
    get, path = "/v1/ledger/{id}", tag = "ledger", operation_id = "get_ledger",
    params(
        ("id" = SubscriptionId, Path, description = "The subscription"),
        ("since" = Option<String>, Query, description = "Only hours that begin at or after this instant; by default a day before `until`"),
        ("until" = Option<String>, Query, description = "Only hours that begin before this instant, at most 31 days after the first; by default now"),
    ),
    responses((status = 200, description = "The hours", body = Shown)),
)]
pub(super) async fn get(
    State(app): State<AppState>,
    IdInPath(subscription): IdInPath,
    Query(Window { since, until }, _): Query<Window>,
) -> Result<Json<Shown>, Problem> {
    let now = clock::now();
    let until = until.unwrap_or(now);
    let since = since.unwrap_or_else(|| until.minus(DEFAULT));
    if until.since(since) > LONGEST {
        return Err(FieldError::new("since", "at most 31 days before `until`").into());
    }
    let listing = app.services.store.ledger(subscription, since, until, now).await?;
    Ok(Json(Shown::new(subscription, listing)))
}
