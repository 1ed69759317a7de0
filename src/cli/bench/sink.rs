//! The sink: endpoints that accept every request and record the times.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, time::MissedTickBehavior};
use tokio_util::task::TaskTracker;

use super::{
    figures::{Percentiles, micros},
    load::due,
    process::Orders,
};
use crate::cli::{
    Output,
    failure::{Exit, Failure},
};
use homing_domain::clock;
use parking_lot::Mutex;

/// The interval at which it reports the number of requests.
const REPORT_EVERY: Duration = Duration::from_millis(10);

/// The job of the sink.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) latency_ms: u32,
    pub(super) fail_percent: u32,
}

/// The requests that came, without those of the warm-up.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Report {
    pub(super) requests: u64,
    /// Of them, those that were answered with 500.
    pub(super) failed: u64,
    /// From the first request to the last, in microseconds.
    pub(super) lasted_us: u64,
    /// From the publish to the arrival.
    pub(super) latency: Percentiles,
}

struct Sink {
    job: Job,
    arrivals: Mutex<Arrivals>,
}

#[derive(Default)]
struct Arrivals {
    /// With those of the warm-up.
    all: u64,
    requests: u64,
    failed: u64,
    first_us: Option<i64>,
    last_us: i64,
    /// In microseconds.
    latencies: Vec<u32>,
}

impl Sink {
    /// Counts a request; the status that it is answered with.
    fn took(&self, body: &Bytes) -> StatusCode {
        let now = clock::micros();
        let mut arrivals = self.arrivals.lock();
        arrivals.all += 1;
        let Some(due) = due(body) else { return StatusCode::OK };
        arrivals.first_us.get_or_insert(now);
        arrivals.last_us = now;
        arrivals.latencies.push(micros(now.saturating_sub(due)));
        arrivals.requests += 1;
        // Evenly: of each hundred consecutive requests, as many as there are per cent.
        let failed = arrivals.requests * u64::from(self.job.fail_percent) / 100;
        if failed > arrivals.failed {
            arrivals.failed = failed;
            return StatusCode::INTERNAL_SERVER_ERROR;
        }
        StatusCode::OK
    }

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let mut response = Response::new(Full::default());
        let Ok(body) = request.into_body().collect().await else { return Ok(response) };
        *response.status_mut() = self.took(&body.to_bytes());
        if self.job.latency_ms > 0 {
            tokio::time::sleep(Duration::from_millis(self.job.latency_ms.into())).await;
        }
        Ok(response)
    }

    fn report(&self) -> Report {
        let mut arrivals = self.arrivals.lock();
        let lasted = arrivals.last_us.saturating_sub(arrivals.first_us.unwrap_or_default());
        Report {
            requests: arrivals.requests,
            failed: arrivals.failed,
            lasted_us: u64::try_from(lasted).unwrap_or_default(),
            latency: Percentiles::of(&mut arrivals.latencies),
        }
    }
}

/// Serves until the order to stop; reports its port first, then the number of requests as it grows.
pub(super) async fn run(output: &mut Output<'_>) -> Result<Exit, Failure> {
    let mut orders = Orders::new();
    let sink = Arc::new(Sink { job: orders.job().await?, arrivals: Mutex::default() });
    let address = ([127, 0, 0, 1], 0).into();
    let failed = |source: io::Error| Failure::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    output.text(&format!("{}\n", listener.local_addr().map_err(failed)?.port()))?;
    let connections = TaskTracker::new();
    let mut ticks = tokio::time::interval(REPORT_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut reported = 0;
    loop {
        tokio::select! {
            polite = orders.stop() => {
                if polite {
                    output.line_of_json(&sink.report())?;
                }
                return Ok(Exit::Done);
            }
            _tick = ticks.tick() => {
                let all = sink.arrivals.lock().all;
                if all != reported {
                    output.text(&format!("{all}\n"))?;
                    reported = all;
                }
            }
            accepted = listener.accept() => {
                let Ok((stream, _peer)) = accepted else { continue };
                // Without it, answers are only a little later.
                let _kept = stream.set_nodelay(true);
                let sink = Arc::clone(&sink);
                let service = service_fn(move |request| Arc::clone(&sink).answer(request));
                let mut http = http1::Builder::new();
                let serving = http.timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
                connections.spawn(serving);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::load::body;

    #[test]
    fn as_many_fail_as_are_to_and_the_warm_up_does_not_count() {
        let job = Job { latency_ms: 0, fail_percent: 25 };
        let sink = Sink { job, arrivals: Mutex::default() };
        assert_eq!(sink.took(&body(0, 64)), StatusCode::OK);
        let statuses: Vec<_> =
            (0..8).map(|_| sink.took(&body(clock::micros(), 64)).as_u16()).collect();
        assert_eq!(statuses, [200, 200, 200, 500, 200, 200, 200, 500]);
        let report = sink.report();
        assert_eq!((report.requests, report.failed), (8, 2));
        assert!(report.latency.max < 1_000.0);
    }
}
