//! `homing history`

use std::time::Duration;

use clap_complete::ArgValueCandidates;

use super::{
    complete,
    failure::{Exit, Failure},
    globals::Globals,
    output::Output,
    range::Period,
    table::Rows,
    target::Needs,
    words,
};
use crate::history::{A_DAY, FiguresView, HoursView, Percentiles};
use homing_domain::{clock, history::Series, topic::Topic, url::EndpointUrl};

const EXAMPLES: &str = "\
Examples:
  homing history                                      the last day, hour by hour
  homing history --url https://example.com/hook --since 7d
  homing history --topic order.paid --json | jq '.total.failed_by'

Hours are kept for `history.keep`; an hour in which nothing happened is left out. Of durations,
what 50, 95 and 99 of a hundred do not exceed is shown, to 6.25 per cent or half a millisecond.
RESPONSE is how long attempts took, DELIVERED IN the time from the receipt of an event to its
acceptance, waits included. EVENTS are those that were taken, once more when the broker sends one
again; homing's own are left out. Workers write what they counted every few seconds. Notes say what
is missing.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Only of deliveries to this URL
    #[arg(long, value_name = "URL", conflicts_with = "topic")]
    #[arg(add = ArgValueCandidates::new(complete::urls))]
    url: Option<EndpointUrl>,
    /// Only of events with this topic
    #[arg(long, value_parser = Topic::new)]
    #[arg(add = ArgValueCandidates::new(complete::topics))]
    topic: Option<Topic>,
    #[command(flatten)]
    hours: Period,
}

pub(super) async fn run(
    globals: &Globals,
    arguments: &Arguments,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let now = clock::now();
    let since = arguments.hours.since(now)?.unwrap_or_else(|| now.minus(A_DAY));
    let until = arguments.hours.until(now)?.unwrap_or(now);
    let series = match (&arguments.url, &arguments.topic) {
        (Some(url), _) => Series::Url(url.as_str().to_owned()),
        (None, Some(topic)) => Series::Topic(topic.as_str().to_owned()),
        (None, None) => Series::All,
    };
    let view = globals
        .with_target(Needs::Passive, async |target| target.hours(&series, since, until).await)
        .await?;
    if output.json {
        output.document(&view)?;
    } else {
        write(&view, output)?;
    }
    Ok(Exit::Done)
}

const HEADER: [&str; 10] = [
    "HOUR",
    "EVENTS",
    "ATTEMPTS",
    "DELIVERED",
    "FAILED",
    "THROTTLED",
    "HELD",
    "PARKED",
    "RESPONSE",
    "DELIVERED IN",
];

fn write(view: &HoursView, output: &mut Output<'_>) -> Result<(), Failure> {
    if view.hours.is_empty() {
        output.aside("Nothing was counted in this time.");
    } else {
        let mut rows = Rows::new(output, &HEADER);
        for hour in &view.hours {
            rows.add(row(&words::to_seconds(&hour.hour), &hour.figures));
        }
        rows.add(row("total", &view.total));
        rows.write(output, &[1, 2, 3, 4, 5, 6, 7])?;
    }
    for note in &view.notes {
        output.aside(format_args!("Note: {note}."));
    }
    Ok(())
}

fn row(hour: &str, figures: &FiguresView) -> [String; 10] {
    let failed = match figures.worst() {
        Some((class, number)) if number < figures.failed => {
            format!("{} (most: {class})", figures.failed)
        }
        Some((class, _)) => format!("{} ({class})", figures.failed),
        None => "0".to_owned(),
    };
    [
        hour.to_owned(),
        figures.events.to_string(),
        figures.attempts.to_string(),
        figures.delivered.to_string(),
        failed,
        figures.throttled.to_string(),
        figures.held.to_string(),
        figures.parked.to_string(),
        durations(figures.response_ms),
        durations(figures.delivery_ms),
    ]
}

/// `12 ms, 40 ms, 1.5 s`
fn durations(percentiles: Option<Percentiles>) -> String {
    let Some(Percentiles { p50, p95, p99 }) = percentiles else { return String::new() };
    [p50, p95, p99].map(|millis| words::duration(Duration::from_millis(millis))).join(", ")
}
