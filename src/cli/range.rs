//! Flags that choose a time, or a page of records.

use super::{failure::Failure, words};
use homing_domain::{record::RecordId, time::UnixMillis};

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
