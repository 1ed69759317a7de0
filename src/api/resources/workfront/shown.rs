//! Subscriptions as Workfront's API shows them.

use serde::Serialize;
use serde_json::Value;

use crate::web::{App, problem::Problem};
use homing_domain::{
    circuit::{Circuit, StateName},
    filter::Connector,
    id::SubscriptionId,
    subscription::{AuthToken, Subscription, Version, split_topic},
    time::UnixMillis,
    url::EndpointUrl,
};

/// An instant as Workfront writes it: UTC with microseconds, and no zone.
fn date(instant: UnixMillis) -> String {
    jiff::Timestamp::from_millisecond(instant.get())
        .map_or_else(|_| instant.to_string(), |instant| instant.strftime(DATE).to_string())
}

const DATE: &str = "%Y-%m-%dT%H:%M:%S%.6f";

/// A subscription in Workfront's form.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = WorkfrontSubscription)]
pub(in crate::api) struct Shown {
    id: SubscriptionId,
    date_created: String,
    date_modified: String,
    version: Version,
    /// The time of the last change of the version; `null`: it never changed.
    #[serde(rename = "dateVersionUpdated")]
    date_version_updated: Option<String>,
    #[serde(rename = "customerId")]
    customer_id: String,
    #[serde(rename = "objId")]
    obj_id: Option<String>,
    #[serde(rename = "objCode")]
    obj_code: String,
    url: String,
    #[serde(rename = "eventType")]
    event_type: String,
    /// At most the last four characters.
    #[serde(rename = "authToken")]
    auth_token: Option<String>,
    filters: Vec<Value>,
    #[serde(rename = "filterConnector")]
    filter_connector: Connector,
    #[serde(rename = "base64Encoding")]
    base64_encoding: bool,
    subscription_url: ShownUrl,
}

/// The circuit of a URL. A frozen one has no `disabled_at`: when it opened before is not known.
#[derive(Clone, Serialize, utoipa::ToSchema)]
#[schema(as = WorkfrontUrl)]
pub(super) struct ShownUrl {
    url: String,
    date_created: String,
    successes: u64,
    failures: u64,
    disabled_at: Option<String>,
    frozen_at: Option<String>,
}

impl ShownUrl {
    fn of(url: &EndpointUrl, circuit: &Circuit) -> Self {
        let since = |state| (circuit.state.name() == state).then(|| date(circuit.since));
        Self {
            url: url.as_str().to_owned(),
            date_created: date(circuit.created),
            successes: circuit.successes,
            failures: circuit.failures,
            disabled_at: since(StateName::Open),
            frozen_at: since(StateName::Frozen),
        }
    }
}

impl Shown {
    pub(super) fn new(
        subscription: &Subscription,
        customer_id: &str,
        subscription_url: ShownUrl,
    ) -> Self {
        let spec = &subscription.spec;
        let form = spec.workfront.clone().unwrap_or_default();
        let (obj_code, event_type) = topic(subscription);
        Self {
            id: subscription.id,
            date_created: date(subscription.created),
            date_modified: date(subscription.updated),
            version: form.version,
            date_version_updated: form.version_updated.map(date),
            customer_id: customer_id.to_owned(),
            obj_id: form.obj_id,
            obj_code,
            url: spec.url.as_str().to_owned(),
            event_type,
            auth_token: spec.auth_token.as_ref().map(AuthToken::masked),
            filters: spec.filters.to_json(),
            filter_connector: spec.filters.connector(),
            base64_encoding: form.base64_encoding,
            subscription_url,
        }
    }
}

/// `objCode` and `eventType`.
fn topic(subscription: &Subscription) -> (String, String) {
    let topic = subscription.spec.topics.first().map(ToString::to_string).unwrap_or_default();
    let (obj_code, event_type) = split_topic(&topic).unwrap_or_default();
    (obj_code.to_owned(), event_type.to_owned())
}

/// A subscription in the list of a single part.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = WorkfrontListed)]
pub(in crate::api) struct Listed {
    id: SubscriptionId,
    date_created: String,
    date_modified: String,
    version: Version,
    /// The time of the last change of the version; `null`: it never changed.
    date_version_updated: Option<String>,
    customer_id: String,
    obj_id: Option<String>,
    obj_code: String,
    url: String,
    event_type: String,
    /// At most the last four characters.
    auth_token: Option<String>,
}

impl Listed {
    pub(super) fn new(subscription: &Subscription, customer_id: &str) -> Self {
        let spec = &subscription.spec;
        let form = spec.workfront.clone().unwrap_or_default();
        let (obj_code, event_type) = topic(subscription);
        Self {
            id: subscription.id,
            date_created: date(subscription.created),
            date_modified: date(subscription.updated),
            version: form.version,
            date_version_updated: form.version_updated.map(date),
            customer_id: customer_id.to_owned(),
            obj_id: form.obj_id,
            obj_code,
            url: spec.url.as_str().to_owned(),
            event_type,
            auth_token: spec.auth_token.as_ref().map(AuthToken::masked),
        }
    }
}

/// The circuit of `url`; that of a URL that was never attempted is as old as `subscription`.
pub(super) async fn circuit(app: &App, subscription: &Subscription) -> Result<ShownUrl, Problem> {
    let url = &subscription.spec.url;
    let circuit = app.services.store.circuit(url).await?;
    let circuit = circuit.unwrap_or_else(|| Circuit::new(subscription.created));
    Ok(ShownUrl::of(url, &circuit))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Published by Adobe: `2024-04-11T17:10:10.305981`.
    #[test]
    fn a_date_has_microseconds_and_no_zone() {
        assert_eq!(date(UnixMillis::new(1_712_855_410_305)), "2024-04-11T17:10:10.305000");
        assert_eq!(date(UnixMillis::new(i64::MAX)), "9223372036854775807 ms");
    }
}
