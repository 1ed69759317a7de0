//! Charts as SVG: bars by the minute, bars by latency, one bar of a table. Only numbers go in.

use std::{
    fmt::{self, Write},
    time::Duration,
};

use askama::filters::HtmlSafe;

use super::words;
use homing_domain::time::UnixMillis;

/// The inside of an `<svg>`.
pub(super) struct Shapes(String);

impl Shapes {
    /// Of elements that consist of fixed words and checked numbers only.
    pub(super) fn of(shapes: String) -> Self {
        Self(shapes)
    }
}

impl HtmlSafe for Shapes {}

impl fmt::Display for Shapes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Bars on top of each other, in these classes from the bottom; `most` is as high as the chart, of
/// `width` by `height` units.
pub(super) fn stacked(
    columns: &[Vec<u64>],
    classes: &[&'static str],
    most: u64,
    (width, height): (u32, u32),
) -> Shapes {
    let count = u32::try_from(columns.len()).unwrap_or(1).max(1);
    let step = f64::from(width) / f64::from(count);
    let mut shapes = String::new();
    for (index, column) in columns.iter().enumerate() {
        let x = step * f64::from(u32::try_from(index).unwrap_or(0));
        shapes.push_str(&bars(column, classes, most, (x, step * 0.78, f64::from(height))));
    }
    Shapes(shapes)
}

/// The bars of one column, from the ground up.
fn bars(
    values: &[u64],
    classes: &[&'static str],
    most: u64,
    (x, wide, height): (f64, f64, f64),
) -> String {
    let mut shapes = String::new();
    let mut top = height;
    for (value, class) in values.iter().zip(classes).filter(|(value, _)| **value > 0) {
        // A value above zero is always visible.
        let tall = (share(*value, most) * height).max(1.5);
        top = (top - tall).max(0.0);
        shapes.push_str(&rect((x, top), (wide, tall), class));
    }
    shapes
}

/// The highest column.
pub(super) fn highest(columns: &[Vec<u64>]) -> u64 {
    columns.iter().map(|column| column.iter().sum::<u64>()).max().unwrap_or(0)
}

/// A part of the time of a chart, and its values.
pub(super) struct Column {
    pub(super) start: UnixMillis,
    pub(super) values: Vec<u64>,
    /// The values in words.
    pub(super) says: String,
}

/// Title and unit of a chart, and the class and the name of each of its series from the ground up.
type Described<'a> = (&'static str, &'static str, &'a [(&'static str, &'static str)]);

/// A chart with axes: numbers above each other, times beside each other.
pub(super) struct Chart {
    pub(super) title: &'static str,
    pub(super) unit: &'static str,
    pub(super) series: Vec<(&'static str, &'static str)>,
    pub(super) shapes: Shapes,
    /// The highest number, half of it, and zero.
    pub(super) heights: [String; 3],
    /// The times on the axis.
    pub(super) times: Vec<Clock>,
    /// The whole of it in words.
    pub(super) description: String,
}

const HOUR: Duration = Duration::from_hours(1);
/// Units of a chart.
const WIDE: (u32, u32) = (600, 120);

impl Chart {
    /// Of so many columns, with a time at every `every`th; `tell` writes a value.
    pub(super) fn new(
        (title, unit, series): Described<'_>,
        columns: &[Column],
        every: u32,
        tell: fn(u64) -> String,
    ) -> Self {
        let highest = columns.iter().map(|column| column.values.iter().sum::<u64>()).max();
        let highest = highest.unwrap_or(0);
        let most = round(highest);
        let classes: Vec<_> = series.iter().map(|(class, _)| *class).collect();
        let count = u32::try_from(columns.len()).unwrap_or(1).max(1);
        let (width, height) = (f64::from(WIDE.0), f64::from(WIDE.1));
        let step = width / f64::from(count);
        let mut shapes = String::new();
        for (index, column) in columns.iter().enumerate() {
            let x = step * f64::from(u32::try_from(index).unwrap_or(0));
            let _infallible = write!(
                shapes,
                "<g><title>{}: {}</title>{}{}</g>",
                words::exact(column.start),
                column.says,
                rect((x, 0.0), (step, height), "fill-none"),
                bars(&column.values, &classes, most, (x, step * 0.78, height)),
            );
        }
        let every = usize::try_from(every).unwrap_or(1).max(1);
        let two = columns.first().zip(columns.get(1));
        let is_hourly = two.is_some_and(|(one, next)| next.start.since(one.start) >= HOUR);
        let days = is_hourly && count > 48;
        let at = |column: &Column| Clock { at: column.start, is_day: days };
        Self {
            title,
            unit,
            series: series.to_vec(),
            shapes: Shapes(shapes),
            heights: [tell(most), if most > 1 { tell(most / 2) } else { String::new() }, tell(0)],
            times: columns.iter().step_by(every).map(at).collect(),
            description: format!("{title}, {unit}; the highest is {}", tell(highest)),
        }
    }
}

/// A time on an axis: `14:00`, or `21 Nov`.
pub(super) struct Clock {
    at: UnixMillis,
    is_day: bool,
}

impl HtmlSafe for Clock {}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, form) = (self.at, if self.is_day { "day" } else { "minute" });
        let text = at.to_string();
        let part = if self.is_day { text.get(5..10) } else { text.get(11..16) };
        let part = part.unwrap_or_default();
        write!(f, "<time datetime=\"{at}\" data-form=\"{form}\">{part}</time>")
    }
}

