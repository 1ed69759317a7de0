//! The parts of a bench, and the load: events at a requested rate, or as fast as they are delivered.
//!
//! At a requested rate every event carries the instant at which it was due: a bench that is held up
//! does not make the latency look better. Without a rate, just enough events are under way that the
//! workers are never idle: the latency is then that of a queue that is kept full.

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use tokio::{
    net::TcpListener,
    process::Child,
    time::{sleep, sleep_until, timeout},
};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::{
    figures::{Figures, Measured},
    load::Load,
    sandbox::{self, Sandbox},
    sink::{Arrivals, FAILING, Sink, body},
    worker,
};
use crate::{
    cli::{failure::Failure, output::Output, progress::Progress},
    services::Services,
    usage,
};
use homing_broker::{Broker, Message, pipeline::Pipeline};
use homing_domain::{
    clock,
    event::{CONTENT_TYPE_DEFAULT, Event},
    id::EventId,
    subscription::Draft,
    topic::Topic,
};

/// Requests to each endpoint before anything is measured, so that connections are there.
const WARM_UP_PER_ENDPOINT: u32 = 4;
/// Publishes under way at once: more than a broker needs to be kept busy.
const PUBLISHES_AT_ONCE: usize = 128;
const PUBLISHED_BYTES_AT_ONCE: usize = 64 * 1_024 * 1_024;
/// Until the workers deliver.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// For the last confirms.
const END_DEADLINE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(100);
const NOTHING_DELIVERED: &str = "nothing was delivered within a minute; the log says why";

pub(super) fn failed(why: impl Into<String>) -> Failure {
    Failure::Bench(why.into())
}

/// Starts all parts, publishes `load` until it is delivered or its duration is over, and ends them.
///
/// # Errors
///
/// The broker takes nothing or is lost, a worker has ended, or nothing was delivered in time.
pub(super) async fn measure(
    sandbox: &Sandbox,
    load: &Load,
    output: &Output<'_>,
) -> Result<Figures, Failure> {
    let measured = with_workers(sandbox, load, output, async |services, workers, bar| {
        let stage = Stage::start(services, load, workers, &[Traffic::Single]).await?;
        stage.measure(bar).await
    });
    Ok(Figures::of(load, &sandbox.settings, Box::pin(measured).await?))
}

/// Starts the workers, does `work` with their process ids beside them, and ends them.
///
/// # Errors
///
/// As [`measure`], and those of `work`.
pub(super) async fn with_workers<T>(
    sandbox: &Sandbox,
    load: &Load,
    output: &Output<'_>,
    work: impl AsyncFnOnce(&Services, Vec<u32>, &Progress) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let settings = &sandbox.settings;
    let services = Services::open(settings.clone()).await.map_err(Failure::Start)?;
    let connected = services.broker.connect_to_publish().await;
    connected.map_err(|error| sandbox::refused(&settings.broker.prefix, error))?;
    let mut workers = Vec::new();
    for _ in 0..load.workers {
        workers.push(worker::start(settings).await?);
    }
    let processes = workers.iter().filter_map(Child::id).collect();
    let bar = Progress::scanning(output, "deliveries");
    let worked = tokio::select! {
        worked = Box::pin(work(&services, processes, &bar)) => worked,
        failure = watch(&services.broker, &mut workers) => Err(failure),
    };
    bar.end();
    services.close().await;
    worked
}

/// Ends when the broker takes no more messages, or a worker has ended.
async fn watch(broker: &Broker, workers: &mut [Child]) -> Failure {
    loop {
        let [publishing, _consuming] = broker.states();
        if let Some(reason) = publishing.blocked {
            return failed(format!(
                "the broker takes no messages because it is short of memory or disk ({reason}); \
                 `rabbitmqctl status` shows its alarms, so give it more and try again"
            ));
        }
        if !publishing.connected {
            return failed("the connection to the broker was lost; try again");
        }
        if workers.iter_mut().any(|worker| !matches!(worker.try_wait(), Ok(None))) {
            return failed("a worker of the bench ended before its time; its log says why");
        }
        sleep(POLL).await;
    }
}

/// The deliveries of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Traffic {
    /// One, to each endpoint in turn.
    Single,
    /// One to every endpoint.
    FanOut,
    /// As [`Single`](Self::Single); the first attempt fails.
    Failing,
}

impl Traffic {
    /// The topic of the events for `endpoint`.
    fn topic(self, endpoint: u32) -> String {
        match self {
            Self::Single => format!("bench.{endpoint}"),
            Self::FanOut => "bench.fan-out".to_owned(),
            Self::Failing => format!("bench.failing.{endpoint}"),
        }
    }

