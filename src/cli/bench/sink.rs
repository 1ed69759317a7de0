//! The sink: endpoints in the bench's own process that accept requests and record the times.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{
    Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::{
    net::TcpListener,
    sync::Notify,
    time::{Instant, sleep},
};
use tokio_util::task::TaskTracker;

/// A body of `bytes` bytes of an event that is due `due` after the start: that in microseconds, as
/// JSON, and blanks.
pub(super) fn body(due: Duration, bytes: usize) -> Bytes {
    let mut body = due.as_micros().to_string().into_bytes();
    body.resize(bytes.max(body.len()), b' ');
    body.into()
}

fn due(body: &Bytes) -> Duration {
    let text = body.split(|byte| *byte == b' ').next().unwrap_or_default();
    let micros = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    Duration::from_micros(micros.unwrap_or_default())
}

/// The beginning of paths at which the first attempt of every delivery fails.
pub(super) const FAILING: &str = "/failing/";
/// The number of an attempt; the first is 1.
const ATTEMPT: &str = "x-homing-attempt";

/// Endpoints that answer after `latency`.
pub(super) struct Sink {
    latency: Duration,
    /// The instant from which `due` counts.
    pub(super) start: Instant,
    pub(super) arrivals: Mutex<Arrivals>,
    /// Notified of every request.
    pub(super) came: Notify,
}

/// The requests that came.
#[derive(Clone, Debug, Default)]
pub(super) struct Arrivals {
    pub(super) first: Duration,
    pub(super) last: Duration,
    /// From when each was due to its arrival.
    pub(super) latencies: Vec<Duration>,
    /// Requests that repeat one.
    repeated: u32,
}

impl Arrivals {
    pub(super) fn requests(&self) -> u32 {
        u32::try_from(self.latencies.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn first_attempts(&self) -> u32 {
        self.requests().saturating_sub(self.repeated)
    }
}

impl Sink {
    pub(super) fn new(latency: Duration) -> Self {
        let (start, arrivals) = (Instant::now(), Mutex::default());
        Self { latency, start, arrivals, came: Notify::new() }
    }

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Empty<Bytes>>, Infallible> {
        let is_first = request.headers().get(ATTEMPT).is_some_and(|number| number == "1");
        let fails = is_first && request.uri().path().starts_with(FAILING);
        let Ok(body) = request.into_body().collect().await else { return Ok(Response::default()) };
        let now = self.start.elapsed();
        {
            let mut arrivals = self.arrivals.lock();
            if arrivals.latencies.is_empty() {
                arrivals.first = now;
            }
            arrivals.last = now;
            arrivals.latencies.push(now.saturating_sub(due(&body.to_bytes())));
            arrivals.repeated += u32::from(!is_first);
        }
        self.came.notify_one();
        if !self.latency.is_zero() {
            sleep(self.latency).await;
        }
        let mut response = Response::default();
        if fails {
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        }
        Ok(response)
    }

    /// Serves without end.
    pub(super) async fn serve(self: Arc<Self>, listener: TcpListener) -> io::Result<()> {
        let connections = TaskTracker::new();
        loop {
            let (stream, _peer) = listener.accept().await?;
            // Without it, answers are only a little later.
            let _kept = stream.set_nodelay(true);
            let sink = Arc::clone(&self);
            let service = service_fn(move |request| Arc::clone(&sink).answer(request));
            let mut http = http1::Builder::new();
            let io = TokioIo::new(stream);
            connections.spawn(http.timer(TokioTimer::new()).serve_connection(io, service));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_says_when_it_was_due() {
        let at = Duration::from_micros(1_234_567);
        let body = body(at, 64);
        assert_eq!((body.len(), due(&body)), (64, at));
        serde_json::from_slice::<u64>(&body).unwrap();
    }
}
