//! The processes of a bench, and the CPU time that they use.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;
use url::Host;

use super::{
    Wanted,
    load::{self, Loaded},
    process::Process,
    sandbox::{self, Sandbox},
    sink, worker,
};
use crate::{cli::failure::Failure, config::Settings, services::Services, usage};
use homing_broker::{Broker, Route, consume::Lane};
use homing_domain::subscription::Draft;

/// Requests to each endpoint before anything is measured, so that connections are there.
const WARM_UP_PER_ENDPOINT: u32 = 4;

/// The sink, the workers, and the bench's own side of the broker.
pub(super) struct Stage {
    parts: Services,
    sink: Process,
    workers: Vec<Process>,
    /// The process of the broker, if it is on this machine and may be read.
    broker_process: Option<u32>,
    /// Requests of the warm-up.
    warmed_up: u64,
    /// Requests that came to the sink.
    came: u64,
}

/// CPU time and the time of all processors together.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spent {
    pub(super) workers: Option<Duration>,
    pub(super) bench: Option<Duration>,
    pub(super) sink: Option<Duration>,
    pub(super) broker: Option<Duration>,
    /// The time that the processors were busy, and the time that they could have been.
    pub(super) machine: Option<(u64, u64)>,
}

/// The counts of all parts.
pub(super) struct Counted {
    pub(super) loaded: Loaded,
    pub(super) sink: sink::Report,
    pub(super) workers: worker::Report,
    /// The largest of the workers.
    pub(super) worker_peak_kib: Option<u32>,
    /// Deliveries that the broker has in the wait queues.
    pub(super) waiting: u64,
}

impl Spent {
    pub(super) fn since(self, before: Self) -> Self {
        let less = |now: Option<Duration>, before| Some(now?.saturating_sub(before?));
        let machine = self
            .machine
            .zip(before.machine)
            .map(|(now, before)| (now.0.saturating_sub(before.0), now.1.saturating_sub(before.1)));
        Self {
            workers: less(self.workers, before.workers),
            bench: less(self.bench, before.bench),
            sink: less(self.sink, before.sink),
            broker: less(self.broker, before.broker),
            machine,
        }
    }
}

impl Stage {
    /// Starts all parts, and returns when the workers deliver.
    pub(super) async fn start(sandbox: &Sandbox, wanted: &Wanted) -> Result<Self, Failure> {
        let settings = sandbox.settings();
        let parts = Services::open(settings.clone()).await.map_err(Failure::Start)?;
        let broker = parts.broker.clone();
        let connected = broker.connect_to_publish().await;
        connected.map_err(|error| sandbox::refused(&settings.broker.prefix, error))?;
        tokio::select! {
            stage = Box::pin(Self::staff(parts, wanted)) => stage,
            failure = blocked(&broker) => Err(failure),
        }
    }

    async fn staff(parts: Services, wanted: &Wanted) -> Result<Self, Failure> {
        let job = sink::Job { latency_ms: wanted.latency, fail_percent: wanted.fail };
        let mut sink = Process::start("sink", &job).await?;
        let port = sink.line().await?;
        for endpoint in 0..wanted.endpoints {
            let url = format!("http://127.0.0.1:{port}/{endpoint}");
            let draft = json!({ "url": url, "topics": [load::topic(endpoint)] });
            let draft: Draft =
                serde_json::from_value(draft).map_err(|error| Failure::Bench(error.to_string()))?;
            parts.registry.create(draft).await.map_err(Failure::Registry)?;
        }
        let mut workers = Vec::new();
        for _ in 0..wanted.workers {
            workers.push(Process::start("worker", &parts.settings).await?);
        }
        let broker_process = broker_process(&parts.settings);
        let mut stage = Self { parts, sink, workers, broker_process, warmed_up: 0, came: 0 };
        stage.wait_for_workers(wanted.workers).await?;
        stage.warm_up(wanted).await?;
        Ok(stage)
    }

    async fn wait_for_workers(&mut self, count: u32) -> Result<(), Failure> {
        const POLL: Duration = Duration::from_millis(50);
        loop {
            let lane =
                self.parts.broker.lane_depth(Lane::Primary).await.map_err(Failure::Broker)?;
            if lane.consumers >= count {
                return Ok(());
            }
            for worker in &mut self.workers {
                worker.check()?;
            }
            sleep(POLL).await;
        }
    }

