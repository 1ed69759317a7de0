//! A pool for any handler, with the program's defaults for all that is not given.

use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::{Handler, Pool, PoolSetup, Subscriptions, layout};
use crate::{
    circuits::CircuitBreakers,
    parking::Parking,
    settings::{
        AttemptsSettings, AuditSettings, CircuitSettings, DEFAULTS, EndpointSettings, HeldSettings,
        HistorySettings, LedgerSettings, ParkingSettings, ScheduleSettings, WorkerSettings,
    },
    traces::Tracer,
};
use homing_broker::{Broker, settings::BrokerSettings, topology::Topology};
use homing_domain::{
    clock,
    id::SubscriptionId,
    settings::{SettingsError, section},
    subscription::{Draft, FieldError, FieldErrors, Subscription},
    url::EndpointUrl,
};
use homing_store::{Store, StoreError, settings::StoreSettings};

/// Why a pool could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A setting that makes no sense.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a subscription could not be created.
#[derive(Debug, thiserror::Error)]
pub enum SubscribeError {
    /// A target that is neither a key nor a URL.
    #[error(transparent)]
    Target(#[from] FieldError),
    /// A topic that makes no sense.
    #[error(transparent)]
    Fields(#[from] FieldErrors),
    /// The store does not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A pool that is being put together; what is not given has the program's defaults.
pub struct PoolBuilder {
    handler: Arc<dyn Handler>,
    broker: Option<BrokerSettings>,
    store: Option<StoreSettings>,
    schedule: Option<ScheduleSettings>,
    circuit: Option<CircuitSettings>,
    held: Option<HeldSettings>,
    parking: Option<ParkingSettings>,
    worker: Option<WorkerSettings>,
    attempts: Option<AttemptsSettings>,
    audit: Option<AuditSettings>,
    ledger: Option<LedgerSettings>,
    history: Option<HistorySettings>,
    endpoint: Option<EndpointSettings>,
    tracer: Option<Tracer>,
}

impl PoolBuilder {
    pub(super) fn new(handler: Arc<dyn Handler>) -> Self {
        Self {
            handler,
            broker: None,
            store: None,
            schedule: None,
            circuit: None,
            held: None,
            parking: None,
            worker: None,
            attempts: None,
            audit: None,
            ledger: None,
            history: None,
            endpoint: None,
            tracer: None,
        }
    }

    /// The broker, and the prefix of the pool's queues there. Several pools on one broker need
    /// several prefixes.
    #[must_use]
    pub fn broker(self, settings: BrokerSettings) -> Self {
        Self { broker: Some(settings), ..self }
    }

    /// The store of subscriptions, circuits and the attempt log.
    #[must_use]
    pub fn store(self, settings: StoreSettings) -> Self {
        Self { store: Some(settings), ..self }
    }

    /// The waits between attempts.
    #[must_use]
    pub fn schedule(self, settings: ScheduleSettings) -> Self {
        Self { schedule: Some(settings), ..self }
    }

    /// The rules by which the circuit of a target opens and freezes.
    #[must_use]
    pub fn circuit(self, settings: CircuitSettings) -> Self {
        Self { circuit: Some(settings), ..self }
    }

    /// The queues in which jobs wait for a target whose circuit is open or frozen.
    #[must_use]
    pub fn held(self, settings: HeldSettings) -> Self {
        Self { held: Some(settings), ..self }
    }

    /// Bounds of the parked deliveries in the store.
    #[must_use]
    pub fn parking(self, settings: ParkingSettings) -> Self {
        Self { parking: Some(settings), ..self }
    }

    /// The jobs in flight, and the time that they have to end.
    #[must_use]
    pub fn worker(self, settings: WorkerSettings) -> Self {
        Self { worker: Some(settings), ..self }
    }

    /// The attempt log.
    #[must_use]
    pub fn attempts(self, settings: AttemptsSettings) -> Self {
        Self { attempts: Some(settings), ..self }
    }

    /// The audit.
    #[must_use]
    pub fn audit(self, settings: AuditSettings) -> Self {
        Self { audit: Some(settings), ..self }
    }

    /// The ledger.
    #[must_use]
    pub fn ledger(self, settings: LedgerSettings) -> Self {
        Self { ledger: Some(settings), ..self }
    }

    /// The history by the hour, and the topics that were seen.
    #[must_use]
    pub fn history(self, settings: HistorySettings) -> Self {
        Self { history: Some(settings), ..self }
    }

    /// The jobs in flight at one target (`max_concurrency`), and their waits for a place
    /// (`permit_wait`; with a rate limit, `deadline`). The rest is the webhook sender's.
    #[must_use]
    pub fn endpoint(self, settings: EndpointSettings) -> Self {
        Self { endpoint: Some(settings), ..self }
    }

    /// Makes a span of every attempt.
    #[must_use]
    pub fn tracer(self, tracer: Tracer) -> Self {
        Self { tracer: Some(tracer), ..self }
    }

    /// Opens the store and prepares the rest; [`Pool::run`] connects to the broker.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub async fn open(self) -> Result<Pool, OpenError> {
        let broker = self.broker.map_or_else(|| BrokerSettings::from_toml(""), Ok)?;
        let store = self.store.map_or_else(|| StoreSettings::from_toml(""), Ok)?;
        let worker = or_default(self.worker, "worker")?;
        let attempts = or_default(self.attempts, "attempts")?;
        let audit = or_default(self.audit, "audit")?;
        let ledger = or_default(self.ledger, "ledger")?;
        let history = or_default(self.history, "history")?;
        let endpoint = or_default(self.endpoint, "endpoint")?;
        let held = or_default(self.held, "held")?;
        let parking = or_default(self.parking, "parking")?;
        broker.check()?;
        store.check()?;
        worker.check()?;
        attempts.check()?;
        audit.check()?;
        ledger.check()?;
        history.check()?;
        endpoint.check()?;
        held.check()?;
        parking.check()?;
        let circuit = or_default(self.circuit, "circuit")?;
        let (rules, on_gone) = (circuit.rules()?, circuit.on_gone);
        let schedules = or_default(self.schedule, "schedule")?.schedules()?;

        let topology = Topology::new(&broker.prefix, schedules.waits())
            .with_held_queues(held.queues)
            .with_shards(broker.shards);
        worker.check_shards(broker.shards)?;
        let broker = Broker::new(&broker, topology)?;
        let store: Arc<dyn Store> = Box::pin(homing_store::open(&store)).await?;
        layout::prepare(&broker, store.as_ref()).await?;
        let setup = PoolSetup {
            subscriptions: Arc::new(Subscriptions::new(Arc::clone(&store))),
            parking: Parking::new(broker.clone(), Arc::clone(&store), parking.bounds()),
            circuits: CircuitBreakers::new(Arc::clone(&store), broker.clone()),
            broker,
            store,
            schedules,
            rules,
            on_gone,
            worker,
            attempts,
            audit,
            ledger,
            history,
            min_hold: held.min_hold,
            max_concurrency: endpoint.max_concurrency,
            permit_wait: endpoint.permit_wait,
            rate_wait: endpoint.deadline,
            tracer: self.tracer,
        };
        Ok(Pool::new(setup, self.handler))
    }
}

impl Pool {
    /// Makes a job for `target` of every event whose topic matches `topic` from now on, and returns
    /// the id of the subscription. Repeating it changes nothing.
    ///
    /// A target is a key: all jobs of one have one circuit, one rate limit and one limit of those
    /// in flight. It has at most [`EndpointUrl::MAX_KEY`] letters, digits and `-_.:@`; operators
    /// see it as `job:KEY`. For [`Webhooks`](super::Webhooks) it is the URL to call.
    ///
    /// # Errors
    ///
    /// [`SubscribeError`]: nothing was created, or, where the store did not answer, perhaps it was.
    pub async fn subscribe(
        &self,
        topic: &str,
        target: &str,
    ) -> Result<SubscriptionId, SubscribeError> {
        let target =
            EndpointUrl::target(target).map_err(|error| FieldError::new("target", error))?;
        let draft = Draft::new(target.as_str(), topic);
        let (id, now) = (SubscriptionId::new(clock::new_id()), clock::now());
        let spec = draft.build(&[])?;
        let subscription = Subscription { id, spec, created: now, updated: now };
        match self.context.store.insert_subscription(&subscription).await {
            Err(StoreError::Duplicate { existing }) => Ok(existing),
            Err(error) => Err(error.into()),
            Ok(()) => Ok(id),
        }
    }
}

fn or_default<T: DeserializeOwned>(given: Option<T>, name: &str) -> Result<T, SettingsError> {
    given.map_or_else(|| section(DEFAULTS, name, ""), Ok)
}
