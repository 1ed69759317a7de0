//! Figures of several rounds combined: a table for readers, JSON for programs.

use std::{collections::BTreeMap, io, path::Path};

use serde::Serialize;

use crate::machine::Machine;

/// The figures of one round, by name. See [`COLUMNS`].
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
pub(crate) struct Figures(BTreeMap<&'static str, f64>);

/// Names of figures, their headings, and the decimals they are shown with. A scenario has some of
/// them.
const COLUMNS: [(&str, &str, usize); 17] = [
    ("published", "published/s", 0),
    ("publish_cpu_ms", "publish, broker ms/1000", 1),
    ("per_second", "deliveries/s", 0),
    ("missed", "missed", 0),
    ("while_down", "while down", 0),
    ("untried", "untried", 0),
    ("cpu_ms", "CPU ms/1000", 1),
    ("broker_cpu_ms", "broker ms/1000", 1),
    ("peak_mib", "peak MiB", 0),
    ("p50_ms", "p50 ms", 1),
    ("p99_ms", "p99 ms", 1),
    ("max_ms", "max ms", 1),
    ("first_p99_ms", "first, p99 ms", 1),
    ("retried_max_ms", "tried, max ms", 1),
    ("throttled", "throttled each", 3),
    ("put_back", "put back each", 3),
    ("micros", "us each", 2),
];

impl Figures {
    pub(crate) fn with(mut self, name: &'static str, value: f64) -> Self {
        self.0.insert(name, value);
        self
    }

    pub(crate) fn get(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or(f64::NAN)
    }

    /// The median of each figure.
    fn medians(rounds: &[Self]) -> Self {
        let names: Vec<_> = rounds.iter().flat_map(|round| round.0.keys().copied()).collect();
        let of = |name| median(rounds.iter().filter_map(|round| round.0.get(name).copied()));
        Self(names.into_iter().map(|name| (name, of(name))).collect())
    }
}

/// The middle one; of an even number, the lower of the two.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) scenario: &'static str,
    pub(crate) case: String,
    /// `homing`, or what it is compared with.
    pub(crate) by: &'static str,
    pub(crate) rounds: usize,
    pub(crate) figures: Figures,
    /// To the rows that it is compared with.
    pub(crate) ratios: Vec<Ratio>,
    /// The goal in words, and if it was reached.
    pub(crate) target: Option<(String, bool)>,
}

/// A figure of a row, divided by that of another row, round by round.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Ratio {
    /// The name of the figure.
    pub(crate) figure: &'static str,
    /// The other row.
    pub(crate) to: &'static str,
    pub(crate) median: f64,
    pub(crate) lowest: f64,
    pub(crate) highest: f64,
}

impl Row {
    pub(crate) fn new(
        scenario: &'static str,
        case: impl Into<String>,
        by: &'static str,
        rounds: &[Figures],
    ) -> Self {
        let (case, figures) = (case.into(), Figures::medians(rounds));
        Self { scenario, case, by, rounds: rounds.len(), figures, ratios: Vec::new(), target: None }
    }

    /// With the ratio of `figure` to that of the row `to`, whose rounds are `others`.
    pub(crate) fn compared(
        mut self,
        figure: &'static str,
        rounds: &[Figures],
        (to, others): (&'static str, &[Figures]),
    ) -> Self {
        let ratios =
            rounds.iter().zip(others).map(|(one, other)| one.get(figure) / other.get(figure));
        let ratios: Vec<_> = ratios.collect();
        let lowest = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = ratios.iter().copied().fold(0.0, f64::max);
        let median = median(ratios.into_iter());
        self.ratios.push(Ratio { figure, to, median, lowest, highest });
        self
    }

    /// The first of the ratios.
    pub(crate) fn ratio(&self) -> f64 {
        self.ratios.first().map_or(f64::NAN, |ratio| ratio.median)
    }

    pub(crate) fn must(mut self, text: &str, reached: bool) -> Self {
        self.target = Some((text.to_owned(), reached));
        self
    }
}

impl Ratio {
    fn text(&self) -> String {
        let Self { figure, to, median, lowest, highest } = self;
        let heading = COLUMNS.into_iter().find(|(name, ..)| name == figure);
        let heading = heading.map_or(*figure, |(_, heading, _)| heading);
        format!("{heading} {median:.2} ({lowest:.2}-{highest:.2}) of {to}")
    }
}

/// All results of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Run {
    pub(crate) homing: &'static str,
    pub(crate) machine: Machine,
    pub(crate) rows: Vec<Row>,
}

impl Run {
    pub(crate) fn print_head(&self) {
        let Machine { processor, cores, memory_gib, kernel, load_before } = &self.machine;
        println!(
            "{cores} cores of {processor}, {memory_gib} GiB, Linux {kernel}; broker, endpoints and workers on"
        );
        println!(
            "them all. Load before the run: {load_before}. Medians of the rounds; only ratios within a run count.\n"
        );
    }

    /// Adds the rows of a scenario and prints them.
    pub(crate) fn add(&mut self, rows: Vec<Row>) {
        let has = |name: &str| rows.iter().any(|row| row.figures.0.contains_key(name));
        let columns: Vec<_> = COLUMNS.into_iter().filter(|(name, ..)| has(name)).collect();
        print!("{:<11} {:<24} {:<7}", "scenario", "case", "by");
        for (_, heading, _) in &columns {
            print!(" {heading:>14}");
        }
        println!("  ratios (from-to), target");
        for row in rows {
            print!("{:<11} {:<24} {:<7}", row.scenario, row.case, row.by);
            for &(name, _, decimals) in &columns {
                match row.figures.0.get(name) {
                    Some(value) => print!(" {value:>14.decimals$}"),
                    None => print!(" {:>14}", ""),
                }
            }
            let ratios = row.ratios.iter().map(Ratio::text);
            let target = row.target.iter().map(|(text, reached)| {
                format!("{text}: {}", if *reached { "reached" } else { "MISSED" })
            });
            println!("  {}", ratios.chain(target).collect::<Vec<_>>().join(", "));
            self.rows.push(row);
        }
        println!();
    }

    pub(crate) fn write_json(&self, file: &Path) -> io::Result<()> {
        std::fs::write(file, serde_json::to_string_pretty(self)? + "\n")
    }
}
