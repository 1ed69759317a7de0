//! The sink: endpoints in the bench's own process that accept every request and record the times.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
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

/// A body is `{"due_us":"<16 hexadecimal digits>","fill":"xxx…"}`.
const BEFORE_DUE: &str = "{\"due_us\":\"";
const DUE_DIGITS: usize = 16;
const AFTER_DUE: &str = "\",\"fill\":\"";
const END: &str = "\"}";

/// A body of `bytes` bytes of an event that is due `due` after the start; `None`: of the warm-up.
pub(super) fn body(due: Option<Duration>, bytes: usize) -> Bytes {
    // From 1: zero is the warm-up.
    let due = due.map_or(0, |due| due.as_micros().saturating_add(1));
    let mut body = format!("{BEFORE_DUE}{due:0DUE_DIGITS$x}{AFTER_DUE}").into_bytes();
    body.resize(bytes.saturating_sub(END.len()).max(body.len()), b'x');
    body.extend_from_slice(END.as_bytes());
    body.into()
}

fn due(body: &Bytes) -> Option<Duration> {
    let digits = body.strip_prefix(BEFORE_DUE.as_bytes())?.get(..DUE_DIGITS)?;
    let due = u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    due.checked_sub(1).map(Duration::from_micros)
}

/// Endpoints that answer after `latency`, `fail_percent` of a hundred requests with 500.
pub(super) struct Sink {
    pub(super) latency: Duration,
    pub(super) fail_percent: u32,
    /// The instant from which `due` counts.
    pub(super) start: Instant,
    pub(super) arrivals: Mutex<Arrivals>,
    /// Notified of every request.
    pub(super) came: Notify,
}

/// The requests that came; all but `warm_up` without those of the warm-up.
#[derive(Clone, Debug, Default)]
pub(super) struct Arrivals {
    pub(super) warm_up: u64,
    pub(super) failed: u64,
    pub(super) first: Duration,
    pub(super) last: Duration,
    /// The sum of the times between request and answer.
    pub(super) answering: Duration,
    /// From when each was due to its arrival.
    pub(super) latencies: Vec<Duration>,
}

impl Arrivals {
    pub(super) fn requests(&self) -> u64 {
        u64::try_from(self.latencies.len()).unwrap_or(u64::MAX)
    }
}

impl Sink {
    /// Counts a request; the status that it is answered with.
    fn take(&self, body: &Bytes) -> StatusCode {
        let now = self.start.elapsed();
        let mut arrivals = self.arrivals.lock();
        let Some(due) = due(body) else {
            arrivals.warm_up += 1;
            return StatusCode::OK;
        };
        if arrivals.latencies.is_empty() {
            arrivals.first = now;
        }
        arrivals.last = now;
        arrivals.latencies.push(now.saturating_sub(due));
        // Evenly: of each hundred consecutive requests, as many as there are per cent.
        let failed = arrivals.requests() * u64::from(self.fail_percent) / 100;
        let fails = failed > arrivals.failed;
        arrivals.failed = failed;
        if fails { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK }
    }

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let mut response = Response::new(Full::default());
        let Ok(body) = request.into_body().collect().await else { return Ok(response) };
        let begun = Instant::now();
        *response.status_mut() = self.take(&body.to_bytes());
        self.came.notify_one();
        if !self.latency.is_zero() {
            sleep(self.latency).await;
        }
        self.arrivals.lock().answering += begun.elapsed();
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

    #[tokio::test]
    async fn as_many_fail_as_are_to_and_the_warm_up_does_not_count() {
        let (latency, start) = (Duration::ZERO, Instant::now());
        let (arrivals, came) = (Mutex::default(), Notify::new());
        let sink = Sink { latency, fail_percent: 25, start, arrivals, came };
        assert_eq!(sink.take(&body(None, 64)), StatusCode::OK);
        let body = body(Some(Duration::ZERO), 64);
        assert_eq!((body.len(), due(&body)), (64, Some(Duration::ZERO)));
        let statuses: Vec<_> = (0..8).map(|_| sink.take(&body).as_u16()).collect();
        assert_eq!(statuses, [200, 200, 200, 500, 200, 200, 200, 500]);
        let arrivals = sink.arrivals.lock();
        assert_eq!((arrivals.warm_up, arrivals.requests(), arrivals.failed), (1, 8, 2));
    }
}
