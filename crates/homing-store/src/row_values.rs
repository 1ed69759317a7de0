//! Values of the columns of a subscription, and what is wrong with those that cannot be read.

use std::{collections::BTreeMap, num::NonZeroU32, time::Duration};

use serde_json::Value;

use super::flaw::{Flaw, json, parsed};
use homing_domain::{
    filter::{Connector, FilterSet},
    subscription::{EventFormat, MAX_DEADLINE, Template, Verification, WorkfrontForm},
    time::UnixMillis,
    topic::TopicPattern,
};

pub(super) fn read_topics(topics: &str) -> Result<Vec<TopicPattern>, Flaw> {
    let topics: Vec<String> = json("topics", topics, "a list of strings")?;
    if topics.is_empty() {
        return Err(Flaw::new("topics", "is empty"));
    }
    let pattern = |(index, text): (usize, &String)| parsed(&format!("topics[{index}]"), text);
    topics.iter().enumerate().map(pattern).collect()
}

pub(super) fn read_headers(headers: &str) -> Result<BTreeMap<String, String>, Flaw> {
    json("headers", headers, "an object of strings")
}

pub(super) fn read_form(
    form: Option<&str>,
    version_updated_ms: Option<i64>,
) -> Result<Option<WorkfrontForm>, Flaw> {
    let Some(form) = form else { return Ok(None) };
    let form: WorkfrontForm = json("workfront", form, "a form of Workfront's")?;
    Ok(Some(WorkfrontForm { version_updated: version_updated_ms.map(UnixMillis::new), ..form }))
}

pub(super) fn read_format(format: Option<&str>) -> Result<EventFormat, Flaw> {
    format.map_or(Ok(EventFormat::Native), |format| parsed("format", format))
}

pub(super) fn read_verification(verification: Option<&str>) -> Result<Option<Verification>, Flaw> {
    let read = |text| json("verification", text, "a method, and perhaps a consent");
    verification.map(read).transpose()
}

pub(super) fn read_labels(labels: Option<&str>) -> Result<BTreeMap<String, String>, Flaw> {
    labels.map_or_else(|| Ok(BTreeMap::new()), |it| json("labels", it, "an object of strings"))
}

pub(super) fn read_template(template: Option<&str>) -> Result<Option<Template>, Flaw> {
    template.map(|it| json("template", it, "a template")).transpose()
}

pub(super) fn read_filters(filters: &str, connector: &str) -> Result<FilterSet, Flaw> {
    let connector = [Connector::And, Connector::Or]
        .into_iter()
        .find(|known| known.as_str() == connector)
        .ok_or_else(|| Flaw::new("filter_connector", "is neither AND nor OR"))?;
    let filters: Vec<Value> = json("filters", filters, "a list")?;
    FilterSet::from_json(&filters, connector).map_err(|error| Flaw::new(error.field(), &error))
}

pub(super) fn read_rate_limit(limit: i64) -> Result<NonZeroU32, Flaw> {
    let limit = u32::try_from(limit).ok().and_then(NonZeroU32::new);
    limit.ok_or_else(|| Flaw::new("rate_limit", "is no number of requests per second"))
}

pub(super) fn read_max_concurrency(limit: i64) -> Result<NonZeroU32, Flaw> {
    let limit = u32::try_from(limit).ok().and_then(NonZeroU32::new);
    limit.ok_or_else(|| Flaw::new("max_concurrency", "is no number of requests"))
}

pub(super) fn whole_ms(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

pub(super) fn read_deadline(ms: i64) -> Result<Duration, Flaw> {
    let deadline = u64::try_from(ms).map(Duration::from_millis).ok();
    let deadline = deadline.filter(|deadline| !deadline.is_zero() && *deadline <= MAX_DEADLINE);
    deadline.ok_or_else(|| Flaw::new("deadline", "is no deadline of up to a minute"))
}
