//! The requested load.

use std::time::Duration;

use serde::Serialize;

use crate::{
    cli::{failure::Failure, words},
    config::Settings,
};
use homing_domain::settings::SettingsError;

/// Events to publish, and the endpoints and workers that deliver them.
#[derive(clap::Args, Clone, Debug, Serialize)]
pub(super) struct Load {
    /// Events to deliver [default: 100000; with --rate, those of 15 seconds]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    events: Option<u32>,
    /// Size of each event
    #[arg(long, default_value_t = 1_000, value_name = "BYTES")]
    #[arg(value_parser = clap::value_parser!(u32).range(64..=128 * 1_024 * 1_024))]
    pub(super) size: u32,
    /// Events per second [default: as fast as they are delivered]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) rate: Option<u32>,
    /// URLs of the sink, each with a subscription of its own; every event goes to one of them
    #[arg(long, default_value_t = 10, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(super) endpoints: u32,
    /// Time that the sink takes to answer, in milliseconds
    #[arg(long, default_value_t = 0, value_name = "MS")]
    latency: u32,
    /// Worker processes
    #[arg(long, default_value_t = 1, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(super) workers: u32,
    /// End the load after this time, with the results so far
    #[arg(long, default_value = "60s", value_parser = duration)]
    #[serde(skip)]
    pub(super) duration: Duration,
}

fn duration(text: &str) -> Result<Duration, String> {
    let span = text.parse::<jiff::SignedDuration>().ok();
    let duration = span.and_then(|span| Duration::try_from(span).ok());
    duration.filter(|duration| !duration.is_zero()).ok_or_else(|| "such as 90s, 15m, 1h".to_owned())
}

impl Load {
    const EVENTS: u32 = 100_000;
    const SECONDS: u32 = 15;

    pub(super) fn events(&self) -> u32 {
        let of_rate = self.rate.map_or(Self::EVENTS, |rate| rate.saturating_mul(Self::SECONDS));
        self.events.unwrap_or(of_rate)
    }

    pub(super) fn latency(&self) -> Duration {
        Duration::from_millis(self.latency.into())
    }

    /// Refuses what workers with these settings do not deliver.
    pub(super) fn check(&self, settings: &Settings) -> Result<(), Failure> {
        let wrong =
            |key, message: String| Err(Failure::Settings(SettingsError::value(key, message)));
        let max_bytes = settings.worker.max_event_bytes;
        if usize::try_from(self.size).unwrap_or(usize::MAX) > max_bytes {
            let message = format!("workers take no events of {} bytes; raise it", self.size);
            return wrong("worker.max_event_bytes", message);
        }
        let deadline = settings.endpoint.deadline;
        if self.latency() >= deadline {
            let deadline = words::duration(deadline);
            let message = format!(
                "an attempt ends after {deadline}, before the sink would answer; lower --latency"
            );
            return wrong("endpoint.deadline", message);
        }
        Ok(())
    }
}