    async fn warm_up(&mut self, wanted: &Wanted) -> Result<(), Failure> {
        let count = wanted.endpoints * WARM_UP_PER_ENDPOINT;
        for number in 0..count {
            let body = load::body(0, usize::try_from(wanted.size).unwrap_or(usize::MAX));
            // Numbers of their own: what has come already is not delivered again.
            let number = u32::MAX - number;
            let message = load::event(number, number % wanted.endpoints, body)?;
            let sent = self.parts.broker.publish(&message, Route::Events).await;
            sent.map_err(Failure::Broker)?;
        }
        while self.came < u64::from(count) {
            self.next_count().await?;
        }
        self.warmed_up = self.came;
        Ok(())
    }

    pub(super) fn broker(&self) -> &Broker {
        &self.parts.broker
    }

    /// Undelivered events that keep the workers busy: twice as many as they have places for.
    pub(super) fn window(&self) -> u64 {
        let workers = u64::try_from(self.workers.len()).unwrap_or(u64::MAX);
        let places = u64::from(self.parts.settings.worker.max_lane_in_flight());
        workers.saturating_mul(places).saturating_mul(2)
    }

    /// Requests that came to the sink since the warm-up.
    pub(super) fn arrived(&self) -> u64 {
        self.came.saturating_sub(self.warmed_up)
    }

    /// Waits for the next count of requests from the sink, for a second at most.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(super) async fn next_count(&mut self) -> Result<(), Failure> {
        const SILENCE: Duration = Duration::from_secs(1);
        if let Ok(line) = tokio::time::timeout(SILENCE, self.sink.line()).await {
            self.came = line?.parse().unwrap_or(self.came);
            return Ok(());
        }
        for worker in &mut self.workers {
            worker.check()?;
        }
        Ok(())
    }

    /// The CPU time used until now.
    pub(super) fn spent(&self) -> Spent {
        let of = |process: Option<u32>| process.and_then(usage::cpu);
        Spent {
            workers: self.workers.iter().map(|worker| of(worker.id())).sum(),
            bench: usage::cpu(std::process::id()),
            sink: of(self.sink.id()),
            broker: of(self.broker_process),
            machine: usage::busy(),
        }
    }

    /// Ends all parts and collects their counts.
    pub(super) async fn end(self, loaded: Loaded) -> Result<Counted, Failure> {
        let peaks = self.workers.iter().filter_map(|worker| worker.id().and_then(usage::peak_kib));
        let worker_peak_kib = peaks.max();
        let mut workers = worker::Report::default();
        for worker in self.workers {
            workers.add(&worker.report().await?);
        }
        let sink = self.sink.report().await?;
        let mut waiting = 0;
        for queue in self.parts.broker.topology().wait_queues() {
            let depth = self.parts.broker.depth(&queue).await.map_err(Failure::Broker)?;
            waiting += depth.map_or(0, |depth| u64::from(depth.messages));
        }
        self.parts.close().await;
        Ok(Counted { loaded, sink, workers, worker_peak_kib, waiting })
    }

    /// Ends all parts at once.
    pub(super) async fn abandon(self) {
        for process in self.workers.into_iter().chain([self.sink]) {
            process.kill().await;
        }
        self.parts.close().await;
    }
}

/// Ends when the broker blocks publishing.
pub(super) async fn blocked(broker: &Broker) -> Failure {
    const POLL: Duration = Duration::from_millis(250);
    loop {
        let [publishing, _consuming] = broker.states();
        if let Some(reason) = publishing.blocked {
            return Failure::Bench(format!(
                "the broker takes no messages because it is short of memory or disk ({reason}); \
                 `rabbitmqctl status` shows its alarms, so give it more and try again"
            ));
        }
        sleep(POLL).await;
    }
}

/// The process of a broker on this machine.
fn broker_process(settings: &Settings) -> Option<u32> {
    let urls = settings.broker.urls().ok()?;
    let [url] = urls.as_slice() else { return None };
    let is_here = match &url.host {
        Host::Domain(name) => name == "localhost",
        Host::Ipv4(ip) => ip.is_loopback(),
        Host::Ipv6(ip) => ip.is_loopback(),
    };
    usage::listener(url.port, "beam.smp").filter(|_| is_here)
}
