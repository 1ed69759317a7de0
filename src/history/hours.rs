//! Figures by the hour.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::History;
use homing_domain::{
    clock,
    history::{Count, Histogram, HourFigures, Series},
    time::{UnixMillis, hour_of},
};
use homing_store::{HistoryGaps, StoreError};

/// Figures by the hour, of everything, of one URL or of one topic. Instants are RFC 3339.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = History)]
pub struct HoursView {
    /// The beginning of the first hour.
    pub since: String,
    /// The end of the time.
    pub until: String,
    /// The URL that the figures are of.
    pub url: Option<String>,
    /// The topic that the figures are of.
    pub topic: Option<String>,
    /// All hours together.
    pub total: FiguresView,
    /// Each hour in which something was counted, the oldest first.
    pub hours: Vec<HourView>,
    /// Figures that are missing above, or may be.
    pub notes: Vec<String>,
}

/// The figures of one hour.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Hour)]
pub struct HourView {
    /// Its beginning; RFC 3339.
    pub hour: String,
    /// Its figures.
    #[serde(flatten)]
    pub figures: FiguresView,
}

/// Counts and durations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = HourFigures)]
pub struct FiguresView {
    /// Events that were taken, once more when the broker sends one again; none for a URL.
    pub events: u64,
    /// Those that no subscription wanted.
    pub unwanted: u64,
    /// Attempts.
    pub attempts: u64,
    /// Those that the endpoint accepted.
    pub delivered: u64,
    /// Those that failed.
    pub failed: u64,
    /// The same by class: `status_3xx`, `status_4xx`, `status_5xx`, `status_other`, `timed_out`,
    /// `dns`, `address_not_allowed`, `connection`, `tls`, `not_http`, `job`.
    pub failed_by: BTreeMap<String, u64>,
    /// Times that a delivery was put into a throttle queue.
    pub throttled: u64,
    /// Times that a delivery was held: put into a held queue, or once more at its step.
    pub held: u64,
    /// Events and deliveries that were parked.
    pub parked: u64,
    /// Durations of attempts in ms; absent: there was none.
    pub response_ms: Option<Percentiles>,
    /// From the receipt of an event to its acceptance by an endpoint, in ms.
    pub delivery_ms: Option<Percentiles>,
}

/// Durations that 50, 95 and 99 of a hundred do not exceed, to 6.25 per cent or half a millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Percentiles {
    /// The median.
    pub p50: u64,
    /// 95 of a hundred.
    pub p95: u64,
    /// 99 of a hundred.
    pub p99: u64,
}

impl Percentiles {
    fn of(histogram: &Histogram) -> Option<Self> {
        let at = |percent| histogram.percentile(percent);
        Some(Self { p50: at(50)?, p95: at(95)?, p99: at(99)? })
    }
}

impl From<&HourFigures> for FiguresView {
    fn from(figures: &HourFigures) -> Self {
        let by_class = Count::FAILED.iter().map(|class| (*class, figures.get(*class)));
        let by_class = by_class.filter(|(_, number)| *number > 0);
        Self {
            events: figures.get(Count::Events),
            unwanted: figures.get(Count::Unwanted),
            attempts: figures.attempts(),
            delivered: figures.get(Count::Delivered),
            failed: figures.failed(),
            failed_by: by_class
                .map(|(class, number)| (class.as_str().to_owned(), number))
                .collect(),
            throttled: figures.get(Count::Throttled),
            held: figures.get(Count::Held),
            parked: figures.get(Count::Parked),
            response_ms: Percentiles::of(&figures.response),
            delivery_ms: Percentiles::of(&figures.delivery),
        }
    }
}

impl FiguresView {
    /// The class with the most failures, and their number.
    #[must_use]
    pub fn worst(&self) -> Option<(&str, u64)> {
        let worst = self.failed_by.iter().max_by_key(|(_, number)| **number);
        worst.map(|(class, number)| (class.as_str(), *number))
    }
}

impl History {
    /// The figures of `series` by the hour, from the hour of `since` to `until`. They are up to
    /// some seconds old.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn hours(
        &self,
        series: &Series,
        since: UnixMillis,
        until: UnixMillis,
    ) -> Result<HoursView, StoreError> {
        let since = hour_of(since);
        let found = self.store.history(series, since, until).await?;
        let mut total = HourFigures::default();
        for (_, figures) in &found.hours {
            total.merge(figures);
        }
        let mut notes = Vec::new();
        if found.unreadable > 0 {
            notes.push(format!("{} hours in the store cannot be read", found.unreadable));
        }
        let gaps = self.store.history_gaps(since, until, clock::now()).await?;
        notes.extend(silent(gaps));
        if let Some(others) = series.others() {
            let deleted = gaps.names_since.map(|names_since| {
                format!(
                    "figures of URLs and topics go back to {names_since}; older ones are deleted \
                     (`history.max_rows`)"
                )
            });
            notes.extend(deleted);
            notes.extend(self.others(&others, since, until).await?);
        }
        let hours = found.hours.iter();
        Ok(HoursView {
            since: since.to_string(),
            until: until.to_string(),
            url: matches!(series, Series::Url(_)).then(|| series.name().to_owned()),
            topic: matches!(series, Series::Topic(_)).then(|| series.name().to_owned()),
            total: FiguresView::from(&total),
            hours: hours
                .map(|(hour, figures)| HourView {
                    hour: hour.to_string(),
                    figures: FiguresView::from(figures),
                })
                .collect(),
            notes,
        })
    }

    /// A note of figures that belong to names that were not distinguished.
    async fn others(
        &self,
        others: &Series,
        since: UnixMillis,
        until: UnixMillis,
    ) -> Result<Option<String>, StoreError> {
        let found = self.store.history(others, since, until).await?;
        let mut sum = HourFigures::default();
        for (_, figures) in &found.hours {
            sum.merge(figures);
        }
        let (events, attempts) = (sum.get(Count::Events), sum.attempts());
        let deferred = [Count::Throttled, Count::Held, Count::Parked].map(|what| sum.get(what));
        let deferred = deferred.into_iter().fold(0, u64::saturating_add);
        let kind = if matches!(others, Series::Url(_)) { "URLs" } else { "topics" };
        Ok([events, attempts, deferred].iter().any(|number| *number > 0).then(|| {
            format!(
                "{events} events, {attempts} attempts, and {deferred} times that a delivery was \
                 throttled, held or parked belong to {kind} without a name here: beyond \
                 `history.max_names`, not known, or counted while the store was away for hours"
            )
        }))
    }
}

/// A note of workers whose last figures are missing, or come later.
fn silent(gaps: HistoryGaps) -> Option<String> {
    let (number, last) = (gaps.silent, gaps.last_silent?);
    let workers = if number == 1 { "worker has" } else { "workers have" };
    (number > 0).then(|| {
        format!(
            "{number} {workers} not reported an end (the last one wrote at {last}): what was \
             counted in the seconds after that is missing, or comes when the store is reached \
             again"
        )
    })
}
