//! Flags that choose deliveries, a time, or a page of records.

use clap_complete::ArgValueCandidates;

use super::{complete, failure::Failure, words};
use homing_domain::{
    id::{DeliveryId, SubscriptionId},
    record::RecordId,
    time::UnixMillis,
    url::EndpointUrl,
};

/// Deliveries, by what they are of.
#[derive(clap::Args)]
pub(super) struct Of {
    /// Of the event with this id
    #[arg(long, value_name = "ID")]
    pub(super) event: Option<String>,
    /// Of the delivery with this id: what the receiver gets as webhook-id
    #[arg(long, value_name = "ID")]
    pub(super) delivery: Option<DeliveryId>,
    /// To be delivered to this subscription
    #[arg(long, value_name = "ID")]
    #[arg(add = ArgValueCandidates::new(complete::subscriptions))]
    pub(super) subscription: Option<SubscriptionId>,
    /// Sent to this URL
    #[arg(long, value_name = "URL")]
    #[arg(add = ArgValueCandidates::new(complete::urls))]
    url: Option<EndpointUrl>,
}

impl Of {
    /// The URL as stores have it.
    pub(super) fn url(&self) -> Option<String> {
        self.url.as_ref().map(|url| url.as_str().to_owned())
    }
}

/// A time.
#[derive(clap::Args)]
pub(super) struct Period {
    /// From then on: 2026-01-31T12:00:00Z, or 2h for two hours ago
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Only before then
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
}

impl Period {
    /// Its beginning.
    pub(super) fn since(&self, now: UnixMillis) -> Result<Option<UnixMillis>, Failure> {
        words::instant_of_flag("--since", self.since.as_deref(), now)
    }

    /// Its end.
    pub(super) fn until(&self, now: UnixMillis) -> Result<Option<UnixMillis>, Failure> {
        words::instant_of_flag("--until", self.until.as_deref(), now)
    }
}

/// A page, the newest record first.
#[derive(clap::Args)]
pub(super) struct Records {
    /// Show this many at most
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) limit: u32,
    /// Begin after this one, which the page before named
    #[arg(long, value_name = "ID")]
    pub(super) after: Option<RecordId>,
}
