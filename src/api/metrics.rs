//! `/metrics`, in the text format of Prometheus.

use axum::{
    extract::State,
    http::{HeaderName, header::CONTENT_TYPE},
};

use super::{
    Api,
    extract::NoParameters,
    problem::{Kind, Problem},
};

/// Source: Prometheus documentation, *Exposition formats*, text-based format.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The metrics of this process.
#[utoipa::path(
    get, path = "/metrics", tag = "health", operation_id = "metrics",
    responses(
        (status = 200, description = "In the text format of Prometheus", body = String, content_type = "text/plain"),
        (status = 404, description = "This process records none"),
    )
)]
pub(super) async fn render(
    State(api): State<Api>,
    _: NoParameters,
) -> Result<([(HeaderName, &'static str); 1], String), Problem> {
    let handle = api
        .parts
        .metrics
        .as_ref()
        .ok_or_else(|| Problem::new(Kind::NotFound, "this process does not record metrics"))?;
    Ok(([(CONTENT_TYPE, TEXT_FORMAT)], handle.render()))
}
