//! The figures as a picture: bars of deliveries per second, homing beside what it is compared with.

use std::fmt::Write;

use crate::report::{Row, Run};

const WIDTH: f64 = 860.0;
const LABELS: f64 = 250.0;
const BAR: f64 = 16.0;
const GAP: f64 = 12.0;
const HEAD: f64 = 70.0;
const MAX_BAR: f64 = 430.0;

/// The rows that have deliveries per second, as SVG.
pub(crate) fn draw(run: &Run) -> String {
    let rows: Vec<_> =
        run.rows.iter().filter(|row| row.figures.get("per_second").is_finite()).collect();
    let highest = rows.iter().map(|row| row.figures.get("per_second")).fold(1.0, f64::max);
    let (mut bars, mut y) = (String::new(), HEAD);
    for row in rows {
        if row.by == "homing" {
            y += GAP;
        }
        bar(&mut bars, row, y, highest).unwrap_or_default();
        y += BAR + 2.0;
    }
    let machine = &run.machine;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"12\" y=\"26\" font-size=\"16\" font-weight=\"bold\">Deliveries per second: \
         homing {version}, a bare loop with reqwest, one with hyper</text>\n\
         <text x=\"12\" y=\"46\" fill=\"#555555\">{cores} cores of {processor}, {memory} GiB, for \
         broker, endpoints and workers together; load before: {load}</text>\n\
         <text x=\"12\" y=\"63\" fill=\"#555555\">Medians; in turns in one run. Behind the bars: \
         the ratios to both, and CPU of worker + broker in ms per 1,000 deliveries</text>\n\
         {bars}</svg>\n",
        height = y + GAP,
        version = run.homing,
        cores = machine.cores,
        processor = machine.processor,
        memory = machine.memory_gib,
        load = machine.load_before,
    )
}

fn bar(bars: &mut String, row: &Row, y: f64, highest: f64) -> std::fmt::Result {
    let per_second = row.figures.get("per_second");
    let width = per_second / highest * MAX_BAR;
    let (colour, label) = match row.by {
        "homing" => ("#2f6f9f", format!("{}: {}", row.scenario, row.case)),
        "hyper" => ("#e3e3e3", String::new()),
        _ => ("#c9c9c9", String::new()),
    };
    let ratios = row.ratios.iter().map(|ratio| format!("{:.2}", ratio.median));
    let ratios: Vec<_> = ratios.collect();
    let ratio =
        if ratios.is_empty() { String::new() } else { format!(" · {}", ratios.join(" and ")) };
    let (cpu, broker) = (row.figures.get("cpu_ms"), row.figures.get("broker_cpu_ms"));
    let text = y + BAR - 4.0;
    writeln!(bars, "<text x=\"12\" y=\"{text:.0}\">{label}</text>")?;
    writeln!(
        bars,
        "<rect x=\"{LABELS}\" y=\"{y:.0}\" width=\"{width:.0}\" height=\"{BAR}\" fill=\"{colour}\"/>"
    )?;
    writeln!(
        bars,
        "<text x=\"{:.0}\" y=\"{text:.0}\">{per_second:.0}{ratio} · {cpu:.0} + {broker:.0}</text>",
        LABELS + width + 6.0
    )
}
