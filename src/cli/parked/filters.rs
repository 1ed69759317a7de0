//! The flags that select parked messages.

use std::collections::BTreeSet;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap_complete::ArgValueCandidates;

use crate::cli::{complete, failure::Failure, words};
use homing_delivery::parking::{SearchText, Selection};
use homing_domain::{
    clock,
    error_group::ErrorId,
    id::{DeliveryId, SubscriptionId},
    status_range::StatusRange,
    time::UnixMillis,
    topic::TopicPattern,
    url::EndpointUrl,
    verdict::ParkReason,
};
use homing_store::ParkedId;

/// All conditions that are given must hold.
#[derive(clap::Args, Default)]
#[command(next_help_heading = "Filters (all that are given must hold)")]
pub(super) struct Filters {
    /// The one with this id, as JSON and exports have it
    #[arg(long)]
    id: Option<ParkedId>,
    /// Parked for this reason
    #[arg(long, value_parser = PossibleValuesParser::new(ParkReason::ALL.map(ParkReason::as_str))
        .try_map(|word| word.parse::<ParkReason>()))]
    reason: Option<ParkReason>,
    /// To be delivered to this subscription
    #[arg(long, value_name = "ID")]
    #[arg(add = ArgValueCandidates::new(complete::subscriptions))]
    subscription: Option<SubscriptionId>,
    /// With a topic that this pattern matches
    #[arg(long, value_name = "PATTERN")]
    topic: Option<TopicPattern>,
    /// Of the event with this id
    #[arg(long, value_name = "ID")]
    event: Option<String>,
    /// The one that is sent with this webhook-id
    #[arg(long, value_name = "ID")]
    delivery: Option<DeliveryId>,
    /// To this URL
    #[arg(long)]
    #[arg(add = ArgValueCandidates::new(complete::urls))]
    url: Option<EndpointUrl>,
    /// With this HTTP status at the last attempt, or one of this class: 503, or 5xx
    #[arg(long)]
    status: Option<StatusRange>,
    /// Parked for this error of an attempt: ID of `homing errors`
    #[arg(long, value_name = "ID")]
    error: Option<ErrorId>,
    /// With this in URL, topic, last outcome or the description of the subscription, or at the
    /// beginning of the event's id
    #[arg(long, value_name = "TEXT")]
    text: Option<SearchText>,
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
            id: self.id,
            ids: BTreeSet::new(),
            reason: self.reason,
            subscription: self.subscription,
            topic: self.topic,
            event: self.event,
            delivery: self.delivery,
            url: self.url.map(|url| url.as_str().to_owned()),
            status: self.status,
            error: self.error,
            text: self.text,
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Alone {
        #[command(flatten)]
        filters: Filters,
    }

    #[test]
    fn a_text_that_would_match_nearly_everything_is_refused() {
        for text in ["", "ab"] {
            assert!(Alone::try_parse_from(["parked", "--text", text]).is_err(), "{text:?}");
        }
        let given = Alone::try_parse_from(["parked", "--text", "abc"]).unwrap();
        assert!(!given.filters.selection().unwrap().is_everything());
    }
}
