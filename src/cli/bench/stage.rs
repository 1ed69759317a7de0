//! The parts of a bench, and the load: events at a requested rate, or as fast as they are delivered.
//!
//! At a requested rate every event carries the instant at which it was due: a bench that is held up
//! does not make the latency look better. Without a rate, just enough events are under way that the
//! workers are never idle: the latency is then that of a queue that is kept full.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use parking_lot::Mutex;
use tokio::{
    net::TcpListener,
    sync::Notify,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::{
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};
use url::Host;

use super::{
    Ended, Wanted,
    figures::{Measured, Spent},
    sandbox::{self, Sandbox},
    sink::{Sink, body},
    worker::Worker,
};
use crate::{
    cli::{Output, failure::Failure, progress::Progress},
    config::Settings,
    services::Services,
    usage,
};
use homing_broker::{Broker, Message, Route, consume::Lane, error::BrokerError};
use homing_domain::{
    event::{CONTENT_TYPE_DEFAULT, Event},
    id::EventId,
    subscription::Draft,
    topic::Topic,
};

/// Requests to each endpoint before anything is measured, so that connections are there.
const WARM_UP_PER_ENDPOINT: u32 = 4;
/// Publishes under way at once: more than a broker needs to be kept busy.
const PUBLISHES_AT_ONCE: usize = 128;

/// The sink, the workers, and the bench's own side of the broker.
pub(super) struct Stage<'a> {
    wanted: &'a Wanted,
    services: Services,
    sink: Arc<Sink>,
    workers: Vec<Worker>,
    /// The process of the broker, if it is on this machine and may be read.
    broker_process: Option<u32>,
    unconfirmed: FuturesUnordered<BoxFuture<'static, Result<Duration, BrokerError>>>,
    sent: u64,
    confirms: Vec<Duration>,
    _serving: AbortOnDropHandle<std::io::Result<()>>,
}

impl<'a> Stage<'a> {
    /// Starts all parts, and returns when the workers deliver.
    pub(super) async fn start(sandbox: &Sandbox, wanted: &'a Wanted) -> Result<Self, Failure> {
        let settings = sandbox.settings();
        let services = Services::open(settings.clone()).await.map_err(Failure::Start)?;
        let broker = services.broker.clone();
        let connected = broker.connect_to_publish().await;
        connected.map_err(|error| sandbox::refused(&settings.broker.prefix, error))?;
        tokio::select! {
            stage = Box::pin(Self::staff(services, wanted)) => stage,
            failure = blocked(&broker) => Err(failure),
        }
    }

    async fn staff(services: Services, wanted: &'a Wanted) -> Result<Self, Failure> {
        let failed =
            |error: std::io::Error| Failure::Bench(format!("no port for the sink: {error}"));
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        let sink = Arc::new(Sink {
            latency: wanted.latency(),
            fail_percent: wanted.fail,
            start: Instant::now(),
            arrivals: Mutex::default(),
            came: Notify::new(),
        });
        let serving = TaskTracker::new().spawn(Arc::clone(&sink).serve(listener));
        for endpoint in 0..wanted.endpoints {
            let draft =
                Draft::new(&format!("http://127.0.0.1:{port}/{endpoint}"), &topic(endpoint));
            services.registry.create(draft).await.map_err(Failure::Registry)?;
        }
        let mut workers = Vec::new();
        for _ in 0..wanted.workers {
            workers.push(Worker::start(&services.settings).await?);
        }
        let mut stage = Self {
            wanted,
            sink,
            workers,
            broker_process: broker_process(&services.settings),
            services,
            unconfirmed: FuturesUnordered::new(),
            sent: 0,
            confirms: Vec::new(),
            _serving: AbortOnDropHandle::new(serving),
        };
        stage.warm_up().await?;
        Ok(stage)
    }

    async fn warm_up(&mut self) -> Result<(), Failure> {
        const POLL: Duration = Duration::from_millis(50);
        let broker = self.services.broker.clone();
        while broker.lane_depth(Lane::Primary).await.map_err(Failure::Broker)?.consumers
            < self.wanted.workers
        {
            self.workers.iter_mut().try_for_each(Worker::check)?;
            sleep(POLL).await;
        }
        let count = self.wanted.endpoints * WARM_UP_PER_ENDPOINT;
        for number in 0..count {
            // Numbers of their own: what has come already is not delivered again.
            self.publish(u32::MAX - number, None)?;
        }
        while !self.unconfirmed.is_empty() || self.sink.arrivals.lock().warm_up < count.into() {
            self.progress().await?;
        }
        (self.sent, self.confirms) = (0, Vec::new());
        Ok(())
    }

