//! Charts as SVG: bars by the minute, bars by latency, one bar of a table. Only numbers go in.

use std::{fmt, time::Duration};

use askama::filters::HtmlSafe;

/// The inside of an `<svg>`.
pub(super) struct Shapes(String);

impl HtmlSafe for Shapes {}

impl fmt::Display for Shapes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Bars on top of each other, in these classes from the bottom; `width` by `height` units.
pub(super) fn stacked(
    columns: &[Vec<u64>],
    classes: &[&'static str],
    (width, height): (u32, u32),
) -> Shapes {
    let most = columns.iter().map(|column| column.iter().sum::<u64>()).max().unwrap_or(0);
    let count = u32::try_from(columns.len()).unwrap_or(1).max(1);
    let step = f64::from(width) / f64::from(count);
    let mut shapes = String::new();
    for (index, column) in columns.iter().enumerate() {
        let x = step * f64::from(u32::try_from(index).unwrap_or(0));
        let mut top = f64::from(height);
        for (value, class) in column.iter().zip(classes).filter(|(value, _)| **value > 0) {
            // A value above zero is always visible.
            let tall = (share(*value, most) * f64::from(height)).max(1.5);
            top = (top - tall).max(0.0);
            let wide = step * 0.78;
            shapes.push_str(&rect((x, top), (wide, tall), class));
        }
    }
    Shapes(shapes)
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
        stacked(&columns, &["fill-accent", "fill-bad"], (600, 110))
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
        let drawn = stacked(&[vec![1, 1], vec![4, 0]], &["a", "b"], (20, 40)).to_string();
        insta::assert_snapshot!(drawn.replace("/>", "/>\n"), @r#"
        <rect x="0.00" y="30.00" width="7.80" height="10.00" class="a"/>
        <rect x="0.00" y="20.00" width="7.80" height="10.00" class="b"/>
        <rect x="10.00" y="0.00" width="7.80" height="40.00" class="a"/>
        "#);
        assert_eq!(stacked(&[vec![0]], &["a"], (9, 9)).to_string(), "");
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
