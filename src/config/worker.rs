//! `[worker]`

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::SettingsError;

/// How much a worker takes on at once.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerSettings {
    /// Deliveries in flight over both lanes.
    pub in_flight_max: usize,
    /// Bodies of the messages that the broker sends ahead over both lanes, in bytes; about.
    pub in_flight_bytes_max: usize,
    /// Deliveries of one event that are attempted in the worker that took it.
    pub fan_out_inline_max: usize,
    /// Size of the largest event, in bytes.
    pub event_bytes_max: usize,
    /// For deliveries in flight after the order to stop.
    #[serde(with = "humantime_serde")]
    pub drain_grace: Duration,
}

impl WorkerSettings {
    /// Deliveries in flight in one lane, and messages that the broker sends ahead to it.
    #[must_use]
    pub fn lane_in_flight_max(&self) -> u16 {
        u16::try_from(self.in_flight_max / 2).unwrap_or(u16::MAX)
    }

    /// Bytes that the broker sends ahead to one lane.
    #[must_use]
    pub fn lane_in_flight_bytes_max(&self) -> usize {
        self.in_flight_bytes_max / 2
    }

    pub(super) fn check(&self) -> Result<(), SettingsError> {
        if !(2..=100_000).contains(&self.in_flight_max) {
            return Err(SettingsError::value("worker.in_flight_max", "between 2 and 100000"));
        }
        if self.fan_out_inline_max > 10_000 {
            return Err(SettingsError::value("worker.fan_out_inline_max", "at most 10000"));
        }
        Ok(())
    }
}
