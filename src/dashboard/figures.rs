//! Figures of a range of time: tiles with what happened, and charts with axes.

use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};

use super::{
    chart::{Chart, Column, Shapes, stacked},
    words,
};
use crate::{
    history::{FiguresView, History, HoursView, Percentiles},
    overview::Overview,
};
use homing_domain::{
    clock,
    history::Series,
    time::{UnixMillis, hour_of},
};
use homing_store::StoreError;

/// Units of the small charts.
const SMALL: (u32, u32) = (300, 28);
const HOUR: Duration = Duration::from_hours(1);

/// A range of time that ends now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Range {
    #[default]
    Hour,
    Day,
    Week,
}

impl Range {
    pub(super) const ALL: [Self; 3] = [Self::Hour, Self::Day, Self::Week];

    /// Its word in addresses.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "1h",
            Self::Day => "24h",
            Self::Week => "7d",
        }
    }

    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Hour => "1 h",
            Self::Day => "24 h",
            Self::Week => "7 d",
        }
    }

    /// `in the last hour`
    fn in_words(self) -> &'static str {
        match self {
            Self::Hour => "in the last hour",
            Self::Day => "in the last 24 hours",
            Self::Week => "in the last 7 days",
        }
    }

    /// The beginning of its first hour.
    pub(super) fn since(self, now: UnixMillis) -> UnixMillis {
        hour_of(now).minus(HOUR * self.hours().saturating_sub(1))
    }

    /// The number of its hours.
    fn hours(self) -> u32 {
        match self {
            Self::Hour => 1,
            Self::Day => 24,
            Self::Week => 168,
        }
    }

    /// Columns of a chart from each label of its axis to the next.
    fn columns_of_a_label(self) -> u32 {
        match self {
            Self::Hour => 15,
            Self::Day => 6,
            Self::Week => 24,
        }
    }
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|range| range.as_str() == text);
        known.ok_or_else(|| format!("`{text}` is not a range; one of 1h, 24h, 7d"))
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The figures of a minute or an hour.
#[derive(Clone, Copy, Default)]
struct Point {
    events: u64,
    delivered: u64,
    failed: u64,
    response: Option<Percentiles>,
}

/// One figure with its course.
pub(super) struct Tile {
    pub(super) label: &'static str,
    pub(super) value: String,
    pub(super) unit: &'static str,
    pub(super) sub: String,
    pub(super) chart: Shapes,
    /// The chart in words.
    pub(super) description: String,
}

/// The figures of a range.
pub(super) struct Figures {
    pub(super) range: Range,
    pub(super) tiles: Vec<Tile>,
    pub(super) charts: Vec<Chart>,
    /// Notes of what is missing.
    pub(super) notes: Vec<String>,
}

impl Figures {
    /// Reads those of a range. The last hour by the minute comes from `overview`, all else from the
    /// history.
    pub(super) async fn read(
        range: Range,
        overview: &Overview,
        history: &History,
    ) -> Result<Self, StoreError> {
        let now = clock::now();
        let since = range.since(now);
        // Of the last hour, the hour before has a part.
        let since = if range == Range::Hour { since.minus(HOUR) } else { since };
        let hours = history.hours(&Series::All, since, now).await?;
        Ok(Self::of(range, overview, hours, now))
    }

    /// Charts of a URL, by the hour.
    pub(super) fn charts(range: Range, hours: &HoursView) -> Vec<Chart> {
        let points = by_hour(range, hours, clock::now());
        vec![deliveries(range, &points), latency(range, &points)]
    }

    /// Those that are known without the store.
    pub(super) fn unknown(range: Range) -> Self {
        let notes = vec!["figures are not known: the store does not answer".to_owned()];
        Self { range, tiles: Vec::new(), charts: Vec::new(), notes }
    }

    fn of(range: Range, overview: &Overview, hours: HoursView, now: UnixMillis) -> Self {
        let points = if range == Range::Hour {
            let minutes = overview.minutes.iter().map(|minute| {
                let figures = &minute.figures;
                let (events, delivered) = (figures.events, figures.accepted);
                let point = Point { events, delivered, failed: figures.failed(), response: None };
                (minute.start_ms, point)
            });
            minutes.collect()
        } else {
            by_hour(range, &hours, now)
        };
        let mut charts = vec![deliveries(range, &points)];
        if range != Range::Hour {
            charts.push(latency(range, &points));
        }
        let tiles = tiles(range, overview, &points, &hours.total);
        Self { range, tiles, charts, notes: hours.notes }
    }
}

/// Each hour of the range, also those in which nothing happened.
fn by_hour(range: Range, found: &HoursView, now: UnixMillis) -> Vec<(UnixMillis, Point)> {
    let known: BTreeMap<_, _> =
        found.hours.iter().map(|hour| (hour.hour.as_str(), &hour.figures)).collect();
    let first = range.since(now);
    let point = |hour: u32| {
        let start = first.plus(HOUR * hour);
        let figures = known.get(start.to_string().as_str());
        let point = figures.map_or_else(Point::default, |figures| Point {
            events: figures.events,
            delivered: figures.delivered,
            failed: figures.failed,
            response: figures.response_ms,
        });
        (start, point)
    };
    (0..range.hours()).map(point).collect()
}

