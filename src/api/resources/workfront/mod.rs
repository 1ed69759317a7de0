//! `/attask/eventsubscription/api/v1/subscriptions`: subscriptions in the form of Adobe Workfront's
//! API, so that a client of that API can be pointed at homing.
//!
//! Subscriptions created here are in Workfront's form, and only such subscriptions are visible
//! here. Errors are problem documents, as everywhere in this API.
//!
//! Source: Adobe Workfront, *Event subscription API*; what is not documented there is decided at
//! the item that decides it.

mod filters;
mod own_address;
mod shown;
mod versions;

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::State,
    http::{HeaderName, StatusCode, header::LOCATION},
};
use serde::{Deserialize, Deserializer, Serialize, de::Error};
use serde_json::{Map, Value};

use filters::with_comparison;
use own_address::OwnAddress;
use shown::{Listed, Shown, ShownUrl, circuit};

use crate::{
    api::requests::{
        auth::WORKFRONT,
        extract::{IdInPath, JsonBody},
        query::{NoParameters, Query, UpTo},
    },
    registry::RegistryError,
    web::{AppState, acting::Acting, problem::Problem},
};
use homing_domain::{
    filter::Connector,
    id::SubscriptionId,
    subscription::{Draft, EVENT_TYPES, FieldError, OBJ_CODES, Version, WorkfrontForm},
};
use homing_store::{self as store, Listing, MAX_PAGE_LIMIT};

pub(super) use versions::*;

/// Where all pages are read one after the other.
const FIRST_PAGE: store::Page = store::Page { after: None, limit: 100 };

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
        filters::check(&self.obj_code, &self.filters)?;
        let form = WorkfrontForm {
            obj_id: self.obj_id.filter(|id| !id.is_empty()),
            base64_encoding: self.base64_encoding,
            ..WorkfrontForm::default()
        };
        Ok(Draft {
            url: self.url,
            topics: vec![format!("{}.{}", self.obj_code, self.event_type)],
            filters: self.filters.into_iter().map(with_comparison).collect(),
            filter_connector: self.filter_connector,
            auth_token: Some(self.auth_token),
            authentication: None,
            client_certificate: None,
            // This API cannot show a secret; `rotate-secret` creates one.
            secrets: Some(Vec::new()),
            signature_scheme: None,
            headers: BTreeMap::new(),
            schedule: None,
            rate_limit: None,
            deadline: None,
            max_concurrency: None,
            description: None,
            owner: None,
            labels: BTreeMap::new(),
            workfront: Some(form),
            format: None,
            verification: None,
            template: None,
        })
    }
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
        (status = 409, description = "A subscription with the same fields exists"),
    )
)]
pub(super) async fn create(
    Acting(services): Acting,
    OwnAddress(own): OwnAddress,
    _: NoParameters,
    JsonBody(request): JsonBody<CreateRequest>,
) -> Result<Created, Problem> {
    let created = services.registry.create(request.draft()?).await.map_err(renamed)?;
    let id = created.subscription.id;
    let location = format!("{own}{WORKFRONT}/{id}");
    let versioned = Versioned { id, version: Version::default() };
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(versioned)))
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

/// List all subscriptions in Workfront's form at once.
///
/// Workfront calls this deprecated. Those that cannot be read are not listed; `/v1/subscriptions`
/// names them.
#[utoipa::path(
    get, path = "/attask/eventsubscription/api/v1/subscriptions/list", tag = "workfront", operation_id = "workfront_list_all",
    responses((status = 200, description = "All of them", body = [Listed])),
)]
pub(super) async fn list_all(
    State(app): State<AppState>,
    _: NoParameters,
) -> Result<Json<Vec<Listed>>, Problem> {
    let services = &app.services;
    let customer_id = &services.settings.api.customer_id;
    let (mut all, mut page) = (Vec::new(), FIRST_PAGE);
    loop {
        let listing = services.registry.page_in_workfronts_form(page).await?;
        all.extend(listing.subscriptions.iter().map(|one| Listed::new(one, customer_id)));
        page.after = listing.next;
        if page.after.is_none() {
            return Ok(Json(all));
        }
    }
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
