//! `/attask/eventsubscription/api/v1/subscriptions`: subscriptions in the form of Adobe Workfront's
//! API, so that a client of that API can be pointed at homing.
//!
//! Subscriptions created here are in Workfront's form, and only such subscriptions are visible
//! here. Errors are problem documents, as everywhere in this API.
//!
//! Source: Adobe Workfront, *Event subscription API*; what is not documented there is decided at
//! the item that decides it.

mod versions;

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::State,
    http::{HeaderName, StatusCode, header::LOCATION},
};
use serde::{Deserialize, Deserializer, Serialize, de::Error};
use serde_json::{Map, Value, json};

use crate::{
    api::requests::{
        auth::WORKFRONT,
        extract::{IdInPath, JsonBody},
        query::{NoParameters, Query, UpTo},
    },
    registry::RegistryError,
    web::{App, AppState, acting::Acting, problem::Problem},
};
use homing_domain::{
    circuit::{Circuit, StateName},
    filter::Connector,
    id::SubscriptionId,
    subscription::{
        AuthToken, Draft, EVENT_TYPES, FieldError, OBJ_CODES, Subscription, Version, WorkfrontForm,
        split_topic,
    },
    url::EndpointUrl,
};
use homing_store::{Listing, MAX_PAGE_LIMIT};

pub(super) use versions::*;

/// Far beyond any existing page.
const MAX_PAGE: u32 = 1_000_000;

/// A subscription to create.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schema(as = WorkfrontWanted, example = json!({"objCode": "PROJ", "eventType": "UPDATE", "url": "https://example.com/hook", "authToken": "EauthTokenWorkfrontRocks1234_"}))]
pub(super) struct CreateRequest {
    /// The kind of object: `TASK`, `PROJ`, …
    obj_code: String,
    /// `CREATE`, `UPDATE` or `DELETE`.
    event_type: String,
    /// The URL to send to.
    url: String,
    /// Sent as `Authorization: Bearer`.
    #[schema(min_length = 1, max_length = 254)]
    auth_token: String,
    /// Only events about the object with this id.
    obj_id: Option<String>,
    #[serde(default)]
    filters: Vec<Map<String, Value>>,
    #[serde(default)]
    filter_connector: Connector,
    #[serde(default, rename = "base64Encoding", deserialize_with = "yes_no_or_blank")]
    base64_encoding: bool,
}

/// A boolean, or its spelling; blank is `false`, as Workfront documents it.
fn yes_no_or_blank<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    let spelt = match Value::deserialize(deserializer)? {
        Value::Bool(value) => return Ok(value),
        Value::String(text) => text,
        Value::Null => String::new(),
        Value::Number(_) | Value::Array(_) | Value::Object(_) => "neither".to_owned(),
    };
    match spelt.trim() {
        "true" => Ok(true),
        "false" | "" => Ok(false),
        _ => Err(D::Error::custom("`true`, `false` or blank")),
    }
}

impl CreateRequest {
    fn draft(self) -> Result<Draft, FieldError> {
        one_of("objCode", &self.obj_code, &OBJ_CODES)?;
        one_of("eventType", &self.event_type, &EVENT_TYPES)?;
        let form = WorkfrontForm {
            obj_id: self.obj_id.filter(|id| !id.is_empty()),
            version: Version::default(),
            base64_encoding: self.base64_encoding,
        };
        Ok(Draft {
            url: self.url,
            topics: vec![format!("{}.{}", self.obj_code, self.event_type)],
            filters: self.filters.into_iter().map(with_comparison).collect(),
            filter_connector: self.filter_connector,
            auth_token: Some(self.auth_token),
            // This API cannot show a secret; `rotate-secret` creates one.
            secrets: Some(Vec::new()),
            headers: BTreeMap::new(),
            schedule: None,
            rate_limit: None,
            description: None,
            workfront: Some(form),
        })
    }
}

/// A filter without a comparison means equality, as in Workfront's examples.
fn with_comparison(mut filter: Map<String, Value>) -> Value {
    if filter.contains_key("fieldName") && filter.contains_key("fieldValue") {
        filter.entry("comparison").or_insert_with(|| json!("eq"));
    }
    Value::Object(filter)
}

