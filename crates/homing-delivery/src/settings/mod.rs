//! `[worker]`, `[endpoint]`, `[circuit]`, `[held]`, `[schedule]`, `[attempts]` and `[traces]`.

mod attempts;
mod circuit;
mod endpoint;
mod held;
mod schedule;
mod traces;
mod worker;

pub use self::{
    attempts::AttemptsSettings,
    circuit::CircuitSettings,
    endpoint::EndpointSettings,
    held::HeldSettings,
    schedule::{ScheduleSettings, Schedules, WrittenWait},
    traces::TracesSettings,
    worker::WorkerSettings,
};

/// The defaults, with their comments.
pub(crate) const DEFAULTS: &str = include_str!("defaults.toml");
