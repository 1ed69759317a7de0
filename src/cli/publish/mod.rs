//! `homing publish`
//!
//! Reads events, publishes many at once, and reports on each: confirmed by the broker, bad (and
//! why), or not confirmed. A bad line affects no other line. When the broker stops
//! confirming, reading stops too, and the summary says which lines have to be published again.
//!
//! `input` reads lines of bounded length, `line` turns one into a message, `pump` publishes through
//! a `publisher`, `summary` keeps count, `wanted` finds who wants the events.

mod input;
mod line;
mod publisher;
mod pump;
mod summary;
mod wanted;

use clap_complete::ArgValueCandidates;

use self::{
    line::{Form, Reader},
    publisher::Publisher,
    summary::Summary,
    wanted::Wanting,
};
use super::{
    complete,
    failure::{Exit, Failure},
    globals::Globals,
    output::Output,
};
use homing_domain::id::SubscriptionId;

/// More than any homing takes over its API.
const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;

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
  homing publish --api http://127.0.0.1:8080 events.jsonl   through a running homing

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
    #[arg(add = ArgValueCandidates::new(complete::topics))]
    topic: Option<String>,
    /// The file as a whole is the body of one event
    #[arg(long, requires = "topic")]
    single: bool,
    /// Id of that one event
    #[arg(long, requires = "single")]
    id: Option<String>,
    /// Only this subscription gets the events
    #[arg(long, value_name = "ID", requires = "topic")]
    #[arg(add = ArgValueCandidates::new(complete::subscriptions))]
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
    let (publisher, max_body_bytes) = publisher(globals).await?;
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
        max_body_bytes,
    };
    let mut summary = if arguments.single {
        let body = input::whole(input, reader.max_body_bytes).await?;
        let (id, message) = reader.read(&body).map_err(Failure::Usage)?;
        let known = publisher.publish(&message).await?;
        let wanted = publisher.wanted(&message, known).await;
        Summary::of_one(id, &message, wanted)
    } else {
        let lines = input::lines(input, reader.max_line_bytes());
        pump::pump(&publisher, lines, reader, output).await?
    };
    publisher.end(&mut summary.interest, output).await;
    summary.write(output)?;
    Ok(if summary.is_complete() { Exit::Done } else { Exit::Failed })
}

/// The way to the broker, and the size of the largest event that it takes; over an API that is for
/// the running homing to say.
async fn publisher(globals: &Globals) -> Result<(Publisher, usize), Failure> {
    if let Some(api) = globals.remote()? {
        return Ok((Publisher::Api(api), MAX_BODY_BYTES));
    }
    let (settings, broker) = globals.connected_broker().await?;
    let wanting = Wanting::open(&settings);
    Ok((Publisher::Broker { broker, wanting }, settings.worker.max_event_bytes))
}

/// Topics may have such words, and hardly ever do.
fn looks_like_pattern(topic: &str) -> bool {
    topic.split('.').any(|word| matches!(word, "*" | "#"))
}