fn one_of(field: &str, given: &str, known: &[&str]) -> Result<(), FieldError> {
    let message = || format!("one of {}, in this case", known.join(", "));
    known.contains(&given).then_some(()).ok_or_else(|| FieldError::new(field, message()))
}

/// The problem with its fields in the words of this API.
fn renamed(error: RegistryError) -> Problem {
    let renamed = |FieldError { field, message }| {
        let field = match field.as_str() {
            "auth_token" => "authToken".to_owned(),
            "workfront.obj_id" => "objId".to_owned(),
            "filter_connector" => "filterConnector".to_owned(),
            _ => field,
        };
        FieldError { field, message }
    };
    match error {
        RegistryError::Field(error) => RegistryError::Field(renamed(error)).into(),
        RegistryError::Fields(errors) => RegistryError::Fields(errors.map(renamed)).into(),
        error @ (RegistryError::Duplicate { .. }
        | RegistryError::NotFound { .. }
        | RegistryError::OriginChanged { .. }
        | RegistryError::Quota(_)
        | RegistryError::Store(_)
        | RegistryError::Randomness(_)
        | RegistryError::Unreadable(_)) => error.into(),
    }
}

/// A subscription and its version.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = WorkfrontVersioned)]
pub(super) struct Versioned {
    id: SubscriptionId,
    version: Version,
}

type Created = (StatusCode, [(HeaderName, String); 1], Json<Versioned>);

/// Create a subscription in Workfront's form.
#[utoipa::path(
    post, path = "/attask/eventsubscription/api/v1/subscriptions", tag = "workfront", operation_id = "workfront_create",
    request_body = CreateRequest,
    responses(
        (status = 201, description = "Created, at `Location`", body = Versioned),
        (status = 409, description = "The same subscription exists"),
    )
)]
pub(super) async fn create(
    Acting(services): Acting,
    _: NoParameters,
    JsonBody(request): JsonBody<CreateRequest>,
) -> Result<Created, Problem> {
    let created = services.registry.create(request.draft()?).await.map_err(renamed)?;
    let id = created.subscription.id;
    let location = format!("{WORKFRONT}/{id}");
    let versioned = Versioned { id, version: Version::default() };
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(versioned)))
}

/// A subscription in Workfront's form.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = WorkfrontSubscription)]
pub(super) struct Shown {
    id: SubscriptionId,
    date_created: String,
    date_modified: String,
    version: Version,
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
struct ShownUrl {
    url: String,
    date_created: String,
    successes: u64,
    failures: u64,
    disabled_at: Option<String>,
    frozen_at: Option<String>,
}

impl ShownUrl {
    fn of(url: &EndpointUrl, circuit: &Circuit) -> Self {
        let since = |state| (circuit.state.name() == state).then(|| circuit.since.to_string());
        Self {
            url: url.as_str().to_owned(),
            date_created: circuit.created.to_string(),
            successes: circuit.successes,
            failures: circuit.failures,
            disabled_at: since(StateName::Open),
            frozen_at: since(StateName::Frozen),
        }
    }
}

impl Shown {
    fn new(subscription: &Subscription, customer_id: &str, subscription_url: ShownUrl) -> Self {
        let spec = &subscription.spec;
        let form = spec.workfront.clone().unwrap_or_default();
        let topic = spec.topics.first().map(ToString::to_string).unwrap_or_default();
        let (obj_code, event_type) = split_topic(&topic).unwrap_or_default();
        Self {
            id: subscription.id,
            date_created: subscription.created.to_string(),
            date_modified: subscription.updated.to_string(),
            version: form.version,
            customer_id: customer_id.to_owned(),
            obj_id: form.obj_id,
            obj_code: obj_code.to_owned(),
            url: spec.url.as_str().to_owned(),
            event_type: event_type.to_owned(),
            auth_token: spec.auth_token.as_ref().map(AuthToken::masked),
            filters: spec.filters.to_json(),
            filter_connector: spec.filters.connector(),
            base64_encoding: form.base64_encoding,
            subscription_url,
        }
    }
}

/// The circuit of `url`; that of a URL that was never attempted is as old as `subscription`.
async fn circuit(app: &App, subscription: &Subscription) -> Result<ShownUrl, Problem> {
    let url = &subscription.spec.url;
    let circuit = app.services.store.circuit(url).await?;
    let circuit = circuit.unwrap_or_else(|| Circuit::new(subscription.created));
    Ok(ShownUrl::of(url, &circuit))
}

/// One page.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = WorkfrontPage)]
pub(super) struct Page {
    subscriptions: Vec<Shown>,
    meta: Meta,
}

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = WorkfrontMeta)]
struct Meta {
    page: u32,
    page_count: u64,
    limit: u32,
    total_count: u64,
}

