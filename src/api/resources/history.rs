//! `/v1/history`: figures by the hour; `/v1/topics`: the topics that were seen.

use axum::{Json, extract::State};
use serde::{Deserialize, Deserializer};

use crate::{
    api::requests::query::{Paging, Query, yes_or_no},
    history::{HoursView, TopicsView},
    web::{AppState, problem::Problem},
};
use homing_domain::{
    clock,
    history::Series,
    subscription::FieldError,
    text::{parsed, parsed_by},
    time::UnixMillis,
    topic::Topic,
    url::EndpointUrl,
};
use homing_store::TopicPage;

/// The figures that a request asks for.
#[derive(Deserialize)]
pub(super) struct Wanted {
    #[serde(default, deserialize_with = "parsed")]
    url: Option<EndpointUrl>,
    #[serde(default, deserialize_with = "topic")]
    topic: Option<Topic>,
    #[serde(default, alias = "since_ms", deserialize_with = "parsed")]
    since: Option<UnixMillis>,
    #[serde(default, alias = "until_ms", deserialize_with = "parsed")]
    until: Option<UnixMillis>,
}

fn topic<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Topic>, D::Error> {
    parsed_by(deserializer, Topic::new)
}

/// Get figures by the hour, of everything, of one URL or of one topic.
///
/// They are kept for `history.keep` and up to some seconds old. What a worker had not written when
/// it was killed is missing, a few seconds' worth.
#[utoipa::path(
    get, path = "/v1/history", tag = "status", operation_id = "get_history",
    params(
        ("url" = Option<String>, Query, description = "Only of deliveries to this URL"),
        ("topic" = Option<String>, Query, description = "Only of events with this topic", min_length = 1, max_length = 255),
        ("since" = Option<String>, Query, description = "From the hour of this instant on; a day ago by default"),
        ("until" = Option<String>, Query, description = "Only hours that begin before this instant"),
    ),
    responses((status = 200, description = "The hours in which something was counted", body = HoursView)),
)]
pub(super) async fn show(
    State(app): State<AppState>,
    Query(wanted, _): Query<Wanted>,
) -> Result<Json<HoursView>, Problem> {
    let Wanted { url, topic, since, until } = wanted;
    let series = match (url, topic) {
        (Some(_), Some(_)) => {
            return Err(FieldError::new("topic", "set either `url` or this, not both").into());
        }
        (Some(url), None) => Series::Url(url.as_str().to_owned()),
        (None, Some(topic)) => Series::Topic(topic.as_str().to_owned()),
        (None, None) => Series::All,
    };
    let now = clock::now();
    let since = since.unwrap_or_else(|| now.minus(crate::history::A_DAY));
    let hours = app.services.history.hours(&series, since, until.unwrap_or(now)).await?;
    Ok(Json(hours))
}

/// The topics that a request asks for.
#[derive(Deserialize)]
pub(super) struct Only {
    #[serde(default, deserialize_with = "yes_or_no")]
    unwanted: bool,
}

/// List the topics of which events came, ordered by topic.
///
/// homing's own topics (`homing.…`) are left out. What came in the last seconds may be missing.
#[utoipa::path(
    get, path = "/v1/topics", tag = "events", operation_id = "list_topics",
    params(
        ("unwanted" = Option<bool>, Query, description = "Only topics with an event that no subscription wanted"),
        ("after" = Option<String>, Query, description = "Begin after this one: `next` of the page before", min_length = 1, max_length = 255),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "Maximum number; 100 by default"),
    ),
    responses((status = 200, description = "One page", body = TopicsView)),
)]
pub(super) async fn topics(
    State(app): State<AppState>,
    Query(only, Paging { after, limit }): Query<Only, Paging<String>>,
) -> Result<Json<TopicsView>, Problem> {
    let page = TopicPage { after, unwanted: only.unwanted, limit: limit.0, ..TopicPage::default() };
    Ok(Json(app.services.topics.page(&page).await?))
}
