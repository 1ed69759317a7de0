//! `homing subscriptions test`

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde_json::json;
use tokio::time::Instant;

use super::fields;
use crate::{
    cli::{
        Output,
        failure::{Exit, Failure},
    },
    clock,
    domain::{
        delivery::{Delivery, Progress},
        event::{CONTENT_TYPE_DEFAULT, Event},
        id::{EventId, SubscriptionId},
        subscription::Subscription,
        topic::Topic,
    },
    endpoint::{Attempted, Endpoints},
    service::Parts,
};

const EXAMPLES: &str = "\
Examples:
  homing subscriptions test 01931f5a-9c4e-7000-8000-0123456789ab
  homing subscriptions test 01931f5a-9c4e-7000-8000-0123456789ab --data task.json

One request, signed like any other, made by this program itself: nothing is queued, retried or
filtered. Exit code 1: the endpoint did not accept it.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Arguments {
    /// Which subscription
    id: SubscriptionId,
    /// Topic of the sample event; without it one that the subscription wants
    #[arg(long)]
    topic: Option<String>,
    /// Body of the sample event; `-`: standard input
    #[arg(long, value_name = "FILE")]
    data: Option<String>,
}

/// How much of a response is shown.
const RESPONSE_CHARS_MAX: usize = 500;

pub(super) async fn run(
    parts: &Parts,
    arguments: &Arguments,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let subscription = parts.registry.get(arguments.id).await.map_err(Failure::Registry)?;
    let topic = arguments.topic.clone().unwrap_or_else(|| topic_for(&subscription));
    let now = clock::now();
    let body = match &arguments.data {
        Some(file) => Bytes::from(fields::read(file).await?),
        None => {
            json!({"test": "homing", "topic": topic, "sent": now.to_string()}).to_string().into()
        }
    };
    let topic = Topic::new(&topic).map_err(|error| Failure::Usage(format!("--topic: {error}")))?;
    let event = Arc::new(Event {
        id: EventId::from(clock::new_id()),
        topic,
        content_type: CONTENT_TYPE_DEFAULT.to_owned(),
        body,
    });
    let progress = Progress { received: Some(now), ..Progress::default() };
    let delivery = Delivery { event, subscription: subscription.id, progress };

    let endpoints = Endpoints::new(&parts.settings.endpoint).map_err(Failure::Endpoints)?;
    let started = Instant::now();
    let attempted =
        endpoints.attempt(&delivery, &subscription, now).await.map_err(Failure::Request)?;
    write(&attempted, started.elapsed(), (&delivery, &subscription), output)?;
    Ok(if attempted.outcome.is_accepted() { Exit::Done } else { Exit::Failed })
}

/// A topic that the subscription wants: its first pattern, with words for the wildcards.
fn topic_for(subscription: &Subscription) -> String {
    let patterns = &subscription.terms.topics;
    let pattern = patterns.iter().find(|pattern| pattern.is_exact()).or_else(|| patterns.first());
    let words = pattern.map(ToString::to_string).unwrap_or_default();
    let words: Vec<_> = words
        .split('.')
        .map(|word| if matches!(word, "*" | "#") { "test" } else { word })
        .collect();
    words.join(".")
}

fn write(
    attempted: &Attempted,
    took: Duration,
    (delivery, subscription): (&Delivery, &Subscription),
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let response = String::from_utf8_lossy(&attempted.response);
    let shown: String = response.chars().take(RESPONSE_CHARS_MAX).collect();
    let outcome = &attempted.outcome;
    if output.json {
        return output.document(&json!({
            "url": subscription.terms.url.as_str(),
            "topic": delivery.event.topic,
            "webhook_id": delivery.id(),
            "outcome": outcome.to_string(),
            "accepted": outcome.is_accepted(),
            "status": outcome.status(),
            "duration_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            "cause": attempted.cause,
            "response": shown,
        }));
    }
    let fields = [
        ("sent", format!("{} to {}", delivery.event.topic, subscription.terms.url)),
        ("webhook-id", delivery.id().to_string()),
        ("outcome", outcome.to_string()),
        ("cause", attempted.cause.clone().unwrap_or_default()),
        ("took", format!("{} ms", took.as_millis())),
        ("response", shown.trim_end().to_owned()),
    ];
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
        output.line(format_args!("{name:<12}{value}"))?;
    }
    Ok(())
}