/// The next number that a half can be read of: 1, 2, 5 or 10 times a power of ten.
fn round(number: u64) -> u64 {
    let mut power = 1_u64;
    while power.saturating_mul(10) < number {
        power = power.saturating_mul(10);
    }
    let steps = [1, 2, 4, 6, 8, 10].map(|step| power.saturating_mul(step));
    steps.into_iter().find(|step| *step >= number).unwrap_or(number).max(1)
}

/// The share of a value in `most`, as a bar of 100 units.
pub(super) fn bar(value: u64, most: u64, class: &'static str) -> Shapes {
    let mut shapes = String::new();
    shapes.push_str(&rect((0.0, 0.0), (100.0, 6.0), "fill-ground"));
    if value > 0 {
        shapes.push_str(&rect((0.0, 0.0), ((share(value, most) * 100.0).max(1.0), 6.0), class));
    }
    Shapes(shapes)
}

fn rect((x, y): (f64, f64), (width, height): (f64, f64), class: &'static str) -> String {
    format!(
        "<rect x=\"{x:.2}\" y=\"{y:.2}\" width=\"{width:.2}\" height=\"{height:.2}\" \
         class=\"{class}\"/>"
    )
}

fn share(value: u64, most: u64) -> f64 {
    let small = |number: u64| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
    if most == 0 { 0.0 } else { (small(value) / small(most)).min(1.0) }
}

/// Upper ends of the bins of a latency histogram in ms, about two for each doubling.
const LATENCY_ENDS_MS: [u64; 14] =
    [5, 10, 20, 35, 50, 75, 100, 150, 250, 500, 1_000, 2_000, 3_500, 5_000];

/// The latencies of attempts.
pub(super) struct Latency {
    bins: Vec<(u64, u64)>,
    sorted: Vec<Duration>,
}

impl Latency {
    /// From durations of attempts; true: the attempt was accepted.
    pub(super) fn of(attempts: impl Iterator<Item = (Duration, bool)>) -> Self {
        let mut bins = vec![(0, 0); LATENCY_ENDS_MS.len().saturating_add(1)];
        let mut sorted = Vec::new();
        for (took, accepted) in attempts {
            let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            let bin = LATENCY_ENDS_MS.partition_point(|end| *end < ms);
            if let Some((good, bad)) = bins.get_mut(bin) {
                let counted: &mut u64 = if accepted { good } else { bad };
                *counted = counted.saturating_add(1);
            }
            sorted.push(took);
        }
        sorted.sort_unstable();
        Self { bins, sorted }
    }

    pub(super) fn count(&self) -> usize {
        self.sorted.len()
    }

    /// The histogram.
    pub(super) fn shapes(&self) -> Shapes {
        let columns: Vec<_> = self.bins.iter().map(|(good, bad)| vec![*good, *bad]).collect();
        stacked(&columns, &["fill-accent", "fill-bad"], highest(&columns), (600, 110))
    }

    /// The duration that so many of a hundred do not exceed, as text.
    pub(super) fn at(&self, percent: usize) -> String {
        let last = self.sorted.len().saturating_sub(1);
        let index = last.saturating_mul(percent) / 100;
        self.sorted
            .get(index)
            .map_or_else(|| "–".to_owned(), |took| homing_domain::report::duration(*took))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_stand_on_the_ground_and_on_each_other() {
        let drawn = stacked(&[vec![1, 1], vec![4, 0]], &["a", "b"], 4, (20, 40)).to_string();
        insta::assert_snapshot!(drawn.replace("/>", "/>\n"), @r#"
        <rect x="0.00" y="30.00" width="7.80" height="10.00" class="a"/>
        <rect x="0.00" y="20.00" width="7.80" height="10.00" class="b"/>
        <rect x="10.00" y="0.00" width="7.80" height="40.00" class="a"/>
        "#);
        assert_eq!(stacked(&[vec![0]], &["a"], 0, (9, 9)).to_string(), "");
    }

    #[test]
    fn an_axis_ends_at_a_number_that_can_be_halved() {
        assert_eq!([0, 1, 3, 7, 10, 11, 99, 350].map(round), [1, 1, 4, 8, 10, 20, 100, 400]);
    }

    #[test]
    fn a_chart_says_its_values_and_its_times() {
        let column = |minute: i64, values: &[u64]| Column {
            start: UnixMillis::new(minute * 60_000),
            values: values.to_vec(),
            says: format!("{} in all", values.iter().sum::<u64>()),
        };
        let columns = [column(0, &[1, 2]), column(1, &[]), column(2, &[3, 4])];
        let series = [("a", "one"), ("b", "other")];
        let chart = Chart::new(("Title", "a minute", &series), &columns, 2, words::grouped);
        assert_eq!(chart.heights, ["8", "4", "0"].map(str::to_owned));
        assert_eq!(chart.description, "Title, a minute; the highest is 7");
        assert_eq!(chart.shapes.to_string().matches("<title>").count(), 3);
        let times: Vec<_> = chart.times.iter().map(ToString::to_string).collect();
        assert!(times[0].contains(">00:00<") && times[1].contains(">00:02<"), "{times:?}");
    }

    #[test]
    fn latencies_fall_into_bins_and_have_percentiles() {
        let took = [1, 5, 6, 90, 9_000].map(Duration::from_millis);
        let latency = Latency::of(took.into_iter().map(|took| (took, took.as_secs() == 0)));
        assert_eq!((latency.bins[0], latency.bins[1], latency.bins[6]), ((2, 0), (1, 0), (1, 0)));
        assert_eq!(latency.bins.last(), Some(&(0, 1)));
        assert_eq!((latency.at(50).as_str(), latency.at(100).as_str()), ("6 ms", "9 s"));
        assert_eq!(Latency::of(std::iter::empty()).at(50), "–");
    }
}
