//! The sink: endpoints in the bench's own process that accept every request and record the times.

use std::{io, sync::Arc, time::Duration};

use axum::{
    body::{Body, to_bytes},
    extract::State,
    handler::Handler,
    serve::ListenerExt,
};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{
    net::TcpListener,
    sync::Notify,
    time::{Instant, sleep},
};

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
}

impl Arrivals {
    pub(super) fn requests(&self) -> u32 {
        u32::try_from(self.latencies.len()).unwrap_or(u32::MAX)
    }
}

impl Sink {
    pub(super) fn new(latency: Duration) -> Self {
        let (start, arrivals) = (Instant::now(), Mutex::default());
        Self { latency, start, arrivals, came: Notify::new() }
    }

    /// Serves without end.
    pub(super) async fn serve(self: Arc<Self>, listener: TcpListener) -> io::Result<()> {
        // Without it, answers are only a little later.
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        axum::serve(listener, answer.with_state(self).into_make_service()).await
    }
}

async fn answer(State(sink): State<Arc<Sink>>, body: Body) {
    // As long as the bench makes them.
    let Ok(body) = to_bytes(body, usize::MAX).await else { return };
    let now = sink.start.elapsed();
    {
        let mut arrivals = sink.arrivals.lock();
        if arrivals.latencies.is_empty() {
            arrivals.first = now;
        }
        arrivals.last = now;
        arrivals.latencies.push(now.saturating_sub(due(&body)));
    }
    sink.came.notify_one();
    if !sink.latency.is_zero() {
        sleep(sink.latency).await;
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
