//! `/metrics`, in the text format of Prometheus.

use std::time::Duration;

use axum::{
    extract::State,
    http::{HeaderName, header::CONTENT_TYPE},
};

use tokio::time::{Instant, timeout, timeout_at};

use super::{health::archive_is_missing, queues};
use crate::{
    api::requests::query::NoParameters,
    web::{
        App, AppState,
        problem::{Kind, Problem},
    },
};
use homing_delivery::worker::layout;
use homing_domain::{clock, time::UnixMillis};
use homing_telemetry::metrics;

/// For broker and store to answer; Prometheus waits 10 s by default.
const CHECK_DEADLINE: Duration = Duration::from_secs(3);

/// Source: Prometheus documentation, *Exposition formats*, text-based format.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Get the metrics of this process.
#[utoipa::path(
    get, path = "/metrics", tag = "health", operation_id = "metrics",
    responses(
        (status = 200, description = "In the text format of Prometheus", body = String, content_type = "text/plain"),
        (status = 404, description = "This process records none"),
    )
)]
pub(super) async fn render(
    State(app): State<AppState>,
    _: NoParameters,
) -> Result<([(HeaderName, &'static str); 1], String), Problem> {
    let handle = app
        .process
        .metrics
        .as_ref()
        .ok_or_else(|| Problem::new(Kind::NotFound, "this process does not record metrics"))?;
    tokio::join!(measure_broker(&app), measure_store(&app), measure_load(&app));
    Ok(([(CONTENT_TYPE, TEXT_FORMAT)], handle.render()))
}

/// Figures that only the broker has.
async fn measure_broker(app: &App) {
    let broker = &app.services.broker;
    let [publishing, consuming] = broker.states();
    metrics::broker_connected("publishing", publishing.connected);
    metrics::broker_connected("consuming", consuming.connected);
    metrics::broker_blocked(publishing.blocked.is_some());
    metrics::archive_missing(archive_is_missing(app).await);
    let deadline = Instant::now() + CHECK_DEADLINE;
    for queue in queues::names(broker.topology()) {
        let depth = timeout_at(deadline, broker.depth(&queue)).await;
        let depth = depth.ok().and_then(Result::ok).flatten();
        metrics::queue(&queue, depth.map(|depth| (depth.messages, depth.consumers)));
    }
    let left_over = layout::left_over(broker, app.services.store.as_ref());
    // Their last figures stay where the broker does not answer.
    if let Ok(Ok(left_over)) = timeout_at(deadline, left_over).await {
        for (queue, depth) in left_over {
            metrics::queue(&queue, Some((depth.messages, depth.consumers)));
        }
    }
}

async fn measure_store(app: &App) {
    let checked = timeout(CHECK_DEADLINE, app.services.store.check()).await;
    metrics::store_up(matches!(checked, Ok(Ok(()))));
    let parked = timeout(CHECK_DEADLINE, app.services.store.parked_totals()).await;
    metrics::parked_deliveries(parked.ok().and_then(Result::ok).map(|totals| totals.deliveries));
    let first = app.services.store.expiring_certificates(UnixMillis::new(i64::MAX), 1);
    let first = timeout(CHECK_DEADLINE, first).await.ok().and_then(Result::ok);
    let own = first.and_then(|first| first.first().map(|it| it.expires));
    let expires = own.into_iter().chain(app.endpoints.certificate_expires()).min();
    metrics::client_certificate_expires(expires, clock::now());
    let has_proxy = app.endpoints.has_proxy();
    metrics::proxy_up(has_proxy.then(|| app.endpoints.proxy_problem().is_none()));
}

/// A scaler acts by it, so it is never unknown once it was known: it would take that as a number.
async fn measure_load(app: &App) {
    let overview = timeout(CHECK_DEADLINE, app.services.status_service.overview()).await.ok();
    if let Some(wanted) = overview.and_then(|overview| overview.workers_wanted) {
        metrics::workers_wanted(wanted);
    }
}