fn tiles(
    range: Range,
    overview: &Overview,
    points: &[(UnixMillis, Point)],
    total: &FiguresView,
) -> Vec<Tile> {
    let sum = |of: fn(&Point) -> u64| -> u64 { points.iter().map(|(_, point)| of(point)).sum() };
    let counted = |label, now: f64, class: &'static str, of: fn(&Point) -> u64| {
        let columns: Vec<_> = points.iter().map(|(_, point)| vec![of(point)]).collect();
        let most = columns.iter().flatten().max().copied().unwrap_or(0);
        let number = sum(of);
        let average = as_f64(number) / HOUR.as_secs_f64() / f64::from(range.hours());
        let (rate, unit) =
            if range == Range::Hour { (now, "/ s now") } else { (average, "/ s on average") };
        let each = if range == Range::Hour { "minute" } else { "hour" };
        Tile {
            label,
            value: words::rate(rate),
            unit,
            sub: format!("{} {}", words::grouped(number), range.in_words()),
            chart: stacked(&columns, &[class], most, SMALL),
            description: format!("{label} by the {each} {}, {most} at most", range.in_words()),
        }
    };
    let rates = &overview.rates;
    let (delivered, failed) = (sum(|point| point.delivered), sum(|point| point.failed));
    let mut tiles = vec![
        counted("Events in", rates.events, "fill-accent", |point| point.events),
        counted("Delivered", rates.accepted, "fill-good", |point| point.delivered),
        counted("Failed attempts", rates.failed, "fill-bad", |point| point.failed),
    ];
    let shares = points.iter().map(|(_, point)| {
        let all = point.delivered.saturating_add(point.failed);
        if all == 0 {
            vec![]
        } else {
            vec![percent(point.delivered, all), percent(point.failed, all)]
        }
    });
    tiles.push(Tile {
        label: "Success",
        value: words::percent(delivered, failed),
        unit: "",
        sub: format!(
            "of {} {}",
            words::count(delivered.saturating_add(failed), "attempt", "attempts"),
            range.in_words()
        ),
        chart: stacked(&shares.collect::<Vec<_>>(), &["fill-good", "fill-bad"], 100, SMALL),
        description: format!("Share of accepted attempts {}", range.in_words()),
    });
    tiles.push(response(range, points, total.response_ms));
    tiles
}

/// The tile of response times.
fn response(range: Range, points: &[(UnixMillis, Point)], total: Option<Percentiles>) -> Tile {
    let columns: Vec<_> =
        points.iter().map(|(_, point)| vec![point.response.map_or(0, |it| it.p95)]).collect();
    let most = columns.iter().flatten().max().copied().unwrap_or(0);
    let in_words =
        if range == Range::Hour { "in this hour and the one before" } else { range.in_words() };
    let sub = total.map_or_else(
        || format!("no attempt {in_words}"),
        |it| format!("p50 {}, p99 {}; {in_words}", words::took(it.p50), words::took(it.p99)),
    );
    Tile {
        label: "Response, p95",
        value: total.map_or_else(|| "–".to_owned(), |it| words::took(it.p95)),
        unit: "",
        sub,
        chart: stacked(&columns, &["fill-accent"], most, SMALL),
        description: format!("95 of 100 attempts took at most this {in_words}"),
    }
}

fn deliveries(range: Range, points: &[(UnixMillis, Point)]) -> Chart {
    let columns = points.iter().map(|(start, point)| Column {
        start: *start,
        values: vec![point.delivered, point.failed],
        says: format!(
            "{} delivered, {} failed",
            words::grouped(point.delivered),
            words::grouped(point.failed)
        ),
    });
    let unit = if range == Range::Hour { "attempts a minute" } else { "attempts an hour" };
    let series = [("fill-good", "delivered"), ("fill-bad", "failed")];
    let columns: Vec<_> = columns.collect();
    Chart::new(("Attempts", unit, &series), &columns, range.columns_of_a_label(), words::grouped)
}

fn latency(range: Range, points: &[(UnixMillis, Point)]) -> Chart {
    let columns = points.iter().map(|(start, point)| {
        let (values, says) = match point.response {
            Some(it) => (
                vec![it.p50, it.p95.saturating_sub(it.p50)],
                format!("p50 {}, p95 {}", words::took(it.p50), words::took(it.p95)),
            ),
            None => (Vec::new(), "no attempt".to_owned()),
        };
        Column { start: *start, values, says }
    });
    let series = [("fill-accent", "half of the attempts"), ("fill-soft", "95 of 100")];
    let columns: Vec<_> = columns.collect();
    let described = ("Response time", "by the hour", &series[..]);
    Chart::new(described, &columns, range.columns_of_a_label(), words::took)
}

fn percent(part: u64, all: u64) -> u64 {
    part.saturating_mul(100) / all.max(1)
}

fn as_f64(number: u64) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}
