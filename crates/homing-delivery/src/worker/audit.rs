//! Announces changes to subscriptions that want to know of them, and prunes the audit.
//!
//! A record is in the store with its change, and its event is due from then on: a worker claims it,
//! publishes it, and notes that. One that ends in between leaves it to another, a minute later, so
//! an event comes at least once, with the same id each time. A change that takes long, or whose process
//! was killed, is announced as begun; the event of its end has another id.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{Context, maintenance::REFRESH_INTERVAL};
use crate::settings::AuditSettings;
use homing_broker::{Message, Route, error::BrokerError};
use homing_domain::{
    audit::{AuditRecord, ChangeResult, View},
    clock,
    event::{CONTENT_TYPE_DEFAULT, Event},
    id::EventId,
    record::RecordId,
    topic::Topic,
};
use homing_store::{MAX_AUDIT_PRUNED, StoreError};
use homing_telemetry::log_events;

/// Interval of looking for changes.
const INTERVAL: Duration = Duration::from_secs(2);
/// A claimed event is due again after this time, unless it was published.
const CLAIM: Duration = Duration::from_secs(60);
/// Events about older changes are not published any more.
const MAX_AGE: Duration = Duration::from_hours(24);
/// Interval of pruning, and of the next step where one was not enough.
const PRUNE_INTERVAL: Duration = Duration::from_secs(600);

/// Why an event was not announced.
enum Unannounced {
    Store(StoreError),
    Broker(BrokerError),
}

/// Announces and prunes until `stop`.
pub(super) async fn run(context: Arc<Context>, settings: AuditSettings, stop: CancellationToken) {
    let working = async {
        let mut prune_at = Instant::now();
        loop {
            match announce(&context).await {
                Ok(()) => {}
                Err(Unannounced::Store(error)) => {
                    log_events::store_unavailable("announcing changes", &error);
                }
                Err(Unannounced::Broker(error)) => log_events::not_announced(&error.report()),
            }
            if prune_at <= Instant::now() {
                let more = prune(&context, &settings).await;
                prune_at = Instant::now() + if more { INTERVAL } else { PRUNE_INTERVAL };
            }
            sleep(INTERVAL).await;
        }
    };
    stop.run_until_cancelled(working).await;
}

/// Publishes what is due. What no subscription wants is only noted, once this worker must know of
/// those that were there before.
async fn announce(context: &Context) -> Result<(), Unannounced> {
    let now = clock::now();
    let (since, until) = (now.minus(MAX_AGE), now.plus(CLAIM));
    let known = RecordId::floor(now.minus(2 * REFRESH_INTERVAL));
    let claimed = context.store.claim_announcements(since, now, until).await;
    for record in claimed.map_err(Unannounced::Store)? {
        let (id, result) = (record.id, record.change.result);
        let topic = Topic::new(&record.change.topic()).ok();
        if let Some(topic) = topic.filter(|topic| context.subscriptions.wants(topic)) {
            let message = Message::of_event(event(record, topic));
            let published = context.broker.publish(&message.outgoing(), Route::Events).await;
            published.map_err(Unannounced::Broker)?;
        } else if id >= known {
            continue;
        }
        context.store.announced(id, result).await.map_err(Unannounced::Store)?;
    }
    Ok(())
}

fn event(record: AuditRecord, topic: Topic) -> Event {
    let id = record.id.uuid();
    let id = if record.change.result == ChangeResult::Begun {
        EventId::derived(&format!("{topic} {id} begun"))
    } else {
        EventId::from(id)
    };
    Event {
        id,
        topic,
        content_type: CONTENT_TYPE_DEFAULT.to_owned(),
        content_encoding: None,
        body: json!(View::from(record)).to_string().into(),
    }
}

/// Prunes once; true if there may be more.
async fn prune(context: &Context, settings: &AuditSettings) -> bool {
    let before = clock::now().minus(settings.keep);
    match context.store.prune_audit(before, settings.max_rows).await {
        Ok(pruned) => pruned >= MAX_AUDIT_PRUNED.into(),
        Err(error) => {
            log_events::store_unavailable("pruning the audit", &error);
            false
        }
    }
}