    /// Publishes until everything is delivered, the deadline, or `stop`; then ends all parts.
    ///
    /// # Errors
    ///
    /// The broker takes nothing or is lost, or a part of the bench has ended.
    pub(super) async fn measure(
        mut self,
        (deadline, stop): (Instant, &CancellationToken),
        output: &Output<'_>,
    ) -> Result<Measured, Failure> {
        let before = self.spent();
        let broker = self.services.broker.clone();
        let bar = Progress::scanning(output, "deliveries");
        let ended = tokio::select! {
            published = self.publish_all(&bar) => published.map(|()| Ended::Complete),
            () = stop.cancelled() => Ok(Ended::Interrupted),
            () = sleep_until(deadline) => Ok(Ended::Duration),
            failure = blocked(&broker) => Err(failure),
        };
        bar.end();
        let spent = self.spent().since(before);
        let arrivals = self.sink.arrivals.lock().clone();
        let peaks = self.workers.iter().filter_map(|worker| usage::peak_kib(worker.id()?));
        let worker_peak_kib = peaks.max();
        let ended = match ended {
            Ok(ended) => ended,
            Err(failure) => {
                drop(self.workers);
                self.services.close().await;
                return Err(failure);
            }
        };
        for worker in self.workers {
            worker.stop().await?;
        }
        let mut waiting = 0;
        for queue in broker.topology().wait_queues() {
            let depth = broker.depth(&queue).await.map_err(Failure::Broker)?;
            waiting += depth.map_or(0, |depth| u64::from(depth.messages));
        }
        self.services.close().await;
        let confirms = self.confirms;
        Ok(Measured { ended, arrivals, confirms, spent, worker_peak_kib, waiting })
    }

    async fn publish_all(&mut self, bar: &Progress) -> Result<(), Failure> {
        let events = self.wanted.events();
        let (begun, places) =
            (self.sink.start.elapsed(), self.services.settings.worker.max_lane_in_flight());
        // Twice as many as the workers have places for keep them busy.
        let window = u64::from(places) * u64::from(self.wanted.workers) * 2;
        for number in 0..events {
            let offset = self
                .wanted
                .rate
                .map(|rate| Duration::from_micros(u64::from(number) * 1_000_000 / u64::from(rate)));
            let due = offset.map(|offset| begun + offset);
            while due.is_some_and(|due| self.sink.start.elapsed() < due) {
                let due = self.sink.start + due.unwrap_or_default();
                tokio::select! {
                    () = sleep_until(due) => {}
                    happened = self.progress() => happened?,
                }
            }
            let is_ahead = |stage: &Self| due.is_none() && stage.undelivered() >= window;
            while self.unconfirmed.len() >= PUBLISHES_AT_ONCE || is_ahead(self) {
                self.progress().await?;
            }
            self.publish(number, Some(due.unwrap_or_else(|| self.sink.start.elapsed())))?;
            let arrived = u32::try_from(self.sink.arrivals.lock().requests()).unwrap_or(u32::MAX);
            bar.at(arrived, events, "");
        }
        while !self.unconfirmed.is_empty() || self.undelivered() > 0 {
            self.progress().await?;
        }
        Ok(())
    }

    /// Begins to publish the event with this number.
    fn publish(&mut self, number: u32, due: Option<Duration>) -> Result<(), Failure> {
        let unfit = |error: &dyn std::error::Error| Failure::Bench(error.to_string());
        let event = Event {
            id: EventId::new(&format!("bench-{number}")).map_err(|error| unfit(&error))?,
            topic: Topic::new(&topic(number % self.wanted.endpoints))
                .map_err(|error| unfit(&error))?,
            content_type: CONTENT_TYPE_DEFAULT.to_owned(),
            content_encoding: None,
            body: body(due, usize::try_from(self.wanted.size).unwrap_or(usize::MAX)),
        };
        let (message, broker) = (Message::of_event(event).outgoing(), self.services.broker.clone());
        self.unconfirmed.push(Box::pin(async move {
            let begun = Instant::now();
            broker.publish(&message, Route::Events).await?;
            Ok(begun.elapsed())
        }));
        self.sent += 1;
        // A publish begins with its first poll.
        if let Some(Some(confirmed)) = self.unconfirmed.next().now_or_never() {
            self.confirms.push(confirmed.map_err(Failure::Broker)?);
        }
        Ok(())
    }

    /// Events that were published and have not come.
    fn undelivered(&self) -> u64 {
        self.sent.saturating_sub(self.sink.arrivals.lock().requests())
    }

    /// Waits for a confirm or a request, for a second at most.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    async fn progress(&mut self) -> Result<(), Failure> {
        const SILENCE: Duration = Duration::from_secs(1);
        tokio::select! {
            Some(confirmed) = self.unconfirmed.next() => {
                self.confirms.push(confirmed.map_err(Failure::Broker)?);
                return Ok(());
            }
            came = timeout(SILENCE, self.sink.came.notified()) => {
                if came.is_ok() {
                    return Ok(());
                }
            }
        }
        self.workers.iter_mut().try_for_each(Worker::check)
    }

    /// The CPU time used until now.
    fn spent(&self) -> Spent {
        Spent {
            workers: self.workers.iter().map(|worker| usage::cpu(worker.id()?)).sum(),
            bench: usage::cpu(std::process::id()),
            broker: self.broker_process.and_then(usage::cpu),
            machine: usage::busy(),
        }
    }
}

/// The topic of the events of one endpoint.
fn topic(endpoint: u32) -> String {
    format!("bench.{endpoint}")
}

/// Ends when the broker blocks publishing.
async fn blocked(broker: &Broker) -> Failure {
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
