//! What homing tells about itself: log events and metrics, all of them listed here.
//!
//! Names are dotted, entity first; units stand in the name. `error` means that a person must act;
//! an endpoint that fails is `info`. Never told: payloads, secrets, tokens, queries of URLs.

pub mod catalogue;
pub mod events;
mod lines;
pub mod metrics;
pub mod sources;

pub use self::lines::Logging;

use std::io::{self, IsTerminal};

use tracing_subscriber::{EnvFilter, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::{LogFormat, LogSettings, SettingsError};

/// Turns on logging to standard error, until what this answers is dropped; standard output belongs
/// to answers. Logging waits for nobody: what is not read in time is lost.
///
/// # Errors
///
/// [`SettingsError`]: `log.level` cannot be read.
pub fn init(settings: &LogSettings) -> Result<Logging, SettingsError> {
    let filter = EnvFilter::try_new(&settings.level)
        .map_err(|error| SettingsError::value("log.level", error))?;
    let registry = tracing_subscriber::registry().with(filter);
    let (lines, logging) = lines::lines(io::stderr());
    let layer = tracing_subscriber::fmt::layer().with_writer(lines);
    let initialised = match settings.format {
        LogFormat::Human => {
            let colours = io::stderr().is_terminal();
            registry.with(layer.with_ansi(colours).with_target(false)).try_init()
        }
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init(),
    };
    initialised.map(|()| logging).map_err(|error| SettingsError::value("log", error))
}
