//! The pool that delivers: takes events and due deliveries from the broker, attempts each at its
//! endpoint, and schedules or parks what failed.
//!
//! - [`worker`] takes messages and makes attempts; the call itself is behind its trait [`Handler`];
//! - [`endpoint`] is the built-in handler: signed POST requests to the URLs of subscriptions;
//! - [`parking`] lists, replays and drops parked messages;
//! - [`archive`] shows what was published, and sends it again;
//! - [`circuits`] shows and sets the circuits of URLs;
//! - [`traces`] sends spans of attempts to a collector.
//!
//! # Any job
//!
//! A [`Handler`] of your own runs on the same pool, with the same schedule, circuits, parking and
//! attempt log. Every event of a subscription becomes a job for its target, which is a key: jobs of
//! one key share a circuit and limits. Publish events to the topic exchange `<prefix>.v1.events`,
//! with their topic as the routing key.
//!
//! ```no_run
//! use homing_delivery::{
//!     BrokerSettings, CancellationToken, Delivery, Handler, HandlerError, JobOutcome, Pool,
//!     Subscription, UnixMillis, async_trait,
//! };
//!
//! struct Print;
//!
//! #[async_trait]
//! impl Handler for Print {
//!     async fn attempt(
//!         &self,
//!         delivery: &Delivery,
//!         _subscription: &Subscription,
//!         _now: UnixMillis,
//!     ) -> Result<JobOutcome, HandlerError> {
//!         let Ok(text) = std::str::from_utf8(&delivery.event.body) else {
//!             return Ok(JobOutcome::Cancel("not text".to_owned()));
//!         };
//!         println!("{text}");
//!         Ok(JobOutcome::Done)
//!     }
//! }
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let broker = BrokerSettings::from_toml("prefix = \"prints\"")?;
//! let pool = Pool::builder(Print).broker(broker).open().await?;
//! pool.subscribe("order.#", "printer").await?;
//! pool.run(CancellationToken::new()).await;
//! # Ok(())
//! # }
//! ```
//!
//! `examples/any_job.rs` in the repository is a whole program with all outcomes.

pub mod archive;
pub mod circuits;
pub mod endpoint;
pub mod parking;
pub mod settings;
pub mod traces;
pub mod worker;

pub use async_trait::async_trait;
pub use bytes::Bytes;
pub use homing_broker::{Broker, settings::BrokerSettings};
pub use homing_domain::{
    delivery::Delivery,
    event::Event,
    id::SubscriptionId,
    outcome::Outcome,
    settings::SettingsError,
    subscription::{FieldError, FieldErrors, Subscription},
    time::UnixMillis,
    url::{EndpointUrl, EndpointUrlError},
};
pub use homing_store::{Store, StoreError, settings::StoreSettings};
pub use tokio_util::sync::CancellationToken;

pub use self::{
    settings::{
        AttemptsSettings, CircuitSettings, EndpointSettings, ParkingSettings, ScheduleSettings,
        WorkerSettings,
    },
    traces::Tracer,
    worker::{
        AttemptResult, Handler, HandlerError, JobOutcome, OpenError, Pool, PoolBuilder,
        SubscribeError,
    },
};
