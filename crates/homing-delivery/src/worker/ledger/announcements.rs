//! Events about hours of the ledger that are over: `homing.ledger.hour`, one for each subscription
//! that got something.
//!
//! A worker claims an hour, publishes its events and notes that. One that ends in between leaves it
//! to another, so an event comes at least once, with the same id each time. Where state or figures
//! of the hour change afterwards, another event says so.

use std::{sync::Arc, time::Duration};

use futures_util::{TryStreamExt, stream};
use serde_json::{Map, Value, json};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::worker::Context;
use homing_broker::{Message, Route, error::BrokerError};
use homing_domain::{
    clock,
    event::{CONTENT_TYPE_DEFAULT, Event},
    id::{EventId, SubscriptionId},
    ledger::{Checksum, LedgerHour, View},
    time::hour_of,
    topic::Topic,
};
use homing_store::StoreError;
use homing_telemetry::log_events;

const TOPIC: &str = "homing.ledger.hour";
/// Events about older hours are not published any more.
const MAX_AGE: Duration = Duration::from_hours(24);
/// A claimed hour is due again after this time, unless it was announced.
const CLAIM: Duration = Duration::from_mins(10);

/// Interval of looking for hours.
const INTERVAL: Duration = Duration::from_secs(5);
/// Events that are published at a time.
const AT_A_TIME: usize = 32;

/// Publishes the events of the hours that are due, if a subscription wants them, until `stop`.
pub(in crate::worker) async fn run(context: Arc<Context>, stop: CancellationToken) {
    let Ok(topic) = Topic::new(TOPIC) else { return };
    let working = async {
        loop {
            if context.subscriptions.wants(&topic)
                && let Err(error) = announce_due(&context, &topic).await
            {
                log_events::store_unavailable("announcing hours of the ledger", &error);
            }
            sleep(INTERVAL).await;
        }
    };
    stop.run_until_cancelled(working).await;
}

async fn announce_due(context: &Context, topic: &Topic) -> Result<(), StoreError> {
    let now = clock::now();
    let (since, until) = (hour_of(now.minus(MAX_AGE)), hour_of(now));
    for hour in context.store.ledger_hours_due(since, until, now).await? {
        let now = clock::now();
        let until = now.plus(CLAIM);
        if !context.store.claim_ledger_hour(hour, now, until).await? {
            continue;
        }
        let mut after = None;
        loop {
            let page = context.store.ledger_hour(hour.start, after, now).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            if let Err(error) = publish(context, topic, page).await {
                log_events::not_announced(&error.report());
                return Ok(());
            }
        }
        context.store.ledger_hour_announced(hour.start, until).await?;
    }
    Ok(())
}

async fn publish(
    context: &Context,
    topic: &Topic,
    page: Vec<(SubscriptionId, LedgerHour)>,
) -> Result<(), BrokerError> {
    stream::iter(page.into_iter().map(Ok))
        .try_for_each_concurrent(AT_A_TIME, |(subscription, figures)| async move {
            let message = Message::of_event(event(topic.clone(), subscription, figures));
            context.broker.publish(&message.outgoing(), Route::Events).await.map(drop)
        })
        .await
}

fn event(topic: Topic, subscription: SubscriptionId, figures: LedgerHour) -> Event {
    let hour = figures.start.to_string();
    let Checksum { number, xor, sum } = figures.checksum;
    let state = figures.state.as_str();
    let mut body = Map::from_iter([("subscription".to_owned(), json!(subscription))]);
    if let Value::Object(view) = json!(View::from(figures)) {
        body.extend(view);
    }
    Event {
        id: EventId::derived(&format!(
            "{TOPIC} {subscription} {hour} {state} {number} {xor} {sum}"
        )),
        topic,
        content_type: CONTENT_TYPE_DEFAULT.to_owned(),
        content_encoding: None,
        body: Value::Object(body).to_string().into(),
    }
}
