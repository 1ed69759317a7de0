//! `homing subscriptions test`

use clap_complete::ArgValueCandidates;
use serde_json::{json, value::RawValue};

use super::fields;
use crate::{
    cli::{
        complete,
        failure::{Exit, Failure},
        output::Output,
        target::Target,
    },
    test_event::TestEventResponse,
};
use homing_domain::id::SubscriptionId;

const EXAMPLES: &str = "\
Examples:
  homing subscriptions test 01931f5a-9c4e-7000-8000-0123456789ab
  homing subscriptions test 01931f5a-9c4e-7000-8000-0123456789ab --data task.json

One request, signed like any other, sent by this program itself (with --api, by the running homing):
nothing is queued, retried or
filtered. Its body is {\"test\":\"homing\",\"sent\":…,\"sample\":{\"topic\":…,\"body\":…}}: what --data gives is
below sample.body, so that no test can be taken for an event. Exit code 1: the endpoint did not
accept it.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Arguments {
    /// Id of the subscription
    #[arg(add = ArgValueCandidates::new(complete::subscriptions))]
    id: SubscriptionId,
    /// Topic of the test event; without it one that the subscription wants
    #[arg(long)]
    topic: Option<String>,
    /// JSON for the test event's body, other text becomes a string; `-`: standard input
    #[arg(long, value_name = "FILE")]
    data: Option<String>,
}

pub(super) async fn run(
    target: Target<'_>,
    arguments: &Arguments,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let body = match &arguments.data {
        Some(file) => Some(json_of(&fields::read(file).await?)?),
        None => None,
    };
    let topic = arguments.topic.clone();
    let answer = target.test_subscription(arguments.id, topic, body).await?;
    write(&answer, output)?;
    Ok(if answer.accepted { Exit::Done } else { Exit::Failed })
}

fn json_of(text: &str) -> Result<Box<RawValue>, Failure> {
    let json = serde_json::from_str::<&RawValue>(text).map(ToOwned::to_owned);
    json.or_else(|_| serde_json::value::to_raw_value(text))
        .map_err(|error| Failure::Usage(format!("--data: {error}")))
}

fn write(answer: &TestEventResponse, output: &mut Output<'_>) -> Result<(), Failure> {
    if output.json {
        return output.document(&json!(answer));
    }
    let fields = [
        ("sent", format!("{} to {}", answer.topic, answer.url)),
        ("webhook-id", answer.webhook_id.to_string()),
        ("outcome", answer.outcome.clone()),
        ("cause", answer.cause.clone().unwrap_or_default()),
        ("took", format!("{} ms", answer.duration_ms)),
        ("response", answer.response.trim_end().to_owned()),
    ];
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
        output.line(format_args!("{name:<12}{value}"))?;
    }
    Ok(())
}
