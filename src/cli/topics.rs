//! `homing topics`

use super::{
    failure::{Exit, Failure},
    globals::Globals,
    output::Output,
    table::Rows,
    target::Needs,
    words,
};
use crate::history::{TopicView, TopicsView};
use homing_store::TopicPage;

const EXAMPLES: &str = "\
Examples:
  homing topics
  homing topics --unwanted                 topics with events that no subscription wanted
  homing topics --json | jq -r '.topics[] | select(.subscriptions == 0) | .topic'

Ordered by topic; homing's own topics are left out. SUBSCRIPTIONS is the number of those that want
the topic at present; UNWANTED the number of events that no subscription wanted, for their topic or
because all filters refused them. A topic is forgotten `history.keep` after its last event.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Only topics with an event that no subscription wanted
    #[arg(long)]
    unwanted: bool,
    /// Show this many at most
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Begin after this topic, which the page before named
    #[arg(long, value_name = "TOPIC", allow_hyphen_values = true)]
    after: Option<String>,
}

pub(super) async fn run(
    globals: &Globals,
    arguments: &Arguments,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let Arguments { unwanted, limit, after } = arguments;
    let page = TopicPage {
        after: after.clone(),
        unwanted: *unwanted,
        limit: *limit,
        ..TopicPage::default()
    };
    let view =
        globals.with_target(Needs::Passive, async |target| target.topics(&page).await).await?;
    if output.json {
        output.document(&view)?;
    } else {
        write(&view, output)?;
    }
    Ok(Exit::Done)
}

const HEADER: [&str; 6] = ["TOPIC", "EVENTS", "UNWANTED", "SUBSCRIPTIONS", "FIRST", "LAST"];

fn write(view: &TopicsView, output: &mut Output<'_>) -> Result<(), Failure> {
    if view.topics.is_empty() {
        output.aside("No such topic was seen.");
    } else {
        let mut rows = Rows::new(output, &HEADER);
        for topic in &view.topics {
            rows.add(row(topic));
        }
        rows.write(output, &[1, 2, 3])?;
    }
    if let Some(others) = &view.others {
        output.aside(format_args!(
            "Not distinguished: {} of other topics, {} unwanted (`history.max_topics`, \
             `history.max_names`).",
            words::count(others.events, "event"),
            others.unwanted
        ));
    }
    if let Some(next) = &view.next {
        output.aside(format_args!("There are more: --after {}", words::quoted(next)));
    }
    Ok(())
}

fn row(view: &TopicView) -> [String; 6] {
    [
        view.topic.clone(),
        view.events.to_string(),
        view.unwanted.to_string(),
        view.subscriptions.map(|number| number.to_string()).unwrap_or_default(),
        words::to_seconds(&view.first),
        words::to_seconds(&view.last),
    ]
}
