//! `[worker]`, `[endpoint]`, `[circuit]`, `[held]`, `[parking]`, `[schedule]`, `[attempts]`, `[audit]`,
//! `[ledger]`, `[history]` and `[traces]`.

mod attempts;
mod audit;
mod circuit;
mod endpoint;
mod held;
mod ledger;
mod history;
mod parking;
mod ports;
mod proxy;
mod schedule;
mod traces;
mod worker;

pub use self::{
    attempts::{AttemptsSettings, KeptPayloads},
    audit::AuditSettings,
    circuit::CircuitSettings,
    endpoint::EndpointSettings,
    held::HeldSettings,
    history::HistorySettings,
    ledger::LedgerSettings,
    parking::ParkingSettings,
    proxy::ProxyDns,
    schedule::{BUILT_IN, ScheduleSettings, Schedules, WrittenWait},
    traces::TracesSettings,
    worker::WorkerSettings,
};

pub(crate) use self::{
    ports::Ports,
    proxy::{ProxyScheme, ProxyUrl},
};

/// The defaults, with their comments.
pub(crate) const DEFAULTS: &str = include_str!("defaults.toml");
