//! `[circuit]`

use std::time::Duration;

use serde::{Deserialize, Serialize};

use homing_domain::circuit::{CircuitRules, CircuitRulesError, Figures};
use homing_domain::{
    settings::{SettingsError, word::word},
    verdict::OnGone,
};

/// The rules by which circuits open and freeze.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CircuitSettings {
    /// Opens when a greater share of the attempts failed …
    pub open_above_percent: u8,
    /// … of more than so many attempts.
    pub open_above_attempts: u64,
    /// Opens at this many consecutive failures.
    pub open_at_consecutive_failures: u64,
    /// At this many attempts, the counts for the share are halved.
    pub rate_window_attempts: u64,
    /// From one probe to the next.
    #[serde(with = "homing_domain::settings::duration")]
    pub probe_interval: Duration,
    /// From the opening to the first probe; zero: `probe_interval`.
    #[serde(with = "homing_domain::settings::duration")]
    pub probe_first: Duration,
    /// Freezes at more consecutive failures than this …
    pub freeze_above_consecutive_failures: u64,
    /// … when the last success is longer ago than this.
    #[serde(with = "homing_domain::settings::duration")]
    pub freeze_above_last_success_ago: Duration,
    /// Freezes at this many consecutive failures.
    pub freeze_at_consecutive_failures: u64,
    /// The consequence of 410 Gone.
    #[serde(deserialize_with = "word")]
    pub on_gone: OnGone,
}

impl CircuitSettings {
    /// Validates the figures by building the rules.
    ///
    /// # Errors
    ///
    /// [`SettingsError::Value`]: a figure that makes no sense.
    pub fn rules(&self) -> Result<CircuitRules, SettingsError> {
        let figures = Figures {
            open_above_percent: self.open_above_percent,
            open_above_attempts: self.open_above_attempts,
            open_at_consecutive_failures: self.open_at_consecutive_failures,
            rate_window_attempts: self.rate_window_attempts,
            probe_interval: self.probe_interval,
            probe_first: self.probe_first,
            freeze_above_consecutive_failures: self.freeze_above_consecutive_failures,
            freeze_above_last_success_ago: self.freeze_above_last_success_ago,
            freeze_at_consecutive_failures: self.freeze_at_consecutive_failures,
        };
        CircuitRules::new(figures).map_err(|error| {
            let key = match error {
                CircuitRulesError::Percent => "circuit.open_above_percent",
                CircuitRulesError::Row => "circuit.open_at_consecutive_failures",
                CircuitRulesError::Window => "circuit.rate_window_attempts",
                CircuitRulesError::Interval => "circuit.probe_interval",
                CircuitRulesError::FreezeBeforeOpen => "circuit.freeze_at_consecutive_failures",
            };
            SettingsError::value(key, error)
        })
    }

    /// Builds everything that needs no I/O, so that a mistake shows at start.
    ///
    /// # Errors
    ///
    /// [`SettingsError::Value`]: a value that makes no sense.
    pub fn check(&self) -> Result<(), SettingsError> {
        self.rules().map(drop)
    }
}
