//! The flags that select parked messages.

use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::cli::{failure::Failure, words};
use homing_delivery::parking::Selection;
use homing_domain::{
    clock, id::SubscriptionId, time::UnixMillis, topic::TopicPattern, verdict::ParkReason,
};

/// All conditions that are given must hold.
#[derive(clap::Args, Default)]
#[command(next_help_heading = "Filters (all that are given must hold)")]
pub(super) struct Filters {
    /// Parked for this reason
    #[arg(long, value_parser = PossibleValuesParser::new(ParkReason::ALL.map(ParkReason::as_str))
        .try_map(|word| word.parse::<ParkReason>()))]
    reason: Option<ParkReason>,
    /// To be delivered to this subscription
    #[arg(long, value_name = "ID")]
    subscription: Option<SubscriptionId>,
    /// With a topic that this pattern matches
    #[arg(long, value_name = "PATTERN")]
    topic: Option<TopicPattern>,
    /// Of the event with this id
    #[arg(long, value_name = "ID")]
    event: Option<String>,
    /// Parked at or after: 2026-01-31T12:00:00Z, or 2h for two hours ago
    #[arg(long, value_name = "WHEN")]
    parked_after: Option<String>,
    /// Parked before
    #[arg(long, value_name = "WHEN")]
    parked_before: Option<String>,
}

impl Filters {
    pub(super) fn selection(self) -> Result<Selection, Failure> {
        let now = clock::now();
        Ok(Selection {
            reason: self.reason,
            subscription: self.subscription,
            topic: self.topic,
            event: self.event,
            parked_after_ms: instant("--parked-after", self.parked_after, now)?,
            parked_before_ms: instant("--parked-before", self.parked_before, now)?,
            held_for: None,
        })
    }
}

fn instant(
    flag: &str,
    text: Option<String>,
    now: UnixMillis,
) -> Result<Option<UnixMillis>, Failure> {
    text.map(|text| words::instant(&text, now))
        .transpose()
        .map_err(|error| Failure::Usage(format!("{flag}: {error}")))
}
