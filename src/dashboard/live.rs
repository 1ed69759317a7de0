//! Parts of pages that are kept current by server-sent events, each with the present part.
//!
//! Source: HTML Living Standard, 9.2 (server-sent events).

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Extension,
    extract::{Path, State},
    http::StatusCode,
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::stream;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, sleep_until},
};

use super::{auth::Shown, fields::Fields, layout::Visitor, overview, parked};
use crate::web::AppState;

/// The intervals of updates of the overview, and of a job.
const OVERVIEW_INTERVAL: Duration = Duration::from_secs(2);
const JOB_INTERVAL: Duration = Duration::from_millis(500);
/// The interval of checks that the browser's token is still valid.
const CHECK: Duration = Duration::from_secs(1);
/// The lifetime of a stream; then the browser reconnects.
const LASTS: Duration = Duration::from_secs(120);

/// The next message of a stream.
enum Update {
    /// The present part.
    Part(String),
    /// The end: the browser reloads the page.
    Reload,
}

/// One browser with a stream.
struct Watcher {
    app: AppState,
    shown: Shown,
    _permit: OwnedSemaphorePermit,
    until: Instant,
    began: bool,
    ended: bool,
}

impl Watcher {
    /// Waits for the next update; `None`: the token was deleted, or homing stops.
    async fn pause(&self, pause: Duration) -> Option<()> {
        let until = Instant::now() + pause;
        loop {
            let next = until.min(Instant::now() + CHECK);
            self.app.process.stop.run_until_cancelled(sleep_until(next)).await?;
            self.shown.is_known(&self.app).await.then_some(())?;
            if next == until {
                return Some(());
            }
        }
    }
}

/// The overview.
pub(super) async fn overview(
    State(app): State<AppState>,
    Extension(shown): Extension<Shown>,
    Extension(visitor): Extension<Visitor>,
    fields: Fields,
) -> Response {
    let (range, may_write) = (overview::range(&fields), visitor.may_write);
    watch((app, shown), OVERVIEW_INTERVAL, move |app| async move {
        overview::part(&app, range, may_write).await.map_or(Update::Reload, Update::Part)
    })
}

/// A job on the parked messages, until it ends.
pub(super) async fn job(
    State(app): State<AppState>,
    Extension(shown): Extension<Shown>,
    Path(id): Path<String>,
) -> Response {
    watch((app, shown), JOB_INTERVAL, move |app| {
        let part = parked::job_part(&app, &id);
        async move { part.map_or(Update::Reload, Update::Part) }
    })
}

/// Sends the results of `render`, until the browser disconnects, its token is deleted, the time is
/// over or homing stops. Beyond the limit of streams, the page is not kept current.
fn watch<F, L>((app, shown): (AppState, Shown), pause: Duration, render: F) -> Response
where
    F: Fn(AppState) -> L + Send + Sync + 'static,
    L: Future<Output = Update> + Send,
{
    let Some(permit) = app.permits.stream() else {
        // A browser does not reconnect after this status. Source: as above, 9.2.3.
        return StatusCode::NO_CONTENT.into_response();
    };
    let until = Instant::now() + LASTS;
    let (began, ended) = (false, false);
    let watcher = Watcher { app, shown, _permit: permit, until, began, ended };
    let render = Arc::new(render);
    let updates = stream::unfold(watcher, move |mut watcher| {
        let render = Arc::clone(&render);
        async move {
            if watcher.ended || Instant::now() >= watcher.until {
                return None;
            }
            if watcher.began {
                watcher.pause(pause).await?;
            }
            watcher.began = true;
            let rendering = render(Arc::clone(&watcher.app));
            let update = watcher.app.process.stop.run_until_cancelled(rendering).await?;
            let event = match update {
                Update::Part(html) => Event::default().event("part").data(html.replace('\r', "")),
                Update::Reload => {
                    watcher.ended = true;
                    Event::default().event("end").data("reload")
                }
            };
            Some((Ok::<_, Infallible>(event), watcher))
        }
    });
    Sse::new(updates).keep_alive(KeepAlive::default()).into_response()
}
