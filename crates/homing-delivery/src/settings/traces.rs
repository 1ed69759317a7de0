//! `[traces]`

use serde::{Deserialize, Serialize};
use url::Url;

use homing_domain::settings::SettingsError;

/// Where spans are sent to.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TracesSettings {
    /// The collector, `http://127.0.0.1:4318`; empty: no spans are recorded.
    pub collector: String,
    /// Of a hundred events that come without a trace, so many get one that is recorded.
    pub sample_percent: u8,
}

impl TracesSettings {
    /// Where spans are posted to; `None`: they are not.
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

    /// Builds what can be built without I/O, so that a mistake shows at start.
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
