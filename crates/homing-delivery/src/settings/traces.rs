//! `[traces]`

use serde::{Deserialize, Serialize};
use url::Url;

use homing_domain::settings::SettingsError;

/// The destination of spans.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TracesSettings {
    /// The collector, `http://127.0.0.1:4318`; empty: no spans are recorded.
    pub collector: String,
    /// Of a hundred events without a trace, this many get a recorded one.
    pub sample_percent: u8,
}

impl TracesSettings {
    /// The URL that spans are posted to; `None`: spans are off.
    ///
    /// # Errors
    ///
    /// [`SettingsError`]: not a URL.
    pub fn target(&self) -> Result<Option<Url>, SettingsError> {
        if self.collector.is_empty() {
            return Ok(None);
        }
        let wrong = || {
            let message = "write it as http://127.0.0.1:4318, or https://…; empty: no traces";
            SettingsError::value("traces.collector", message)
        };
        let base = self.collector.trim_end_matches('/');
        let target: Url = format!("{base}/v1/traces").parse().map_err(|_error| wrong())?;
        let is_http = matches!(target.scheme(), "http" | "https") && target.has_host();
        is_http.then_some(Some(target)).ok_or_else(wrong)
    }

    /// Builds everything that needs no I/O, so that a mistake shows at start.
    ///
    /// # Errors
    ///
    /// [`SettingsError::Value`]: a value that makes no sense.
    pub fn check(&self) -> Result<(), SettingsError> {
        if self.sample_percent > 100 {
            return Err(SettingsError::value("traces.sample_percent", "from 0 to 100"));
        }
        self.target().map(drop)
    }
}
