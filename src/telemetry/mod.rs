//! Set-up of the log.
//!
//! Names of events are dotted, entity first; units are part of names. `error` means that an
//! operator must act; an endpoint that fails is `info`. Never logged: payloads, secrets, tokens,
//! queries of URLs.

mod lines;

pub use self::lines::Logging;

use std::io::{self, IsTerminal};

use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer, layer::SubscriberExt, registry::LookupSpan, util::SubscriberInitExt,
};

use self::lines::Lines;
use crate::config::{LogFormat, LogSettings};
use homing_domain::settings::SettingsError;

/// Turns on logging to standard error, until the result is dropped; standard output belongs to
/// answers. Logging never blocks: lines that are not read in time are lost.
///
/// # Errors
///
/// [`SettingsError`]: `log.level` cannot be read.
pub fn init(settings: &LogSettings) -> Result<Logging, SettingsError> {
    let filter = EnvFilter::try_new(&settings.level)
        .map_err(|error| SettingsError::value("log.level", error))?;
    let (lines, logging) = lines::lines(io::stderr());
    let layer = layer(settings.format, lines, io::stderr().is_terminal());
    let initialised = tracing_subscriber::registry().with(filter).with(layer).try_init();
    initialised.map(|()| logging).map_err(|error| SettingsError::value("log", error))
}

/// Writes events to `lines`.
fn layer<S>(format: LogFormat, lines: Lines, colours: bool) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let layer = tracing_subscriber::fmt::layer();
    match format {
        LogFormat::Human => {
            let layer = layer.with_writer(lines).with_ansi(colours).with_target(false);
            layer.fmt_fields(lines::fields()).boxed()
        }
        LogFormat::Json => layer.with_writer(lines.of_json()).json().flatten_event(true).boxed(),
    }
}
