//! Parts of pages that are kept current: server-sent events, each with the part as it is now.
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

use super::{Dashboard, auth::Shown, overview, parked};

/// Between two looks at the pool, and at a walk.
const LOOK: Duration = Duration::from_secs(2);
const WALK_LOOK: Duration = Duration::from_millis(500);
/// How often it is looked whether the browser still may.
const CHECK: Duration = Duration::from_secs(1);
/// Then the browser asks again.
const LASTS: Duration = Duration::from_secs(120);

/// What a stream says next.
enum Told {
    /// The part as it is.
    Part(String),
    /// Nothing more will come; the page is to be loaded again.
    Reload,
}

/// One browser that looks.
struct Watching {
    dashboard: Dashboard,
    shown: Shown,
    _place: OwnedSemaphorePermit,
    until: Instant,
    began: bool,
    ended: bool,
}

impl Watching {
    /// Waits for the next look; `None`: its token was removed, or homing stops.
    async fn pause(&self, pause: Duration) -> Option<()> {
        let until = Instant::now() + pause;
        loop {
            let next = until.min(Instant::now() + CHECK);
            self.dashboard.parts.stop.run_until_cancelled(sleep_until(next)).await?;
            self.shown.is_known(&self.dashboard).await.then_some(())?;
            if next == until {
                return Some(());
            }
        }
    }
}

/// The overview.
pub(super) async fn overview(
    State(dashboard): State<Dashboard>,
    Extension(shown): Extension<Shown>,
) -> Response {
    watch((dashboard, shown), LOOK, |dashboard| async move {
        overview::part(&dashboard).await.map_or(Told::Reload, Told::Part)
    })
}

/// A walk through the parked messages, until it ends.
pub(super) async fn job(
    State(dashboard): State<Dashboard>,
    Extension(shown): Extension<Shown>,
    Path(id): Path<String>,
) -> Response {
    watch((dashboard, shown), WALK_LOOK, move |dashboard| {
        let part = parked::job_part(&dashboard, &id);
        async move { part.map_or(Told::Reload, Told::Part) }
    })
}

/// Says what `look` finds, until the browser goes, its token is removed, the time is over or homing
/// stops. Where too many look already, the page stays as it is.
fn watch<F, L>((dashboard, shown): (Dashboard, Shown), pause: Duration, look: F) -> Response
where
    F: Fn(Dashboard) -> L + Send + Sync + 'static,
    L: Future<Output = Told> + Send,
{
    let Ok(place) = Arc::clone(&dashboard.streams).try_acquire_owned() else {
        // A browser does not try again after this. Source: as above, 9.2.3.
        return StatusCode::NO_CONTENT.into_response();
    };
    let until = Instant::now() + LASTS;
    let (began, ended) = (false, false);
    let watching = Watching { dashboard, shown, _place: place, until, began, ended };
    let look = Arc::new(look);
    let told = stream::unfold(watching, move |mut watching| {
        let look = Arc::clone(&look);
        async move {
            if watching.ended || Instant::now() >= watching.until {
                return None;
            }
            if watching.began {
                watching.pause(pause).await?;
            }
            watching.began = true;
            let looking = look(watching.dashboard.clone());
            let told = watching.dashboard.parts.stop.run_until_cancelled(looking).await?;
            let event = match told {
                Told::Part(html) => Event::default().event("part").data(html.replace('\r', "")),
                Told::Reload => {
                    watching.ended = true;
                    Event::default().event("end").data("reload")
                }
            };
            Some((Ok::<_, Infallible>(event), watching))
        }
    });
    Sse::new(told).keep_alive(KeepAlive::default()).into_response()
}
