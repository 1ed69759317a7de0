//! `/v1/endpoints`: circuits, and the deliveries that they had parked.

use std::time::Duration;

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::{
    api::requests::{
        extract::JsonBody,
        query::{NoParameters, Paging, Query, yes_or_no},
    },
    services::Services,
    web::{
        App, AppState,
        acting::Acting,
        problem::{Kind, Problem},
    },
};
use homing_delivery::{
    circuits::{CircuitReplayError, SetError, View, Views},
    parking::{Arriving, Claimed, Tally},
};
use homing_domain::{
    circuit::{Circuit, StateName},
    subscription::FieldError,
    text::parsed,
    url::EndpointUrl,
};
use homing_store::{CircuitPage, CorruptCircuit, Intervention};

/// For counting parked deliveries, if the count is only an addition.
const COUNT_DEADLINE: Duration = Duration::from_secs(10);

/// One page.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = EndpointsPage)]
pub(crate) struct Shown {
    pub(crate) endpoints: Vec<View>,
    /// The value of `after` for the next page.
    pub(crate) next: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) corrupt: Vec<Unread>,
}

impl From<Views> for Shown {
    fn from(Views { views, corrupt, next }: Views) -> Self {
        Self { endpoints: views, next, corrupt: corrupt.into_iter().map(Unread::from).collect() }
    }
}

/// An endpoint in the store that cannot be read.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = UnreadableEndpoint)]
pub(crate) struct Unread {
    pub(crate) url: String,
    pub(crate) field: String,
    pub(crate) message: String,
}

impl From<CorruptCircuit> for Unread {
    fn from(CorruptCircuit { url, field, why }: CorruptCircuit) -> Self {
        Self { url, field, message: why }
    }
}

/// The endpoints that a list has.
#[derive(Deserialize)]
pub(super) struct InState {
    #[serde(default, deserialize_with = "parsed")]
    state: Option<StateName>,
}

/// List the endpoints that were ever attempted or set.
#[utoipa::path(
    get, path = "/v1/endpoints", tag = "endpoints", operation_id = "list_endpoints",
    params(
        ("state" = Option<String>, Query, description = "Only those in this state"),
        ("after" = Option<String>, Query, description = "Begin after this URL: `next` of the page before"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "Maximum number; 100 by default"),
    ),
    responses((status = 200, description = "One page", body = Shown)),
)]
pub(super) async fn list(
    State(app): State<AppState>,
    Query(InState { state }, Paging { after, limit }): Query<InState, Paging<String>>,
) -> Result<Json<Shown>, Problem> {
    let page = CircuitPage { state, after, limit: limit.0, ..CircuitPage::default() };
    Ok(Json(app.services.circuits.views(&page).await?.into()))
}

/// One endpoint.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = EndpointShown)]
pub(crate) struct One {
    #[serde(flatten)]
    pub(crate) view: View,
    /// Deliveries that the circuit had parked; only on request, and absent if it is unknown, which
    /// `arriving` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parked: Option<u32>,
    /// Parked messages of all endpoints that are not in the store yet, and not counted; only on
    /// request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) arriving: Option<Arriving>,
}

/// The endpoint to get.
#[derive(Deserialize)]
pub(super) struct Which {
    #[serde(default, deserialize_with = "parsed")]
    url: Option<EndpointUrl>,
    /// Also count what its circuit had parked.
    #[serde(default, deserialize_with = "yes_or_no")]
    parked: bool,
}

/// Get the circuit of any URL; one that was never attempted is closed.
#[utoipa::path(
    get, path = "/v1/endpoints/get", tag = "endpoints", operation_id = "get_endpoint",
    params(
        ("url" = String, Query, description = "URL of the endpoint"),
        ("parked" = Option<bool>, Query, description = "Also count the deliveries that its circuit had parked"),
    ),
    responses((status = 200, description = "The endpoint", body = One)),
)]
pub(super) async fn get(
    State(app): State<AppState>,
    Query(Which { url, parked }, _): Query<Which>,
) -> Result<Json<One>, Problem> {
    let url = url.ok_or_else(|| {
        FieldError::new("url", "missing; say which endpoint: `?url=https://example.com/hook`")
    })?;
    let view = app.services.circuits.view(&url).await?;
    let counted = if parked { Some(count(&app, &url).await?) } else { None };
    let arriving = counted.map(|tally| tally.arriving);
    Ok(Json(One { view, parked: counted.and_then(known), arriving }))
}

/// `None`: the broker does not answer, so that more may be on their way into the store.
fn known(tally: Tally) -> Option<u32> {
    tally.arriving.messages.map(|_| tally.matched)
}

async fn count(app: &App, url: &EndpointUrl) -> Result<Tally, Problem> {
    let counted = app.services.circuits.count_parked_by_circuit(&app.services.parking, url).await;
    counted.map_err(|error| problem(error, "all parked deliveries are still parked"))
}

fn problem(error: CircuitReplayError, consequence: &str) -> Problem {
    match error {
        CircuitReplayError::Store(error) => error.into(),
        CircuitReplayError::Parking(error) => Problem::parking(error, consequence),
    }
}

/// An endpoint to enable.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = EndpointToEnable, example = json!({"url": "https://example.com/hook"}))]
pub(super) struct EnableRequest {
    url: String,
    /// Also replay what the circuit had parked.
    #[serde(default)]
    replay: bool,
    /// Also if no subscription sends to it.
    #[serde(default)]
    force: bool,
}

/// An endpoint to disable.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = EndpointToDisable, example = json!({"url": "https://example.com/hook"}))]
pub(super) struct DisableRequest {
    url: String,
    /// Also if no subscription sends to it.
    #[serde(default)]
    force: bool,
}

