//! `homing explain`

use clap_complete::ArgValueCandidates;

use super::{
    attempts, complete,
    failure::{Exit, Failure},
    globals::Globals,
    output::Output,
    payload,
    table::Rows,
    target::Needs,
    words,
};
use crate::history::{DeliveryTimeline, Explanation, RecordView};
use homing_domain::{id::EventId, subscription::Version, topic::Topic};

const EXAMPLES: &str = "\
Examples:
  homing explain o-7
  homing explain 01a1fe0d-13ed-73d1-821d-0c229fa06364 --json
  homing explain o-7 --payload               what was sent and received, secrets masked
  homing explain o-8 --topic order.paid      nothing is known: which subscriptions match?

Reads the attempt log, the circuits and, if the event was not delivered to every subscription, the
first 1,000 parked messages. Changes nothing. Exit code 1: nothing is known of the event.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// The event's id
    #[arg(value_parser = |text: &str| EventId::new(text))]
    event: EventId,
    /// Its topic, if nothing is known of the event
    #[arg(long, value_parser = |text: &str| Topic::new(text))]
    #[arg(add = ArgValueCandidates::new(complete::topics))]
    topic: Option<Topic>,
    /// Also show what the newest attempts sent and received
    #[arg(long)]
    payload: bool,
}

pub(super) async fn run(
    globals: &Globals,
    arguments: &Arguments,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let (event, topic) = (arguments.event.as_str(), arguments.topic.clone());
    let explanation = globals
        .with_target(Needs::Passive, async |target| {
            target.explain(event, topic, arguments.payload).await
        })
        .await?;
    if output.json {
        output.document(&explanation)?;
    } else {
        write(&explanation, output)?;
    }
    Ok(if explanation.deliveries.is_empty() { Exit::Failed } else { Exit::Done })
}

fn write(explanation: &Explanation, output: &mut Output<'_>) -> Result<(), Failure> {
    let topic = explanation.topic.as_deref().map(|topic| format!(" ({topic})"));
    output.line(format_args!("event {}{}", explanation.event, topic.unwrap_or_default()))?;
    if explanation.deliveries.is_empty() {
        output.line("Nothing is known of what happened to it.")?;
    }
    for timeline in &explanation.deliveries {
        write_timeline(timeline, output)?;
    }
    if !explanation.unsent.is_empty() {
        output.line("")?;
        output.line("Subscriptions that want this topic, without a known delivery:")?;
        for unsent in &explanation.unsent {
            let (id, url, why) = (unsent.subscription, &unsent.url, unsent.why);
            output.line(format_args!("  {id}  {url}: {why}"))?;
        }
    }
    let gaps: Vec<_> = explanation.gaps.iter().map(ToString::to_string).collect();
    if !(gaps.is_empty() && explanation.notes.is_empty()) {
        output.line("")?;
    }
    for text in gaps.iter().chain(&explanation.notes) {
        output.line(format_args!("- {text}"))?;
    }
    Ok(())
}

pub(super) fn write_timeline(
    timeline: &DeliveryTimeline,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    output.line("")?;
    output.line(timeline.url.as_deref().unwrap_or("(its URL is not known)"))?;
    match (timeline.subscription, timeline.delivery) {
        (Some(subscription), Some(delivery)) => {
            let former = timeline.former_version.map(Version::as_str);
            let former = former.map(|it| format!(", in the former version {it}"));
            let former = former.unwrap_or_default();
            output
                .line(format_args!("  subscription {subscription}, delivery {delivery}{former}"))?;
        }
        (Some(_) | None, Some(_) | None) => output.line("  before it had a delivery")?,
    }
    output.line(format_args!("  {}.", timeline.summary))?;
    if let Some(next) = &timeline.next {
        output.line(format_args!("  {next}."))?;
    }
    if let Some(command) = &timeline.command {
        output.line(format_args!("  To send it again: {command}"))?;
    }
    if timeline.attempts.is_empty() {
        return Ok(());
    }
    let mut rows = Rows::new(output, &["  STARTED", "ATTEMPT", "TOOK", "VERDICT", "WHAT HAPPENED"]);
    for attempt in &timeline.attempts {
        rows.add([
            format!("  {}", words::to_seconds(&attempt.started)),
            attempt.attempt.map(|number| number.to_string()).unwrap_or_default(),
            attempts::took(attempt),
            attempts::verdict(attempt),
            happened(attempt),
        ]);
    }
    rows.write(output, &[1, 2])?;
    for attempt in &timeline.attempts {
        if let Some(number) = attempt.attempt
            && (attempt.payload.is_some() || attempt.payload_note.is_some())
        {
            output.line("")?;
            output.line(format_args!("Attempt {number}, {}", attempt.id))?;
            payload::write(attempt, output)?;
        }
    }
    Ok(())
}

/// Characters of a response on one line.
const RESPONSE_CHARS: usize = 100;

fn happened(attempt: &RecordView) -> String {
    let due = attempt.due.as_deref().map(words::to_seconds);
    let due = due.map(|due| format!("; due again {due}")).unwrap_or_default();
    let said = attempt.response.as_deref().map(|response| {
        let response = response.trim_end();
        let shown: String = response.chars().take(RESPONSE_CHARS).collect();
        let more = if attempt.response_cut || shown.len() < response.len() { " …" } else { "" };
        format!("; it said: {shown}{more}")
    });
    let held = attempt.held().map(|held| format!("; before, {held}")).unwrap_or_default();
    format!("{}{due}{}{held}", attempt.report(), said.unwrap_or_default())
}
