//! Limits on the time and the number of requests.

use std::time::Duration;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use tokio::time::timeout;

use crate::web::{
    AppState,
    problem::{Kind, Problem},
    uploads::UploadError,
};

/// For a request as a whole, including its body and the wait for a permit.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
/// For a scan of all parked messages: a million are counted in two to three minutes
/// (docs/PERFORMANCE.md), or sixty thousand are replayed at the limited rate of a replay.
pub(crate) const SCAN_DEADLINE: Duration = Duration::from_mins(10);
/// Size of the largest JSON body, except for batches.
pub(crate) const MAX_JSON_BYTES: usize = 256 * 1_024;
/// Size of a batch of events.
pub(crate) const MAX_BATCH_BYTES: usize = 8 * 1_024 * 1_024;

/// The largest body of an address.
#[derive(Clone)]
pub(crate) struct Limit {
    pub(crate) bytes: usize,
    /// The setting of the limit.
    pub(crate) setting: Option<&'static str>,
}

/// Reads the whole body of a request, before it waits for a permit.
pub(crate) async fn read(
    State((app, limit)): State<(AppState, Limit)>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let received = app.uploads.received(request, limit.bytes).await;
    let (request, _upload) = received.map_err(|error| match (error, limit.setting) {
        (UploadError::TooLarge(_), Some(setting)) => {
            Problem::new(Kind::TooLarge, format!("{error} (`{setting}`)"))
        }
        (error, _) => error.into(),
    })?;
    Ok(next.run(request).await)
}

/// Lets a bounded number of requests pass at a time; the others wait.
pub(crate) async fn permit(
    State(app): State<AppState>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let _permit = app.permits.request().await?;
    Ok(next.run(request).await)
}

/// Abandons a request after a time.
pub(crate) async fn deadline(
    State(time): State<Duration>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    timeout(time, next.run(request)).await.map_err(|_elapsed| {
        let seconds = time.as_secs();
        let detail = format!(
            "no answer within {seconds} s; the request may or may not have been carried out"
        );
        Problem::new(Kind::TimedOut, detail)
    })
}
