//! `homing schedule`

use std::{collections::BTreeSet, time::Duration};

use serde::Serialize;

use super::{
    failure::{Exit, Failure},
    globals::Globals,
    output::Output,
    table::Rows,
    words,
};
use crate::config::Settings;
use homing_delivery::settings::BUILT_IN;
use homing_domain::schedule::Schedule;

const EXAMPLES: &str = "\
Examples:
  homing schedule                        the default schedule
  homing schedule standard-webhooks      another schedule
  homing schedule --all --json";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// A built-in schedule or one of [schedule.custom]; without it the default one
    name: Option<String>,
    /// Every schedule, also those that are not offered
    #[arg(long, conflicts_with = "name")]
    all: bool,
}

/// The times of the retries.
#[derive(Serialize)]
struct Timeline {
    name: String,
    /// True for the schedule of subscriptions that name none.
    default: bool,
    /// True if subscriptions may name it.
    offered: bool,
    retries: Vec<Retry>,
    total_ms: u128,
}

#[derive(Serialize)]
struct Retry {
    #[serde(rename = "retry")]
    number: usize,
    wait_ms: u128,
    /// After the first failure, attempts taken as instantaneous.
    due_ms: u128,
}

pub(super) fn run(
    globals: &Globals,
    arguments: &Arguments,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let settings = globals.settings()?;
    if arguments.all {
        let schedules = settings.schedule.schedules().map_err(Failure::Settings)?;
        let names: BTreeSet<_> = schedules.names().into_iter().chain(BUILT_IN).collect();
        let timelines = names.into_iter().map(|name| timeline(&settings, name));
        let timelines = timelines.collect::<Result<Vec<_>, _>>()?;
        if output.json {
            output.document(&timelines)?;
        } else {
            for (index, timeline) in timelines.iter().enumerate() {
                if index > 0 {
                    output.line("")?;
                }
                write(timeline, output)?;
            }
        }
        return Ok(Exit::Done);
    }
    let name = arguments.name.as_deref().unwrap_or(&settings.schedule.default);
    let timeline = timeline(&settings, name)?;
    if output.json {
        output.document(&timeline)?;
    } else {
        write(&timeline, output)?;
    }
    Ok(Exit::Done)
}

/// The schedule called `name`; one that is built in is shown even when it is not offered.
fn timeline(settings: &Settings, name: &str) -> Result<Timeline, Failure> {
    let schedules = settings.schedule.schedules().map_err(Failure::Settings)?;
    let mut all = settings.schedule.clone();
    all.offered.push(name.to_owned());
    let all = all.schedules();
    let offered = schedules.find(name);
    let Some(schedule) = offered.or_else(|| all.as_ref().ok()?.find(name)) else {
        let names = schedules.names().join(", ");
        let text = format!("there is no schedule `{name}`; the settings offer: {names}");
        return Err(Failure::Usage(text));
    };
    let is_default = name == schedules.default_name();
    Ok(Timeline::new(name, schedule, is_default, offered.is_some()))
}

impl Timeline {
    fn new(name: &str, schedule: &Schedule, default: bool, offered: bool) -> Self {
        let mut due = Duration::ZERO;
        let retries = schedule.waits().iter().enumerate().map(|(index, wait)| {
            due = due.saturating_add(*wait);
            let number = index.saturating_add(1);
            Retry { number, wait_ms: wait.as_millis(), due_ms: due.as_millis() }
        });
        let retries: Vec<_> = retries.collect();
        Self { name: name.to_owned(), default, offered, retries, total_ms: due.as_millis() }
    }
}

fn write(timeline: &Timeline, output: &mut Output<'_>) -> Result<(), Failure> {
    let mark = match (timeline.default, timeline.offered) {
        (true, _) => " (the default)",
        (false, true) => "",
        (false, false) => " (not offered: name it in `schedule.offered` to use it)",
    };
    output.line(format_args!("{}{mark}", timeline.name))?;
    output.line("")?;
    let mut rows = Rows::new(output, &["RETRY", "WAIT", "MS", "AFTER THE FIRST FAILURE", "MS"]);
    for retry in &timeline.retries {
        rows.add([
            retry.number.to_string(),
            report(retry.wait_ms),
            retry.wait_ms.to_string(),
            report(retry.due_ms),
            retry.due_ms.to_string(),
        ]);
    }
    rows.write(output, &[0, 2, 4])?;
    output.line("")?;
    let total = report(timeline.total_ms);
    match timeline.retries.len() {
        0 => output.line("Nothing is retried: a delivery whose first attempt fails is parked."),
        retries => output.line(format_args!(
            "In all {total}; a delivery whose retry {retries} fails is parked (exhausted)."
        )),
    }
}

fn report(millis: u128) -> String {
    words::duration(Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(name: &str) -> String {
        let settings =
            Settings::from_toml("[schedule.custom]\nfast = [\"50ms\", \"1s\"]\nnone = []").unwrap();
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let mut output = Output::new(&mut stdout, &mut stderr);
        write(&timeline(&settings, name).unwrap(), &mut output).unwrap();
        String::from_utf8(stdout).unwrap()
    }

    #[test]
    fn the_default_schedule_spans_48_hours() {
        insta::assert_snapshot!(shown("workfront"), @"
        workfront (the default)

        RETRY  WAIT               MS  AFTER THE FIRST FAILURE         MS
            1  1 min 25 s      84800  1 min 25 s                   84800
            2  2 min 50 s     169600  4 min 14 s                  254400
            3  5 min 39 s     339200  9 min 54 s                  593600
            4  11 min 18 s    678400  21 min 12 s                1272000
            5  22 min 37 s   1356800  43 min 49 s                2628800
            6  45 min 14 s   2713600  1 h 29 min                 5342400
            7  1 h 30 min    5427200  2 h 59 min                10769600
            8  3 h 1 min    10854400  6 h                       21624000
            9  6 h 2 min    21708800  12 h 2 min                43332800
           10  12 h 4 min   43417600  24 h 6 min                86750400
           11  24 h 7 min   86835200  48 h 13 min              173585600

        In all 48 h 13 min; a delivery whose retry 11 fails is parked (exhausted).
        ");
    }

    #[test]
    fn other_schedules_say_what_they_are() {
        insta::assert_snapshot!(shown("fast"), @"
        fast

        RETRY  WAIT     MS  AFTER THE FIRST FAILURE    MS
            1  50 ms    50  50 ms                      50
            2  1 s    1000  1 s                      1050

        In all 1 s; a delivery whose retry 2 fails is parked (exhausted).
        ");
        insta::assert_snapshot!(shown("none"), @"
        none

        RETRY  WAIT  MS  AFTER THE FIRST FAILURE  MS

        Nothing is retried: a delivery whose first attempt fails is parked.
        ");
        assert!(shown("workfront-delay").contains("not offered"));
    }

    #[test]
    fn a_schedule_that_is_not_there_is_wrong_usage() {
        let settings = Settings::from_toml("").unwrap();
        let error = timeline(&settings, "hourly").err().unwrap();
        insta::assert_snapshot!(error.report(), @"there is no schedule `hourly`; the settings offer: workfront");
        assert_eq!(error.exit(), Exit::Misused);
    }
}
