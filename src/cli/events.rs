//! `homing events`

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap_complete::ArgValueCandidates;

use super::{
    complete,
    failure::{Exit, Failure},
    globals::Globals,
    output::Output,
    range::{Period, Records},
    table::Rows,
    target::Needs,
    words,
};
use crate::history::{EventView, EventsView};
use homing_domain::{
    clock, delivery_state::States, id::SubscriptionId, topic::Topic, url::EndpointUrl,
};
use homing_store::{DeliveryFilter, DeliveryPage};

const EXAMPLES: &str = "\
Examples:
  homing events
  homing events --state parked --since 1h
  homing events --topic order.paid --json | jq -r '.events[].event'

The event of which a delivery changed last comes first. Filters choose events by one of their
deliveries; counted are all of them. Events without a record in the attempt log are not listed:
those that no subscription wants (`homing topics --unwanted`), and those that no worker took yet.
`homing explain EVENT` shows the timeline of one.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// With this topic
    #[arg(long, value_parser = |text: &str| Topic::new(text))]
    #[arg(add = ArgValueCandidates::new(complete::topics))]
    topic: Option<Topic>,
    /// With a delivery in this state
    #[arg(long, value_parser = PossibleValuesParser::new(States::names())
        .try_map(|word| word.parse::<States>()))]
    state: Option<States>,
    /// With a delivery to this subscription
    #[arg(long, value_name = "ID")]
    #[arg(add = ArgValueCandidates::new(complete::subscriptions))]
    subscription: Option<SubscriptionId>,
    /// With a delivery to this URL
    #[arg(long, value_name = "URL")]
    #[arg(add = ArgValueCandidates::new(complete::urls))]
    url: Option<EndpointUrl>,
    #[command(flatten)]
    changed: Period,
    #[command(flatten)]
    page: Records,
}

impl Arguments {
    fn page(&self) -> Result<DeliveryPage, Failure> {
        let now = clock::now();
        let filter = DeliveryFilter {
            subscription: self.subscription,
            url: self.url.as_ref().map(|url| url.as_str().to_owned()),
            topic: self.topic.as_ref().map(ToString::to_string),
            states: self.state,
            since: self.changed.since(now)?,
            until: self.changed.until(now)?,
            ..DeliveryFilter::default()
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
        globals.with_target(Needs::Passive, async |target| target.events(&page).await).await?;
    if output.json {
        output.document(&view)?;
    } else {
        write(&view, output)?;
    }
    Ok(Exit::Done)
}

fn write(view: &EventsView, output: &mut Output<'_>) -> Result<(), Failure> {
    if view.events.is_empty() {
        output.aside("The log has no such event.");
    } else {
        let mut rows = Rows::new(output, &["LAST", "TOPIC", "EVENT", "DELIVERIES", "STATES"]);
        for event in &view.events {
            rows.add(row(event));
        }
        rows.write(output, &[3])?;
    }
    output.end_of_page(&view.gaps, &view.notes, view.next);
    Ok(())
}

fn row(event: &EventView) -> [String; 5] {
    let states = event.states.iter().map(|(state, number)| format!("{number} {state}"));
    [
        words::to_seconds(&event.last),
        event.topic.clone(),
        event.event.clone(),
        event.deliveries.to_string(),
        states.collect::<Vec<_>>().join(", "),
    ]
}
