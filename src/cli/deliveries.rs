//! `homing deliveries`

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap_complete::ArgValueCandidates;

use super::{
    complete, explain,
    failure::{Exit, Failure},
    globals::Globals,
    output::Output,
    range::{Of, Period, Records},
    table::Rows,
    target::Needs,
    words,
};
use crate::history::{DeliveriesView, DeliveryTimeline};
use homing_domain::{clock, delivery_state::States, topic::Topic};
use homing_store::{DeliveryFilter, DeliveryPage};

const EXAMPLES: &str = "\
Examples:
  homing deliveries --state held
  homing deliveries --state pending --subscription 01931f5a-9c4e-7000-8000-0123456789ab
  homing deliveries --event o-7 --attempts
  homing deliveries --url https://example.com/hook --json | jq -r '.deliveries[].summary'

A delivery is an event for one subscription; the one that changed last comes first. Its state is that
of its last record in the attempt log: delivered; waits (for its next attempt, or being attempted);
not_before (its endpoint asked for that time); throttled (waits for its turn: rate limit, requests at
a time; for longer than a second); held (circuit open or frozen, endpoint slow); parked (was_parked:
replayed or dropped since); not_wanted.
pending: all in which something follows by itself. SINCE is when the state began, SEEN when a wait
was last seen to go on. --since and --until go by the last change. What has no record is not listed,
nor what has waited without an attempt since before the oldest record (`homing endpoints list` counts
what is held). --delivery without --event looks through half a million records, and names the next
page.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    #[command(flatten)]
    of: Of,
    /// Of events with this topic
    #[arg(long, value_parser = |text: &str| Topic::new(text))]
    #[arg(add = ArgValueCandidates::new(complete::topics))]
    topic: Option<Topic>,
    /// In this state
    #[arg(long, value_parser = PossibleValuesParser::new(States::names())
        .try_map(|word| word.parse::<States>()))]
    state: Option<States>,
    /// Show each with its attempts
    #[arg(long)]
    attempts: bool,
    #[command(flatten)]
    changed: Period,
    #[command(flatten)]
    page: Records,
}

impl Arguments {
    fn page(&self) -> Result<DeliveryPage, Failure> {
        let now = clock::now();
        let filter = DeliveryFilter {
            event: self.of.event.clone(),
            delivery: self.of.delivery,
            subscription: self.of.subscription,
            url: self.of.url(),
            topic: self.topic.as_ref().map(ToString::to_string),
            states: self.state,
            since: self.changed.since(now)?,
            until: self.changed.until(now)?,
        };
        Ok(DeliveryPage { filter, after: self.page.after, limit: self.page.limit })
    }
}

pub(super) async fn run(
    globals: &Globals,
    arguments: &Arguments,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let page = arguments.page()?;
    let view =
        globals.with_target(Needs::Passive, async |target| target.deliveries(&page).await).await?;
    if output.json {
        output.document(&view)?;
    } else {
        write(&view, arguments.attempts, output)?;
    }
    Ok(Exit::Done)
}

const HEADER: [&str; 8] = ["SINCE", "SEEN", "STATE", "TOPIC", "EVENT", "ATTEMPTS", "DUE", "URL"];

fn write(
    view: &DeliveriesView,
    with_attempts: bool,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    if view.deliveries.is_empty() {
        output.aside("No such delivery is known.");
    } else if with_attempts {
        for delivery in &view.deliveries {
            output.line(format_args!("event {}", delivery.event))?;
            explain::write_timeline(delivery, output)?;
            output.line("")?;
        }
    } else {
        let mut rows = Rows::new(output, &HEADER);
        for delivery in &view.deliveries {
            rows.add(row(delivery));
        }
        rows.write(output, &[5])?;
    }
    output.end_of_page(&view.gaps, &view.notes, view.next);
    Ok(())
}

fn row(delivery: &DeliveryTimeline) -> [String; 8] {
    let instant =
        |text: &Option<String>| text.as_deref().map(words::to_seconds).unwrap_or_default();
    [
        instant(&delivery.since),
        instant(&delivery.as_of),
        delivery.state.to_owned(),
        delivery.topic.clone().unwrap_or_default(),
        delivery.event.clone(),
        delivery.attempts_made().to_string(),
        instant(&delivery.due),
        delivery.url.clone().unwrap_or_default(),
    ]
}
