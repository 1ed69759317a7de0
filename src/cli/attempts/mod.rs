//! `homing attempts`

mod follow;

use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::{
    failure::{Exit, Failure},
    globals::Globals,
    output::Output,
    payload,
    range::{Of, Period, Records},
    table::Rows,
    target::{Needs, Target},
    words,
};
use crate::history::{PageView, RecordView};
use homing_domain::{
    clock,
    record::{Classes, RecordId},
    status_range::StatusRange,
};
use homing_store::{RecordFilter, RecordPage};

const EXAMPLES: &str = "\
Examples:
  homing attempts --outcome failed --since 1h
  homing attempts --follow --outcome failed
  homing attempts --url https://example.com/hook --status 503
  homing attempts --event o-7 --json | jq -r '.attempts[].response'
  homing attempts 01a1fe88-5faa-7421-b640-95b7b0fc9977
  homing attempts --subscription 01931f5a-9c4e-7000-8000-0123456789ab --limit 1000

Newest first. Attempts older than `attempts.keep`, or beyond `attempts.max_rows`, are deleted. A
delivery that is held, or was parked without an attempt, is listed as not_attempted.
--delivery scans the whole log, which takes a second or two when it is full.
`homing explain EVENT` shows the timeline of one event. The ids of attempts are in `--json` and in
`homing explain EVENT --payload`.";

const FILTERS: [&str; 10] = [
    "event",
    "delivery",
    "subscription",
    "url",
    "outcome",
    "status",
    "since",
    "until",
    "after",
    "follow",
];

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Show this attempt alone, with what it sent and received
    #[arg(value_name = "ID", conflicts_with_all = FILTERS)]
    id: Option<RecordId>,
    #[command(flatten)]
    of: Of,
    /// With this outcome; failed: refused, timed out or unreachable
    #[arg(long, value_parser = PossibleValuesParser::new(Classes::names())
        .try_map(|word| word.parse::<Classes>()))]
    outcome: Option<Classes>,
    /// Answered with this HTTP status, or one of this class: 503, or 5xx
    #[arg(long, value_name = "STATUS")]
    status: Option<StatusRange>,
    #[command(flatten)]
    begun: Period,
    #[command(flatten)]
    page: Records,
    /// Go on with attempts as they are made, oldest first, until interrupted; with --json a line each
    #[arg(long, short, conflicts_with_all = ["until", "after", "limit"])]
    follow: bool,
}

impl Arguments {
    fn page(&self) -> Result<RecordPage, Failure> {
        let now = clock::now();
        let filter = RecordFilter {
            event: self.of.event.clone(),
            delivery: self.of.delivery,
            subscription: self.of.subscription,
            url: self.of.url(),
            classes: self.outcome,
            status: self.status,
            since: self.begun.since(now)?,
            until: self.begun.until(now)?,
        };
        Ok(RecordPage { filter, after: self.page.after, limit: self.page.limit })
    }
}

pub(super) async fn run(
    globals: &Globals,
    arguments: &Arguments,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    if let Some(id) = arguments.id {
        return show(globals, id, output).await;
    }
    let page = arguments.page()?;
    if arguments.follow {
        let follow = async |target: Target<'_>| follow::run(target, page, output).await;
        return globals.with_target(Needs::Passive, follow).await;
    }
    let view =
        globals.with_target(Needs::Passive, async |target| target.attempts(&page).await).await?;
    if output.json {
        output.document(&view)?;
    } else {
        write(&view, page.filter == RecordFilter::default(), output)?;
    }
    Ok(Exit::Done)
}

/// Shows one attempt. Exit code 1: the log has no such attempt.
async fn show(globals: &Globals, id: RecordId, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let found =
        globals.with_target(Needs::Passive, async |target| target.attempt(id).await).await?;
    let Some(attempt) = found else {
        output.notice(format_args!("the log has no attempt {id}"));
        return Ok(Exit::Failed);
    };
    if output.json {
        output.document(&attempt)?;
        return Ok(Exit::Done);
    }
    let mut rows = Rows::new(output, &HEADER);
    rows.add(row(&attempt));
    rows.write(output, &[3, 4])?;
    payload::write(&attempt, output)?;
    Ok(Exit::Done)
}

const HEADER: [&str; 9] =
    ["STARTED", "TOPIC", "EVENT", "ATTEMPT", "TOOK", "OUTCOME", "VERDICT", "DUE", "URL"];

fn write(view: &PageView, everything: bool, output: &mut Output<'_>) -> Result<(), Failure> {
    if view.attempts.is_empty() && view.next.is_none() {
        output.aside(if everything {
            "The log has no attempt."
        } else {
            "The log has no such attempt."
        });
    } else if !view.attempts.is_empty() {
        let mut rows = Rows::new(output, &HEADER);
        for attempt in &view.attempts {
            rows.add(row(attempt));
        }
        rows.write(output, &[3, 4])?;
    }
    output.end_of_page(&view.gaps, &view.notes, view.next);
    Ok(())
}

fn row(attempt: &RecordView) -> [String; 9] {
    let due = attempt.due.as_deref().map(words::to_seconds);
    [
        words::to_seconds(&attempt.started),
        attempt.topic.clone(),
        attempt.event.clone(),
        attempt.attempt.map(|number| number.to_string()).unwrap_or_default(),
        took(attempt),
        what(attempt),
        verdict(attempt),
        due.unwrap_or_default(),
        attempt.url.clone().unwrap_or_default(),
    ]
}

/// The duration of the exchange.
pub(super) fn took(attempt: &RecordView) -> String {
    let took = attempt.duration_ms.map(std::time::Duration::from_millis);
    took.map(words::duration).unwrap_or_default()
}

fn what(attempt: &RecordView) -> String {
    attempt.outcome.clone().unwrap_or_else(|| attempt.report())
}

/// The verdict, with the reason if the delivery was parked.
pub(super) fn verdict(attempt: &RecordView) -> String {
    match attempt.reason {
        Some(reason) => format!("{}: {reason}", attempt.verdict),
        None => attempt.verdict.to_owned(),
    }
}
