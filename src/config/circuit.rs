//! `[circuit]`

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::SettingsError;
use crate::domain::circuit::{CircuitRules, CircuitRulesError, Figures};

/// When an endpoint that keeps failing is spared.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CircuitSettings {
    /// Opens when a greater share of the attempts failed …
    pub open_above_percent: u8,
    /// … of more than so many attempts.
    pub open_above_attempts: u64,
    /// Opens at so many failures in a row.
    pub open_at_failures_in_a_row: u64,
    /// When so many attempts are counted for the share, both counts are halved.
    pub rate_window_attempts: u64,
    /// From one probe to the next.
    #[serde(with = "humantime_serde")]
    pub probe_interval: Duration,
    /// Freezes at more failures in a row than this …
    pub freeze_above_failures_in_a_row: u64,
    /// … when the last success is longer ago than this.
    #[serde(with = "humantime_serde")]
    pub freeze_above_last_success_ago: Duration,
    /// Freezes at so many failures in a row.
    pub freeze_at_failures_in_a_row: u64,
}

impl CircuitSettings {
    /// Checks by building.
    ///
    /// # Errors
    ///
    /// [`SettingsError::Value`]: a figure that makes no sense.
    pub fn rules(&self) -> Result<CircuitRules, SettingsError> {
        let figures = Figures {
            open_above_percent: self.open_above_percent,
            open_above_attempts: self.open_above_attempts,
            open_at_failures_in_a_row: self.open_at_failures_in_a_row,
            rate_window_attempts: self.rate_window_attempts,
            probe_interval: self.probe_interval,
            freeze_above_failures_in_a_row: self.freeze_above_failures_in_a_row,
            freeze_above_last_success_ago: self.freeze_above_last_success_ago,
            freeze_at_failures_in_a_row: self.freeze_at_failures_in_a_row,
        };
        CircuitRules::new(figures).map_err(|error| {
            let key = match error {
                CircuitRulesError::Percent => "circuit.open_above_percent",
                CircuitRulesError::Row => "circuit.open_at_failures_in_a_row",
                CircuitRulesError::Window => "circuit.rate_window_attempts",
                CircuitRulesError::Interval => "circuit.probe_interval",
                CircuitRulesError::FreezeBeforeOpen => "circuit.freeze_at_failures_in_a_row",
            };
            SettingsError::value(key, error)
        })
    }

    pub(super) fn check(&self) -> Result<(), SettingsError> {
        self.rules().map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Settings, report::Chain};

    #[test]
    fn the_defaults_are_the_published_figures() {
        let settings = Settings::from_toml("").unwrap();
        assert_eq!(settings.circuit.rules().unwrap(), CircuitRules::default());
    }

    #[test]
    fn figures_that_make_no_sense_name_their_key() {
        let error = |line: &str| {
            let settings = Settings::from_toml(&format!("[circuit]\n{line}"));
            Chain(&settings.unwrap_err()).to_string()
        };
        insta::assert_snapshot!(error("open_above_percent = 101"), @"`circuit.open_above_percent`: at most 100");
        insta::assert_snapshot!(error("open_at_failures_in_a_row = 0"), @"`circuit.open_at_failures_in_a_row`: at least 1");
        insta::assert_snapshot!(error("rate_window_attempts = 100"), @"`circuit.rate_window_attempts`: more than `open_above_attempts`, or the failure rate is never looked at");
        insta::assert_snapshot!(error("probe_interval = \"0s\""), @"`circuit.probe_interval`: between 1ms and 30 days");
        insta::assert_snapshot!(error("probe_interval = 600"), @r#"`circuit.probe_interval`: invalid value: string "600", expected a duration; for example "10m""#);
        insta::assert_snapshot!(error("freeze_at_failures_in_a_row = 10"), @"`circuit.freeze_at_failures_in_a_row`: at least `open_at_failures_in_a_row`: only an open circuit freezes");
        insta::assert_snapshot!(error("freeze_above_failures_in_a_row = -1"), @"`circuit.freeze_above_failures_in_a_row`: invalid type: 64-bit integer `-1`, expected an unsigned 64 bit or less integer; for example 2000");
    }
}