    fn path(self, endpoint: u32) -> String {
        match self {
            Self::Single | Self::FanOut => format!("/{endpoint}"),
            Self::Failing => format!("{FAILING}{endpoint}"),
        }
    }

    /// First attempts, and all attempts.
    fn attempts(self, endpoints: u32) -> (u32, u32) {
        match self {
            Self::Single => (1, 1),
            Self::FanOut => (endpoints, endpoints),
            Self::Failing => (1, 2),
        }
    }
}

/// Costs that were measured; CPU in milliseconds per 1,000 events.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Phase {
    pub(super) events: u32,
    pub(super) events_per_second: f64,
    pub(super) workers_cpu_ms: f64,
    /// `None`: its process is not known.
    pub(super) broker_cpu_ms: Option<f64>,
}

/// The sink, and the bench's own side of the broker.
pub(super) struct Stage<'a> {
    load: &'a Load,
    sink: Arc<Sink>,
    _serving: AbortOnDropHandle<std::io::Result<()>>,
    pipeline: Pipeline,
    traffic: Traffic,
    published: u32,
    /// First attempts that are under way without a rate.
    window: u32,
    /// The workers.
    processes: Vec<u32>,
}

impl<'a> Stage<'a> {
    /// Starts the sink and subscribes for `kinds`. Returns when the workers deliver to it.
    pub(super) async fn start(
        services: &Services,
        load: &'a Load,
        processes: Vec<u32>,
        kinds: &[Traffic],
    ) -> Result<Self, Failure> {
        let starting = Self::start_all(services, load, processes, kinds);
        timeout(START_DEADLINE, starting).await.map_err(|_elapsed| failed(NOTHING_DELIVERED))?
    }

    async fn start_all(
        services: &Services,
        load: &'a Load,
        processes: Vec<u32>,
        kinds: &[Traffic],
    ) -> Result<Self, Failure> {
        let no_port = |error| failed(format!("no port for the sink: {error}"));
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(no_port)?;
        let address = listener.local_addr().map_err(no_port)?;
        let sink = Arc::new(Sink::new(load.latency()));
        let serving = TaskTracker::new().spawn(Arc::clone(&sink).serve(listener));
        for (kind, endpoint) in
            kinds.iter().flat_map(|kind| (0..load.endpoints).map(move |n| (kind, n)))
        {
            let url = format!("http://{address}{}", kind.path(endpoint));
            let draft = Draft::new(&url, &kind.topic(endpoint));
            services.registry.create(draft).await.map_err(Failure::Registry)?;
        }
        let broker = &services.broker;
        let parts = services.settings.worker.shards.parts();
        while broker.workers(parts).await.map_err(Failure::Broker)? < load.workers {
            sleep(POLL).await;
        }
        let places = services.settings.worker.max_lane_in_flight();
        let mut stage = Self {
            load,
            sink,
            _serving: AbortOnDropHandle::new(serving),
            pipeline: broker.pipeline(PUBLISHES_AT_ONCE, PUBLISHED_BYTES_AT_ONCE),
            traffic: Traffic::Single,
            published: 0,
            // Twice as many as the workers have places for keep them busy.
            window: u32::from(places) * load.workers * 2,
            processes,
        };
        for kind in kinds {
            stage.begin(*kind);
            for number in 0..load.endpoints * WARM_UP_PER_ENDPOINT {
                stage.publish(number, Duration::ZERO).await?;
            }
            stage.wait_for_all().await;
        }
        stage.begin(Traffic::Single);
        Ok(stage)
    }

    /// Counts from zero.
    fn begin(&mut self, traffic: Traffic) {
        (self.traffic, self.published) = (traffic, 0);
        *self.sink.arrivals.lock() = Arrivals::default();
    }

