//! `homing publish`
//!
//! Reads events, publishes many at once, and reports on each: confirmed by the broker, bad (and
//! why), or not confirmed. A bad line affects no other line. When the broker stops
//! confirming, reading stops too, and the summary says which lines have to be published again.
//!
//! `input` reads lines of bounded length, `line` turns one into a message, `pump` publishes,
//! `summary` keeps count, `wanted` finds who wants the events.

mod input;
mod line;
mod pump;
mod summary;
mod wanted;

use homing_broker::Route;

use self::{
    line::{Form, Reader},
    summary::Summary,
    wanted::Wanting,
};
use super::{
    failure::{Exit, Failure},
    globals::Globals,
    output::Output,
};
use homing_domain::id::SubscriptionId;

const EXAMPLES: &str = "\
A line is one event, as JSON:
  {\"topic\": \"order.paid\", \"id\": \"o-7\", \"data\": {\"total\": 12.50}}
topic and data are required; id (else a UUID is generated), subscription (only that one gets the event),
content_type and content_encoding (gzip, br, …) may be left out; body_base64 replaces data where
the body is not JSON. The bytes of data are published exactly as they are written. Lines of
`homing parked export` are accepted too.

Examples:
  homing publish events.jsonl
  producer | homing publish
  homing publish --topic order.paid orders.jsonl          each line is a body
  homing publish --topic TASK.UPDATE --single task.json   the file is one body

Topics have no blanks and no empty words, and do not begin with `homing.`, which is reserved.

Events that no subscription wants, by topic and filters, are published all the same; their topics
are named, with subscriptions that nearly want them.

Exit code 1: a line was bad or not confirmed; the summary names the lines to publish again.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// A file with events; `-` or nothing: standard input
    #[arg(default_value = "-", hide_default_value = true)]
    file: String,
    /// Every line is the body of an event with this topic
    #[arg(long)]
    topic: Option<String>,
    /// The file as a whole is the body of one event
    #[arg(long, requires = "topic")]
    single: bool,
    /// Id of that one event
    #[arg(long, requires = "single")]
    id: Option<String>,
    /// Only this subscription gets the events
    #[arg(long, value_name = "ID", requires = "topic")]
    subscription: Option<SubscriptionId>,
    /// Media type of the bodies
    #[arg(long, value_name = "TYPE", requires = "topic", default_value = "application/json")]
    content_type: String,
}

pub(super) async fn run(
    globals: &Globals,
    arguments: Arguments,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let input = input::open(&arguments.file).await?;
    if input.is_terminal {
        output.notice("reading events, one JSON object a line; Ctrl-D ends");
    }
    if let Some(topic) = arguments.topic.as_deref().filter(|topic| looks_like_pattern(topic)) {
        output.notice(format_args!(
            "`{topic}` is published literally: `*` and `#` are wildcards in subscriptions only"
        ));
    }
    let (settings, broker) = globals.connected_broker().await?;
    let reader = Reader {
        form: match arguments.topic {
            Some(topic) => Form::Body {
                topic,
                id: arguments.id,
                subscription: arguments.subscription,
                content_type: arguments.content_type,
            },
            None => Form::Envelope,
        },
        max_body_bytes: settings.worker.max_event_bytes,
    };
    let wanting = Wanting::open(&settings);
    let mut summary = if arguments.single {
        let body = input::whole(input, reader.max_body_bytes).await?;
        let (id, message) = reader.read(&body).map_err(Failure::Usage)?;
        let published = broker.publish(&message.outgoing(), Route::Events).await;
        published.map_err(Failure::Broker)?;
        let wanted = wanting.by(&message).await;
        Summary::of_one(id, &message, wanted)
    } else {
        let lines = input::lines(input, reader.max_line_bytes());
        pump::pump((&broker, &wanting), lines, reader, output).await?
    };
    broker.close().await;
    wanting.end(&mut summary.interest, output).await;
    summary.write(output)?;
    Ok(if summary.is_complete() { Exit::Done } else { Exit::Failed })
}

/// Topics may have such words, and hardly ever do.
fn looks_like_pattern(topic: &str) -> bool {
    topic.split('.').any(|word| matches!(word, "*" | "#"))
}
