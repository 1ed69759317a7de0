//! The pool: takes events and due deliveries, makes attempts, and answers for every message.
//!
//! The way of a message through the files: a [`lane`] receives it, [`intake`] reads it and finds
//! the subscriptions that want it, which [`matching`] asks, [`attempt`] makes one attempt for each, [`settle`] hands on what
//! has to be handed on and answers the broker. [`circuits`] spares endpoints that keep failing,
//! [`limits`] keeps one endpoint from taking the places of others, [`hold`] says where a delivery
//! goes that neither lets through. [`subscriptions`] keeps the subscriptions in
//! memory, found by [`index`], [`recent`]
//! remembers what this process has just done, [`oldest`] how old is what waits, [`tend`] keeps all
//! of that current and repairs the topology. [`meter`] counts, and [`reports`] tells the store what
//! it counted. What happened is told to the [`recorder`], and [`logbook`] writes it to the store, for
//! people: nothing here reads it, and no delivery waits for it.
//!
//! Promises: a message is answered only when all that it stands for is delivered or owned by the
//! broker elsewhere; fresh events and retries have lanes of their own, so that neither holds up the
//! other; what is in flight is bounded. Any job can run on the pool through [`Handler`]; the
//! webhook sender is [`Webhooks`].

mod attempt;
mod circuits;
mod handler;
mod hold;
mod index;
mod intake;
mod lane;
mod limits;
mod logbook;
mod matching;
mod meter;
mod oldest;
mod recent;
mod recorder;
mod reports;
mod settle;
mod subscriptions;
mod tend;

use std::{sync::Arc, time::Duration};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    broker::{
        Broker,
        consume::{Lane, Received},
    },
    config::{AttemptsSettings, Schedules, WorkerSettings},
    domain::circuit::CircuitRules,
    store::Store,
    switchboard::Switchboard,
    traces::Tracer,
};

pub use self::{
    handler::{Account, Handler, HandlerError, Webhooks},
    subscriptions::Subscriptions,
};

use self::{
    circuits::Circuits, hold::OnceAMinute, limits::Limits, logbook::Logbook, matching::Matching,
    meter::Meter, oldest::Oldest, recent::Recent, recorder::Recorder, reports::Reports,
};

/// What every part of the pool works with.
struct Context {
    broker: Broker,
    subscriptions: Arc<Subscriptions>,
    schedules: Schedules,
    circuits: Circuits,
    limits: Arc<Limits>,
    /// URLs of which the log has said that no attempt can be made.
    hindered: OnceAMinute,
    matching: Matching,
    handler: Arc<dyn Handler>,
    recent: Recent,
    recorder: Recorder,
    oldest: Oldest,
    tracer: Option<Tracer>,
    meter: Meter,
    settings: WorkerSettings,
}

/// What a pool works with.
pub struct PoolParts {
    /// Where messages come from and go to.
    pub broker: Broker,
    /// Where subscriptions and circuits are.
    pub store: Arc<dyn Store>,
    /// Tells of circuits that change.
    pub switchboard: Switchboard,
    /// The schedules by name.
    pub schedules: Schedules,
    /// When a circuit opens and freezes.
    pub rules: CircuitRules,
    /// `[worker]`
    pub worker: WorkerSettings,
    /// `[attempts]`
    pub attempts: AttemptsSettings,
    /// `endpoint.concurrency_max`
    pub concurrency_max: usize,
    /// `endpoint.busy_wait`
    pub busy_wait: Duration,
    /// How long a delivery may wait for its turn by a rate limit.
    pub rate_wait: Duration,
    /// Makes a span of every attempt.
    pub tracer: Option<Tracer>,
}

/// A pool of deliveries in flight; one per process.
pub struct Pool {
    context: Arc<Context>,
    logbook: Option<Logbook>,
    reports: Reports,
}

impl Pool {
    /// A pool that runs `handler` for every delivery.
    #[must_use]
    pub fn new(parts: PoolParts, handler: Arc<dyn Handler>) -> Self {
        let PoolParts { broker, store, switchboard, schedules, rules, worker, tracer, .. } = parts;
        let limits = Arc::new(Limits::new(parts.concurrency_max, parts.busy_wait, parts.rate_wait));
        let circuits = Circuits::new(Arc::clone(&store), switchboard, rules, Arc::clone(&limits));
        let (recorder, logbook) = logbook::open(&parts.attempts, Arc::clone(&store));
        let reports = Reports::new(Arc::clone(&store));
        let context = Context {
            broker,
            subscriptions: Arc::new(Subscriptions::new(store)),
            schedules,
            circuits,
            limits,
            hindered: OnceAMinute::default(),
            matching: Matching::new(),
            handler,
            recent: Recent::default(),
            recorder,
            oldest: Oldest::default(),
            tracer,
            meter: Meter::new(),
            settings: worker,
        };
        Self { context: Arc::new(context), logbook, reports }
    }

    /// The subscriptions as this pool knows them.
    #[must_use]
    pub fn subscriptions(&self) -> Arc<Subscriptions> {
        Arc::clone(&self.context.subscriptions)
    }

    /// Does all that one message of the primary queue stands for, its answer included, without
    /// anything that runs beside: to measure what a message costs. Subscriptions are those of the
    /// last [`refresh`](Subscriptions::refresh); records of attempts are not written.
    pub async fn take(&self, received: Received) {
        for work in intake::take(&self.context, Lane::Primary, received) {
            work.run(Arc::clone(&self.context)).await;
        }
    }

    /// Delivers until `stop`; then takes no more, lets what is in flight end within
    /// `worker.drain_grace`, and gives the rest back.
    ///
    /// Consuming begins when the subscriptions have been read once: without them, every event
    /// would look as if nobody wanted it.
    pub async fn run(self, stop: CancellationToken) {
        let (tasks, writing) = (TaskTracker::new(), TaskTracker::new());
        let context = self.context;
        let over = CancellationToken::new();
        if let Some(logbook) = self.logbook {
            writing.spawn(logbook.write(over.clone()));
        }
        writing.spawn(self.reports.tell(Arc::clone(&context), over.clone()));
        tasks.spawn(tend::shared_state(Arc::clone(&context), stop.clone()));
        if stop.run_until_cancelled(context.subscriptions.loaded()).await.is_some() {
            for lane in [Lane::Primary, Lane::Retry] {
                tasks.spawn(lane::run(Arc::clone(&context), lane, stop.clone()));
            }
            tasks.spawn(tend::topology(Arc::clone(&context), stop.clone()));
            tasks.spawn(tend::net(Arc::clone(&context), stop.clone()));
            tasks.spawn(tend::circuits(Arc::clone(&context), stop.clone()));
        }
        tasks.close();
        tasks.wait().await;
        // Nothing happens any more that would have to be written.
        over.cancel();
        writing.close();
        writing.wait().await;
    }
}