    /// Publishes events for `lasts`, waits until all their deliveries are done, and returns what
    /// they cost the workers and the process `broker`.
    ///
    /// # Errors
    ///
    /// Deliveries are missing a while later; or this system reports no CPU times.
    pub(super) async fn phase(
        &mut self,
        traffic: Traffic,
        lasts: Duration,
        broker: Option<u32>,
    ) -> Result<Phase, Failure> {
        self.begin(traffic);
        let broker_cpu = || broker.and_then(usage::cpu);
        let (workers_before, broker_before) = (self.workers_cpu(), broker_cpu());
        let end = self.sink.start.elapsed() + lasts;
        let publishing = async {
            while self.sink.start.elapsed() < end {
                self.wait_for_all_but(self.window).await;
                self.publish(self.published, self.sink.start.elapsed()).await?;
            }
            self.wait_for_all().await;
            Ok::<_, Failure>(())
        };
        let published = timeout(lasts + END_DEADLINE, publishing).await;
        published.map_err(|_elapsed| {
            failed("some of the events were not delivered in time; the log says why")
        })??;
        let workers = self.workers_cpu().zip(workers_before);
        let workers = workers.ok_or_else(|| failed("the CPU times of workers are not known"))?;
        let broker = broker_cpu().zip(broker_before);
        let cost = |(now, then): (Duration, Duration)| {
            now.saturating_sub(then).as_secs_f64() * 1e6 / f64::from(self.published.max(1))
        };
        let (first, last) = {
            let arrivals = self.sink.arrivals.lock();
            (arrivals.first, arrivals.last)
        };
        let took = last.saturating_sub(first).as_secs_f64();
        Ok(Phase {
            events: self.published,
            events_per_second: f64::from(self.published) / took.max(0.001),
            workers_cpu_ms: cost(workers),
            broker_cpu_ms: broker.map(cost),
        })
    }

    /// Waits for the last confirms.
    pub(super) async fn end(self) {
        // What is not confirmed by then is deleted with its queue.
        let _elapsed = timeout(END_DEADLINE, self.pipeline.finish()).await;
    }

    /// Of the largest worker.
    pub(super) fn worker_peak_kib(&self) -> Option<u32> {
        self.processes.iter().filter_map(|id| usage::peak_kib(*id)).max()
    }

    async fn measure(mut self, bar: &Progress) -> Result<Measured, Failure> {
        let (cpu, busy) = (self.workers_cpu(), usage::busy());
        let published = timeout(self.load.duration, self.publish_all(bar)).await;
        let complete = published.is_ok();
        published.unwrap_or(Ok(()))?;
        let measured = Measured {
            complete,
            published: self.published,
            arrivals: self.sink.arrivals.lock().clone(),
            workers_cpu: self.workers_cpu().zip(cpu).map(|(now, then)| now.saturating_sub(then)),
            worker_peak_kib: self.worker_peak_kib(),
            machine_busy_percent: busy.and_then(usage::busy_percent),
        };
        self.end().await;
        Ok(measured)
    }

    async fn publish_all(&mut self, bar: &Progress) -> Result<(), Failure> {
        let (events, begun) = (self.load.events(), self.sink.start.elapsed());
        for number in 0..events {
            let due = if let Some(rate) = self.load.rate {
                let due = begun + Duration::from_secs(number.into()) / rate;
                sleep_until(self.sink.start + due).await;
                due
            } else {
                self.wait_for_all_but(self.window).await;
                self.sink.start.elapsed()
            };
            self.publish(number, due).await?;
            bar.at_of(self.sink.arrivals.lock().requests(), events, "");
        }
        self.wait_for_all().await;
        Ok(())
    }

    /// Publishes an event for the endpoint of `number`; waits while too many are unconfirmed.
    async fn publish(&mut self, number: u32, due: Duration) -> Result<(), Failure> {
        let topic = Topic::new(&self.traffic.topic(number % self.load.endpoints));
        let event = Event {
            id: EventId::from(clock::new_id()),
            topic: topic.map_err(|error| failed(error.to_string()))?,
            content_type: CONTENT_TYPE_DEFAULT.to_owned(),
            content_encoding: None,
            body: body(due, usize::try_from(self.load.size).unwrap_or(usize::MAX)),
        };
        let message = Message::of_event(event).outgoing();
        self.pipeline.publish(message).await.map_err(Failure::Broker)?;
        self.published += 1;
        Ok(())
    }

    /// Waits until at most `most` first attempts of what is published have not come.
    async fn wait_for_all_but(&self, most: u32) {
        let (first, _all) = self.traffic.attempts(self.load.endpoints);
        while (self.published * first).saturating_sub(self.sink.arrivals.lock().first_attempts())
            > most
        {
            self.sink.came.notified().await;
        }
    }

    /// Waits until all attempts of what is published have come.
    async fn wait_for_all(&self) {
        let (_first, all) = self.traffic.attempts(self.load.endpoints);
        while self.sink.arrivals.lock().requests() < self.published * all {
            self.sink.came.notified().await;
        }
    }

    /// The CPU time that the workers have used together.
    fn workers_cpu(&self) -> Option<Duration> {
        self.processes.iter().copied().map(usage::cpu).sum()
    }
}
