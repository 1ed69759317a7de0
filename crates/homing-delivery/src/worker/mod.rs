//! The pool: takes events and due deliveries, makes attempts, and settles every message.
//!
//! One message, file by file: a [`lane`] receives it, [`intake`] finds the subscriptions that match
//! it (their filters are applied by [`matching`]), [`attempt`] makes one attempt for each,
//! [`disposition`] decides what follows, [`settle`] publishes that and settles the message.
//!
//! Around it: [`circuit_cache`] refuse deliveries to endpoints that keep failing, which wait in [`held`]
//! queues; [`limits`] keep one endpoint from using up the permits of others, [`dedup`] remembers
//! what this process has just done. [`subscriptions`] holds the subscriptions in memory, found by
//! [`index`]. [`observers`] report everything: log events and metrics, the [`attempt_log`], the
//! [`counters`] that the [`heartbeat`] reports to the store, the [`ledger`] of what was delivered,
//! the [`history`], and the age of the [`oldest_waiting`]. [`maintenance`] refreshes shared state and
//! repairs the topology, [`audit`] announces changes. [`wanted`] finds for publishers who wants an
//! event, [`versions`] what is sent in two versions of Workfront's form.
//!
//! Guarantees: a message is settled only when each of its deliveries is done or owned by the broker
//! elsewhere; new events and retries have separate lanes, so that neither holds up the other; the
//! number in flight is bounded. Any job can run on the pool through [`Handler`]; the webhook sender
//! is [`Webhooks`].

mod attempt;
mod attempt_log;
mod audit;
mod builder;
mod circuit_cache;
mod counters;
mod disposition;
mod handler;
mod heartbeat;
mod held;
mod history;
mod index;
mod intake;
mod lane;
pub mod layout;
mod ledger;
mod limits;
mod maintenance;
mod matching;
mod observers;
mod oldest_waiting;
mod pace;
mod queues;
mod replay;
mod dedup;
mod settle;
mod subscriptions;
mod versions;
mod wanted;

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    circuits::CircuitBreakers,
    parking::Parking,
    settings::{
        AttemptsSettings, AuditSettings, HistorySettings, LedgerSettings, Schedules, WorkerSettings,
    },
    traces::Tracer,
};
use homing_broker::{
    Broker,
    consume::{Lane, Received},
};
use homing_domain::{circuit::CircuitRules, clock, verdict::OnGone};
use homing_store::Store;

pub use self::{
    builder::{OpenError, PoolBuilder, SubscribeError},
    handler::{AttemptResult, Handler, HandlerError, JobOutcome, Webhooks},
    subscriptions::{Latest, Subscriptions},
    wanted::{Matcher, NearMiss, NotKnown, Wanted},
};

use self::{
    circuit_cache::Circuits, dedup::Dedup, heartbeat::Heartbeat, held::Slots, ledger::Ledger,
    limits::Limits, matching::Matching, observers::Observers,
};

/// Shared by all parts of the pool.
struct Context {
    broker: Broker,
    store: Arc<dyn Store>,
    subscriptions: Arc<Subscriptions>,
    schedules: Schedules,
    circuits: Circuits,
    limits: Arc<Limits>,
    slots: Arc<Slots>,
    matching: Matching,
    handler: Arc<dyn Handler>,
    dedup: Dedup,
    /// True while no worker runs that does not read messages for several subscriptions.
    may_group: AtomicBool,
    /// True while no worker runs that sends what was replayed without saying so.
    may_replay: AtomicBool,
    tracer: Option<Tracer>,
    observers: Observers,
    settings: WorkerSettings,
    /// `held.min_hold`
    min_hold: Duration,
    /// `circuit.on_gone`
    on_gone: OnGone,
}

/// The dependencies and settings of a pool.
pub struct PoolSetup {
    /// Delivers and takes messages.
    pub broker: Broker,
    /// Stores subscriptions and circuits.
    pub store: Arc<dyn Store>,
    /// Those of `store`, in memory.
    pub subscriptions: Arc<Subscriptions>,
    /// Announces circuits that change.
    pub circuits: CircuitBreakers,
    /// The schedules by name.
    pub schedules: Schedules,
    /// The rules by which circuits open and freeze.
    pub rules: CircuitRules,
    /// `circuit.on_gone`
    pub on_gone: OnGone,
    /// `[worker]`
    pub worker: WorkerSettings,
    /// Moves what is parked into the store.
    pub parking: Parking,
    /// `[attempts]`
    pub attempts: AttemptsSettings,
    /// `[audit]`
    pub audit: AuditSettings,
    /// `[ledger]`
    pub ledger: LedgerSettings,
    /// `[history]`
    pub history: HistorySettings,
    /// `held.min_hold`
    pub min_hold: Duration,
    /// `endpoint.max_concurrency`
    pub max_concurrency: usize,
    /// `endpoint.permit_wait`
    pub permit_wait: Duration,
    /// A delivery waits at most this long for its turn by a rate limit.
    pub rate_wait: Duration,
    /// Makes a span of every attempt.
    pub tracer: Option<Tracer>,
}

/// A pool of deliveries in flight; one per process.
pub struct Pool {
    context: Arc<Context>,
    log_writer: attempt_log::Writer,
    history_writer: Option<history::Writer>,
    heartbeat: Heartbeat,
    audit: AuditSettings,
    ledger: ledger::Writer,
    parking: Parking,
}

