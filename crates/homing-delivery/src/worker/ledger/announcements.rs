//! Events about hours of the ledger that are over: `homing.ledger.hour`, one for each subscription
//! that got something.
//!
//! A worker claims an hour, publishes its events and notes that. One that ends in between leaves it
//! to another, so an event comes at least once, with the same id each time.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::worker::Context;
use homing_broker::{Message, Route};
use homing_domain::{
    clock,
    event::{CONTENT_TYPE_DEFAULT, Event},
    id::{EventId, SubscriptionId},
    ledger::{LedgerHour, View, hour_of},
    time::UnixMillis,
    topic::Topic,
};
use homing_store::StoreError;
use homing_telemetry::log_events;

const TOPIC: &str = "homing.ledger.hour";
/// Events about older hours are not published any more.
const MAX_AGE: Duration = Duration::from_hours(24);
/// A claimed hour is due again after this time, unless it was announced.
const CLAIM: Duration = Duration::from_mins(10);

/// Publishes the events of the hours that are due, if a subscription wants them.
pub(super) async fn announce(context: &Context) {
    let Ok(topic) = Topic::new(TOPIC) else { return };
    if !context.subscriptions.wants(&topic) {
        return;
    }
    if let Err(error) = announce_due(context, &topic, clock::now()).await {
        log_events::store_unavailable("announcing hours of the ledger", &error);
    }
}

async fn announce_due(context: &Context, topic: &Topic, now: UnixMillis) -> Result<(), StoreError> {
    let (since, until) = (hour_of(now.minus(MAX_AGE)), hour_of(now));
    for hour in context.store.ledger_hours_due(since, until, now).await? {
        if !context.store.claim_ledger_hour(hour, now, now.plus(CLAIM)).await? {
            continue;
        }
        for (subscription, figures) in context.store.ledger_hour(hour, now).await? {
            let message = Message::of_event(event(topic.clone(), subscription, figures));
            if let Err(error) = context.broker.publish(&message.outgoing(), Route::Events).await {
                log_events::not_announced(&error.report());
                return Ok(());
            }
        }
        context.store.ledger_hour_announced(hour).await?;
    }
    Ok(())
}

fn event(topic: Topic, subscription: SubscriptionId, figures: LedgerHour) -> Event {
    let hour = figures.start.to_string();
    let mut body = Map::from_iter([("subscription".to_owned(), json!(subscription))]);
    if let Value::Object(view) = json!(View::from(figures)) {
        body.extend(view);
    }
    Event {
        id: EventId::derived(&format!("{TOPIC} {subscription} {hour}")),
        topic,
        content_type: CONTENT_TYPE_DEFAULT.to_owned(),
        content_encoding: None,
        body: Value::Object(body).to_string().into(),
    }
}
