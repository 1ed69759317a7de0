//! The figures as text.

use indicatif::HumanCount;

use super::{
    Ended,
    figures::{Figures, Load, Percentiles},
};
use crate::cli::{Output, failure::Failure, table::Rows};

const WIDTH: usize = 100;

pub(super) fn write(figures: &Figures, output: &mut Output<'_>) -> Result<(), Failure> {
    output.line(load(&figures.load))?;
    output.line("")?;
    let rate = format!("{:.0}", figures.deliveries_per_second).parse().unwrap_or(u64::MAX);
    output.line(format_args!(
        "{} deliveries per second: {} in {:.1} s{}",
        HumanCount(rate),
        HumanCount(figures.deliveries),
        figures.seconds,
        ended(figures)
    ))?;
    if figures.answered_500 > 0 {
        output.line(format_args!(
            "{} of them were answered with 500; the broker has {} in wait queues",
            figures.answered_500, figures.in_wait_queues
        ))?;
    }
    if figures.unanswered > 0 {
        output.line(format_args!("{} attempts ended without an answer", figures.unanswered))?;
    }
    output.line("")?;
    times(figures, output)?;
    output.line("")?;
    way(figures, output)?;
    output.line("")?;
    costs(figures, output)?;
    output.line("")?;
    paragraph(&figures.advice.text, "", output)?;
    output.line("")?;
    output.line("Not measured:")?;
    for text in &figures.not_measured {
        paragraph(text, "- ", output)?;
    }
    Ok(())
}

/// `100000 events of 1000 bytes to 10 endpoints, as fast as they were delivered by 1 worker`
fn load(load: &Load) -> String {
    let speed = match load.rate_per_second {
        Some(rate) => format!("{} a second, delivered by", HumanCount(rate.into())),
        None => "as fast as they were delivered by".to_owned(),
    };
    let latency = match load.endpoint_latency_ms {
        0 => "that answer at once".to_owned(),
        ms => format!("that answer after {ms} ms"),
    };
    let count = |number: u32, noun| {
        format!("{} {noun}{}", HumanCount(number.into()), if number == 1 { "" } else { "s" })
    };
    format!(
        "{} of {} to {} {latency}, {speed} {}",
        count(load.events, "event"),
        count(load.event_bytes, "byte"),
        count(load.endpoints, "endpoint"),
        count(load.workers, "worker"),
    )
}

fn ended(figures: &Figures) -> String {
    match figures.ended {
        Ended::Complete => String::new(),
        Ended::Duration => {
            format!("; --duration ended it, {} events were published", figures.published)
        }
        Ended::Interrupted => {
            format!("; interrupted, {} events were published", figures.published)
        }
    }
}

fn times(figures: &Figures, output: &mut Output<'_>) -> Result<(), Failure> {
    let mut rows = Rows::new(output, &["TIME, MS", "P50", "P90", "P99", "MAX"]);
    for (name, times) in
        [("publish to sink", &figures.latency_ms), ("publish to confirm", &figures.confirm_ms)]
    {
        let Percentiles { p50, p90, p99, max, .. } = times;
        let cells = [p50, p90, p99, max].map(|ms| format!("{ms:.1}"));
        rows.add([name.to_owned()].into_iter().chain(cells));
    }
    rows.write(output, &[1, 2, 3, 4])
}

fn way(figures: &Figures, output: &mut Output<'_>) -> Result<(), Failure> {
    let way = &figures.way_mean_ms;
    let whole = figures.latency_ms.mean.max(f64::MIN_POSITIVE);
    let mut rows = Rows::new(output, &["WHERE THE TIME GOES", "MEAN MS", "SHARE"]);
    for (name, ms) in [
        ("broker: publish until the worker has it", way.broker),
        ("worker: until the request begins", way.worker),
        ("request: until the sink has it", way.request),
    ] {
        let share = format!("{:.0} %", (ms * 100.0 / whole).min(100.0));
        rows.add([name.to_owned(), format!("{ms:.2}"), share]);
    }
    rows.add([
        "afterwards: request until the answer is read".to_owned(),
        format!("{:.2}", way.answer),
        String::new(),
    ]);
    rows.write(output, &[1, 2])
}

fn costs(figures: &Figures, output: &mut Output<'_>) -> Result<(), Failure> {
    let cpu = &figures.cpu;
    let mut rows = Rows::new(output, &["COST", "CPU MS PER 1,000", "PEAK MIB"]);
    let peak = figures.worker_peak_mib.map(|mib| format!("{mib:.0}")).unwrap_or_default();
    for (name, ms, peak) in [
        ("workers", cpu.workers_ms_per_1000, peak),
        ("broker", cpu.broker_ms_per_1000, String::new()),
        ("bench: publishing", cpu.bench_ms_per_1000, String::new()),
        ("bench: sink", cpu.sink_ms_per_1000, String::new()),
    ] {
        let ms = ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.0}"));
        rows.add([name.to_owned(), ms, peak]);
    }
    rows.write(output, &[1, 2])
}

/// Text in lines of at most [`WIDTH`] characters; further lines are indented as deep as `mark`.
fn paragraph(text: &str, mark: &str, output: &mut Output<'_>) -> Result<(), Failure> {
    let mut line = mark.to_owned();
    let mut is_new = true;
    for word in text.split(' ') {
        if !is_new && line.chars().count() + 1 + word.chars().count() > WIDTH {
            output.line(&line)?;
            line = " ".repeat(mark.len());
            is_new = true;
        }
        if !is_new {
            line.push(' ');
        }
        line.push_str(word);
        is_new = false;
    }
    output.line(line)
}