impl Pool {
    /// A pool that runs `handler` for every delivery.
    #[must_use]
    pub fn new(setup: PoolSetup, handler: Arc<dyn Handler>) -> Self {
        let PoolSetup {
            broker,
            store,
            subscriptions,
            circuits,
            schedules,
            rules,
            worker,
            tracer,
            ..
        } = setup;
        let waits = (setup.permit_wait, setup.rate_wait);
        let lane = usize::from(worker.max_lane_in_flight());
        let limits = Arc::new(Limits::new(setup.max_concurrency, waits, lane));
        let slots = Arc::new(Slots::new(Arc::clone(&store), broker.clone()));
        let shared = (Arc::clone(&limits), Arc::clone(&slots));
        let circuits = Circuits::new(Arc::clone(&store), circuits, rules, shared);
        let (attempt_log, log_writer) = attempt_log::open(&setup.attempts, Arc::clone(&store));
        let (collector, history_writer) = history::open(&setup.history, Arc::clone(&store)).unzip();
        let observers =
            Observers::new(attempt_log, Ledger::new(&setup.ledger, clock::now()), collector);
        let heartbeat = Heartbeat::new(Arc::clone(&store), broker.topology().has_archive());
        let ledger = ledger::Writer::new(Arc::clone(&store), setup.ledger, heartbeat.worker());
        let context = Context {
            broker,
            store,
            subscriptions,
            schedules,
            circuits,
            limits,
            slots,
            matching: Matching::new(),
            handler,
            dedup: Dedup::default(),
            may_group: AtomicBool::default(),
            may_replay: AtomicBool::default(),
            tracer,
            observers,
            settings: worker,
            min_hold: setup.min_hold,
            on_gone: setup.on_gone,
        };
        let (context, audit, parking) = (Arc::new(context), setup.audit, setup.parking);
        Self { context, log_writer, history_writer, heartbeat, audit, ledger, parking }
    }

    /// A pool for `handler` with the program's defaults, ready to be changed and opened.
    #[must_use]
    pub fn builder(handler: impl Handler + 'static) -> PoolBuilder {
        PoolBuilder::new(Arc::new(handler))
    }

    /// The broker that it takes messages from.
    #[must_use]
    pub fn broker(&self) -> Broker {
        self.context.broker.clone()
    }

    /// The store of its subscriptions, circuits and attempts.
    #[must_use]
    pub fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.context.store)
    }

    /// The subscriptions as this pool knows them.
    #[must_use]
    pub fn subscriptions(&self) -> Arc<Subscriptions> {
        Arc::clone(&self.context.subscriptions)
    }

    /// Does all the work of one message of the primary queue and settles it, without background
    /// tasks: for measuring the cost of a message. Uses the subscriptions of the last
    /// [`refresh`](Subscriptions::refresh); writes no records of attempts.
    pub async fn take(&self, received: Received) {
        for work in intake::take(&self.context, Lane::Primary, received) {
            work.run(Arc::clone(&self.context)).await;
        }
    }

    /// Delivers until `stop`; then takes no more messages, waits up to `worker.drain_grace` for
    /// what is in flight, and gives the rest back.
    ///
    /// Consuming begins when the subscriptions have been read once: without them, no event would
    /// match any.
    pub async fn run(self, stop: CancellationToken) {
        let (tasks, writing) = (TaskTracker::new(), TaskTracker::new());
        let context = self.context;
        let over = CancellationToken::new();
        writing.spawn(self.log_writer.write(over.clone()));
        if let Some(history_writer) = self.history_writer {
            writing.spawn(history_writer.write(over.clone()));
        }
        writing.spawn(self.heartbeat.run(Arc::clone(&context), over.clone()));
        writing.spawn(observers::write_sums(Arc::clone(&context), over.clone()));
        tasks.spawn(maintenance::shared_state(Arc::clone(&context), stop.clone()));
        let ready = async {
            tokio::join!(
                context.subscriptions.loaded(),
                self.ledger.open(&context.observers.ledger)
            );
        };
        if stop.run_until_cancelled(ready).await.is_some() {
            for lane in [Lane::Primary, Lane::Retry] {
                tasks.spawn(lane::run(Arc::clone(&context), lane, stop.clone()));
            }
            tasks.spawn(held::run(Arc::clone(&context), stop.clone()));
            tasks.spawn(maintenance::topology(Arc::clone(&context), stop.clone()));
            tasks.spawn(maintenance::lag(Arc::clone(&context), stop.clone()));
            tasks.spawn(maintenance::net(Arc::clone(&context), stop.clone()));
            let (parking, until) = (self.parking, stop.clone());
            tasks.spawn(async move { parking.keep(until).await });
            tasks.spawn(maintenance::circuits(Arc::clone(&context), stop.clone()));
            if self.ledger.announces() {
                tasks.spawn(ledger::announcements::run(Arc::clone(&context), stop.clone()));
            }
            tasks.spawn(replay::run(Arc::clone(&context), stop.clone()));
            tasks.spawn(audit::run(Arc::clone(&context), self.audit, stop.clone()));
        }
        writing.spawn(self.ledger.run(Arc::clone(&context), over.clone()));
        tasks.close();
        tasks.wait().await;
        // From here on, nothing happens that has to be written.
        over.cancel();
        writing.close();
        writing.wait().await;
    }
}
