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
const COLUMNS: [(&str, &str, usize); 15] = [
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
    /// Of what the scenario is about, to the row that it is compared with: the median of the
    /// rounds' ratios, the lowest and the highest one.
    pub(crate) ratio: Option<[f64; 3]>,
    /// The goal in words, and if it was reached.
    pub(crate) target: Option<(String, bool)>,
}

impl Row {
    pub(crate) fn new(
        scenario: &'static str,
        case: impl Into<String>,
        by: &'static str,
        rounds: &[Figures],
    ) -> Self {
        let (case, figures) = (case.into(), Figures::medians(rounds));
        Self { scenario, case, by, rounds: rounds.len(), figures, ratio: None, target: None }
    }

    /// With the ratio of the figure `name` to that of `others`, round by round.
    pub(crate) fn compared(mut self, name: &str, rounds: &[Figures], others: &[Figures]) -> Self {
        let ratios = rounds.iter().zip(others).map(|(one, other)| one.get(name) / other.get(name));
        let ratios: Vec<_> = ratios.collect();
        let lowest = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = ratios.iter().copied().fold(0.0, f64::max);
        self.ratio = Some([median(ratios.into_iter()), lowest, highest]);
        self
    }

    pub(crate) fn must(mut self, text: &str, reached: bool) -> Self {
        self.target = Some((text.to_owned(), reached));
        self
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
        print!("{:<11} {:<24} {:<6}", "scenario", "case", "by");
        for (_, heading, _) in &columns {
            print!(" {heading:>14}");
        }
        println!(" {:>18}  target", "ratio (from-to)");
        for row in rows {
            print!("{:<11} {:<24} {:<6}", row.scenario, row.case, row.by);
            for &(name, _, decimals) in &columns {
                match row.figures.0.get(name) {
                    Some(value) => print!(" {value:>14.decimals$}"),
                    None => print!(" {:>14}", ""),
                }
            }
            let ratio =
                row.ratio.map(|[ratio, from, to]| format!("{ratio:.2} ({from:.2}-{to:.2})"));
            let target = row.target.as_ref().map(|(text, reached)| {
                format!("{text}: {}", if *reached { "reached" } else { "MISSED" })
            });
            println!(" {:>18}  {}", ratio.unwrap_or_default(), target.unwrap_or_default());
            self.rows.push(row);
        }
        println!();
    }

    pub(crate) fn write_json(&self, file: &Path) -> io::Result<()> {
        std::fs::write(file, serde_json::to_string_pretty(self)? + "\n")
    }
}
