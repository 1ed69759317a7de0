//! `[log]`

use serde::{Deserialize, Serialize};

use homing_domain::settings::word::word;

/// The level and the format of the log.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSettings {
    /// Human-readable or JSON.
    #[serde(deserialize_with = "word")]
    pub format: LogFormat,
    /// Levels by module, as `tracing_subscriber::EnvFilter` reads them.
    pub level: String,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// One human-readable line.
    Human,
    /// One JSON object a line.
    Json,
}
