//! `[worker]`

use std::time::Duration;

use serde::{Deserialize, Serialize};

use homing_broker::topology::ShardPart;
use homing_domain::{scaling::WorkerPlan, settings::SettingsError};

/// The load that a worker takes at once.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerSettings {
    /// Deliveries in flight over both lanes.
    pub max_in_flight: usize,
    /// Bodies of the messages that the broker sends ahead over both lanes, in bytes; approximate.
    pub max_in_flight_bytes: usize,
    /// Deliveries of one event that are attempted directly by the worker that took it.
    pub max_fan_out_inline: usize,
    /// Size of the largest event, in bytes.
    pub max_event_bytes: usize,
    /// Deadline for deliveries in flight after the order to stop.
    #[serde(with = "homing_domain::settings::duration")]
    pub drain_grace: Duration,
    /// The shards that it consumes.
    pub shards: ShardPart,
    /// Attempts per second for which one worker is planned.
    pub target_rate: u32,
    /// The time in which a backlog is to be worked off.
    #[serde(with = "homing_domain::settings::duration")]
    pub catch_up: Duration,
}

impl WorkerSettings {
    /// Deliveries in flight in one lane, and messages that the broker sends ahead to it.
    #[must_use]
    pub fn max_lane_in_flight(&self) -> u16 {
        u16::try_from(self.max_in_flight / 2).unwrap_or(u16::MAX)
    }

    /// Bytes that the broker sends ahead to one lane.
    #[must_use]
    pub fn max_lane_in_flight_bytes(&self) -> usize {
        self.max_in_flight_bytes / 2
    }

    /// The load for which one worker is planned.
    #[must_use]
    pub fn plan(&self) -> WorkerPlan {
        WorkerPlan {
            rate: self.target_rate,
            places: self.max_lane_in_flight(),
            catch_up: self.catch_up,
            parts: self.shards.parts(),
        }
    }

    /// Checks that each part of so many shards has one.
    ///
    /// # Errors
    ///
    /// [`SettingsError::Value`]: more parts than shards.
    pub fn check_shards(&self, shards: u16) -> Result<(), SettingsError> {
        if self.shards.parts() > shards {
            let message = format!(
                "there are more parts than `broker.shards` ({shards}); a worker with `{}` may have \
                 nothing to consume",
                self.shards
            );
            return Err(SettingsError::value("worker.shards", message));
        }
        Ok(())
    }

    /// Builds everything that needs no I/O, so that a mistake shows at start.
    ///
    /// # Errors
    ///
    /// [`SettingsError::Value`]: a value that makes no sense.
    pub fn check(&self) -> Result<(), SettingsError> {
        if !(2..=100_000).contains(&self.max_in_flight) {
            return Err(SettingsError::value("worker.max_in_flight", "between 2 and 100000"));
        }
        if self.max_fan_out_inline > 10_000 {
            return Err(SettingsError::value("worker.max_fan_out_inline", "at most 10000"));
        }
        if !(1..=1_000_000).contains(&self.target_rate) {
            return Err(SettingsError::value("worker.target_rate", "between 1 and 1000000"));
        }
        if !(Duration::from_secs(1)..=Duration::from_secs(86_400)).contains(&self.catch_up) {
            return Err(SettingsError::value("worker.catch_up", "between 1s and 24h"));
        }
        Ok(())
    }
}