/// The new state of an endpoint.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = EndpointSet)]
pub(crate) struct Set {
    #[serde(flatten)]
    pub(crate) view: View,
    /// Deliveries that the circuit had parked; `None`: unknown.
    pub(crate) parked_by_circuit: Option<u32>,
    /// Those of them that were sent again; only on request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) replayed: Option<u32>,
    /// Parked messages of all endpoints that were not in the store yet, and are in neither number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) arriving: Option<Arriving>,
    /// Those that were left out, because another process acts on them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) claimed: Option<Claimed>,
}

/// Enable an endpoint: close its circuit, so that deliveries are attempted again.
#[utoipa::path(
    post, path = "/v1/endpoints/enable", tag = "endpoints", operation_id = "enable_endpoint",
    request_body = EnableRequest,
    responses(
        (status = 200, description = "The new state of the endpoint", body = Set),
        (status = 404, description = "No subscription sends to it; `near` has similar URLs"),
    ),
)]
pub(super) async fn enable(
    State(app): State<AppState>,
    Acting(services): Acting,
    _: NoParameters,
    JsonBody(request): JsonBody<EnableRequest>,
) -> Result<Json<Set>, Problem> {
    let url = endpoint(&request.url)?;
    if !request.replay {
        return set((&app, &services), &url, Intervention::Enable, request.force).await;
    }
    let _permit = app.permits.parked().await?;
    let circuit = set_circuit(&services, &url, Intervention::Enable, request.force).await?;
    let replayed = replay(&services, &url).await?;
    let view = View::of(&url, &circuit);
    Ok(Json(Set {
        view,
        parked_by_circuit: known(replayed),
        replayed: Some(replayed.matched),
        arriving: Some(replayed.arriving),
        claimed: replayed.claimed,
    }))
}

/// A client that disconnects ends it; what was replayed until then stays replayed.
async fn replay(
    Services { circuits, parking, .. }: &Services,
    url: &EndpointUrl,
) -> Result<Tally, Problem> {
    let mut so_far = Tally::default();
    let replayed = circuits.replay_parked_by_circuit(parking, url, |tally| so_far = tally).await;
    replayed.map_err(|error| {
        let consequence = "the endpoint is enabled; `replayed` deliveries were sent again, the rest are \
                           still parked";
        problem(error, consequence).with("replayed", so_far.matched)
    })
}

/// Disable an endpoint: freeze its circuit, so that nothing is attempted until it is enabled.
#[utoipa::path(
    post, path = "/v1/endpoints/disable", tag = "endpoints", operation_id = "disable_endpoint",
    request_body = DisableRequest,
    responses(
        (status = 200, description = "The new state of the endpoint", body = Set),
        (status = 404, description = "No subscription sends to it; `near` has similar URLs"),
    ),
)]
pub(super) async fn disable(
    State(app): State<AppState>,
    Acting(services): Acting,
    _: NoParameters,
    JsonBody(request): JsonBody<DisableRequest>,
) -> Result<Json<Set>, Problem> {
    set((&app, &services), &endpoint(&request.url)?, Intervention::Disable, request.force).await
}

/// An endpoint to probe.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = EndpointToProbe, example = json!({"url": "https://example.com/hook"}))]
pub(super) struct ProbeRequest {
    url: String,
}

/// Probe an endpoint now: the oldest delivery that is held for it is attempted, or the next one that
/// comes due. Has no effect on a circuit that is not open.
#[utoipa::path(
    post, path = "/v1/endpoints/probe", tag = "endpoints", operation_id = "probe_endpoint",
    request_body = ProbeRequest,
    responses(
        (status = 200, description = "The endpoint, before the probe", body = One),
        (status = 404, description = "No subscription sends to it; `near` has similar URLs"),
    ),
)]
pub(super) async fn probe(
    State(app): State<AppState>,
    Acting(services): Acting,
    _: NoParameters,
    JsonBody(request): JsonBody<ProbeRequest>,
) -> Result<Json<One>, Problem> {
    let url = endpoint(&request.url)?;
    set_circuit(&services, &url, Intervention::Probe, false).await?;
    Ok(Json(One { view: app.services.circuits.view(&url).await?, parked: None, arriving: None }))
}

/// The request is done once the circuit is set: a count that fails, waits for another scan, or
/// takes long is no failure of it.
async fn set(
    (app, services): (&App, &Services),
    url: &EndpointUrl,
    intervention: Intervention,
    is_forced: bool,
) -> Result<Json<Set>, Problem> {
    let circuit = set_circuit(services, url, intervention, is_forced).await?;
    let counted = timeout(COUNT_DEADLINE, count(app, url)).await;
    let counted = counted.ok().and_then(Result::ok);
    Ok(Json(Set {
        view: View::of(url, &circuit),
        parked_by_circuit: counted.and_then(known),
        replayed: None,
        arriving: counted.map(|tally| tally.arriving),
        claimed: None,
    }))
}

async fn set_circuit(
    services: &Services,
    url: &EndpointUrl,
    intervention: Intervention,
    is_forced: bool,
) -> Result<Circuit, Problem> {
    if is_forced {
        return Ok(services.circuits.set(url, intervention).await?);
    }
    let set = services.circuits.set_known(url, intervention).await;
    set.map_err(|error| match error {
        SetError::Store(error) => error.into(),
        SetError::Unknown { ref near, .. } => {
            let detail = format!("{error}; `force` sets it nevertheless");
            Problem::new(Kind::NotFound, detail).with("near", near.as_slice())
        }
    })
}

fn endpoint(url: &str) -> Result<EndpointUrl, FieldError> {
    url.parse().map_err(|error| FieldError::new("url", error))
}
