//! `[traces]`

use std::collections::BTreeMap;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use url::Url;

use homing_domain::settings::SettingsError;

const AS_PAIRS: &str = "write them as name=value,name=value; a comma in a value is %2C";

/// The destination of spans; by [`Default`] there is none.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TracesSettings {
    /// The collector, `http://127.0.0.1:4318`; empty: no spans are recorded.
    pub collector: String,
    /// Headers of every request to the collector, `name=value,…`, the values percent-encoded.
    pub headers: String,
    /// The attribute `service.name`; empty: that of `resource_attributes`, or else `homing`.
    pub service_name: String,
    /// Attributes of this process, written as `headers`.
    pub resource_attributes: String,
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

    /// The headers of every request to the collector.
    ///
    /// # Errors
    ///
    /// [`SettingsError`]: not pairs, or not headers.
    pub fn headers(&self) -> Result<HeaderMap, SettingsError> {
        let header = |(name, value): (&str, String)| {
            let mut value = HeaderValue::try_from(value).ok()?;
            value.set_sensitive(true);
            Some((HeaderName::try_from(name).ok()?, value))
        };
        let headers = pairs(&self.headers).map(|pair| pair.and_then(header));
        headers
            .collect::<Option<_>>()
            .ok_or_else(|| SettingsError::value("traces.headers", AS_PAIRS))
    }

    /// The attributes of this process, `service.name` and `service.version` among them.
    ///
    /// # Errors
    ///
    /// [`SettingsError`]: not pairs.
    pub fn resource(&self) -> Result<BTreeMap<String, String>, SettingsError> {
        let own = [("service.name", "homing"), ("service.version", env!("CARGO_PKG_VERSION"))];
        let own = own.map(|(name, value)| Some((name, value.to_owned())));
        let all = own.into_iter().chain(pairs(&self.resource_attributes));
        let all = all.map(|pair| pair.map(|(name, value)| (name.to_owned(), value)));
        let mut all = all
            .collect::<Option<BTreeMap<_, _>>>()
            .ok_or_else(|| SettingsError::value("traces.resource_attributes", AS_PAIRS))?;
        if !self.service_name.is_empty() {
            all.insert("service.name".to_owned(), self.service_name.clone());
        }
        Ok(all)
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
        let parts = [self.target().map(drop), self.headers().map(drop), self.resource().map(drop)];
        SettingsError::all(parts.into_iter().filter_map(Result::err).collect())
    }
}

/// The pairs in a text `name=value,name=value`; a `None` among them: it is no such text.
///
/// Source: OpenTelemetry, *Resource SDK*, "Specifying resource information via an environment
/// variable".
fn pairs(text: &str) -> impl Iterator<Item = Option<(&str, String)>> {
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    pairs.map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
        Some((name.trim_end(), value.into_owned())).filter(|(name, _)| !name.is_empty())
    })
}
