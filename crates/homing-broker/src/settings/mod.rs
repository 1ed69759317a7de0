//! `[broker]`, `[events]` and `[archive]`.

mod archive;
mod broker;
mod broker_url;
mod events;

pub use self::{
    archive::ArchiveSettings,
    broker::{BrokerSettings, MAX_SHARDS},
    broker_url::{BrokerUrl, Login, Parameters},
    events::{EventsSettings, SubscriptionHeader, TopicFrom},
};

/// The defaults, with their comments.
pub(crate) const DEFAULTS: &str = include_str!("defaults.toml");