/// The page that a request reads.
#[derive(Deserialize)]
pub(super) struct PageNumber {
    #[serde(default)]
    page: UpTo<MAX_PAGE, 1>,
    #[serde(default)]
    limit: UpTo<MAX_PAGE_LIMIT, 100>,
}

/// List subscriptions in Workfront's form.
///
/// Those that cannot be read are counted and not listed; `/v1/subscriptions` names them.
#[utoipa::path(
    get, path = "/attask/eventsubscription/api/v1/subscriptions", tag = "workfront", operation_id = "workfront_list",
    params(
        ("page" = Option<u32>, Query, minimum = 1, maximum = 1_000_000, description = "Number of the page; 1 by default"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "Size of a page; 100 by default"),
    ),
    responses((status = 200, description = "One page", body = Page)),
)]
pub(super) async fn list(
    State(app): State<AppState>,
    Query(PageNumber { page: UpTo(page), limit: UpTo(limit) }, _): Query<PageNumber>,
) -> Result<Json<Page>, Problem> {
    let offset = page.saturating_sub(1).saturating_mul(limit);
    let (Listing { subscriptions, .. }, total_count) =
        app.services.registry.in_workfronts_form(offset, limit).await?;
    let mut circuits: BTreeMap<String, ShownUrl> = BTreeMap::new();
    let mut shown = Vec::with_capacity(subscriptions.len());
    for subscription in &subscriptions {
        let url = subscription.spec.url.as_str();
        let known = match circuits.get(url) {
            Some(known) => known.clone(),
            None => circuit(&app, subscription).await?,
        };
        circuits.entry(url.to_owned()).or_insert_with(|| known.clone());
        shown.push(Shown::new(subscription, &app.services.settings.api.customer_id, known));
    }
    let meta = Meta { page, page_count: total_count.div_ceil(limit.into()), limit, total_count };
    Ok(Json(Page { subscriptions: shown, meta }))
}

/// Get a subscription, with the circuit of its URL.
#[utoipa::path(
    get, path = "/attask/eventsubscription/api/v1/subscriptions/{id}", tag = "workfront", operation_id = "workfront_get",
    params(("id" = SubscriptionId, Path, description = "The subscription")),
    responses((status = 200, description = "The subscription, its token masked", body = Shown)),
)]
pub(super) async fn get(
    State(app): State<AppState>,
    _: NoParameters,
    IdInPath(id): IdInPath,
) -> Result<Json<Shown>, Problem> {
    let subscription = app.services.registry.get_workfront(id).await?;
    let circuit = circuit(&app, &subscription).await?;
    Ok(Json(Shown::new(&subscription, &app.services.settings.api.customer_id, circuit)))
}

/// Delete a subscription.
///
/// Answers 200 without a body, as Workfront does.
#[utoipa::path(
    delete, path = "/attask/eventsubscription/api/v1/subscriptions/{id}", tag = "workfront", operation_id = "workfront_delete",
    params(("id" = SubscriptionId, Path, description = "The subscription")),
    responses((status = 200, description = "Deleted")),
)]
pub(super) async fn delete(
    Acting(services): Acting,
    _: NoParameters,
    IdInPath(id): IdInPath,
) -> Result<StatusCode, Problem> {
    services.registry.get_workfront(id).await?;
    services.registry.delete(id).await?;
    Ok(StatusCode::OK)
}
