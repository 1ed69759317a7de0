//! Connections: taken, bounded in number and patience, and ended.

use std::{sync::Arc, time::Duration};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, error, info};

/// Connections at one time; further ones wait in the listener's queue.
const CONNECTIONS_MAX: usize = 512;
/// Requests at one time on one HTTP/2 connection.
const STREAMS_MAX: u32 = 64;
/// For the head of a request, the time between two requests included.
const HEAD_DEADLINE: Duration = Duration::from_mins(1);
/// For the first byte of a new connection.
const FIRST_BYTE_DEADLINE: Duration = Duration::from_secs(10);
/// How often a silent HTTP/2 peer is asked whether it is still there, and for how long.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_DEADLINE: Duration = Duration::from_secs(10);
/// For requests under way after the order to stop; then their connections are cut.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// After a failed accept, which is mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Answers on `listener` as `router` says until `stop`; then takes no more connections, ends idle ones at once and
/// those with a request under way after its answer, or after five seconds.
///
/// # Cancel safety
///
/// Dropped, it takes no more connections; those that are there go on until the runtime ends.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let server = Server {
        builder: builder(),
        service: TowerToHyperService::new(router),
        graceful: GracefulShutdown::new(),
        tasks: TaskTracker::new(),
        cut: CancellationToken::new(),
    };
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Some(Some((stream, place))) = stop.run_until_cancelled(next(&listener, &places)).await
    {
        server.take(stream, place);
    }
    drop(listener);
    server.end().await;
}

/// The next connection and its place; `None` cannot happen, for nobody closes the semaphore.
async fn next(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    loop {
        match listener.accept().await {
            Ok((stream, _peer)) => return Some((stream, place)),
            Err(error) => {
                error!(%error, "api.accept_failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_DEADLINE);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_DEADLINE);
    builder
}

struct Server {
    builder: auto::Builder<TokioExecutor>,
    service: TowerToHyperService<Router>,
    graceful: GracefulShutdown,
    tasks: TaskTracker,
    cut: CancellationToken,
}

impl Server {
    fn take(&self, stream: TcpStream, place: OwnedSemaphorePermit) {
        let builder = self.builder.clone();
        let service = self.service.clone();
        let watcher = self.graceful.watcher();
        let cut = self.cut.clone();
        self.tasks.spawn(async move {
            let _place = place;
            // Answers are small and written at once; waiting for more helps nobody.
            if stream.set_nodelay(true).is_err() {
                return;
            }
            if !matches!(timeout(FIRST_BYTE_DEADLINE, stream.readable()).await, Ok(Ok(()))) {
                return;
            }
            let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
            let served = cut.run_until_cancelled(watcher.watch(connection)).await;
            if let Some(Err(error)) = served {
                debug!(%error, "api.connection_failed");
            }
        });
    }

    async fn end(self) {
        self.tasks.close();
        if timeout(STOP_GRACE, self.graceful.shutdown()).await.is_err() {
            info!(connections = self.tasks.len(), "api.connections_cut");
        }
        self.cut.cancel();
        self.tasks.wait().await;
    }
}
