//! The subscriptions that want what is published, for its publisher; never fails a publish.

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use tokio::time::{Instant, timeout_at};

use crate::web::App;
use homing_broker::{Message, message::Recipients};
use homing_delivery::worker::{NearMiss, Wanted};
use homing_domain::id::SubscriptionId;

/// Deadline for all events of a request; of those left then, it is not known.
const DEADLINE: Duration = Duration::from_secs(1);

/// The subscriptions that want an event.
#[derive(Clone, Debug, Default, Serialize, utoipa::ToSchema)]
pub(super) struct Interest {
    /// The number of subscriptions that want the event at present, by topic and filters; `null`:
    /// not known.
    wanted_by: Option<usize>,
    /// The first 20 of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    subscriptions: Vec<SubscriptionId>,
    /// Where there is none: subscriptions that nearly want it, and why they do not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    near: Vec<NearMiss>,
    /// The reason why it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_known: Option<&'static str>,
}

impl Interest {
    fn unknown(why: &'static str) -> Self {
        Self { not_known: Some(why), ..Self::default() }
    }
}

impl From<Wanted> for Interest {
    fn from(wanted: Wanted) -> Self {
        let Wanted { number, subscriptions, near } = wanted;
        Self { wanted_by: Some(number), subscriptions, near, not_known: None }
    }
}

/// The subscriptions that want each of `messages`, in their order.
///
/// # Cancel safety
///
/// Cancel safe.
pub(super) async fn by(app: &App, messages: &[Message]) -> Vec<Interest> {
    let until = Instant::now() + DEADLINE;
    let late = || Interest::unknown("there was no time to find out");
    let refreshed = match timeout_at(until, app.matcher.refresh()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_store)) => Err(Interest::unknown("the store is unavailable")),
        Err(_elapsed) => Err(late()),
    };
    let mut found = Vec::with_capacity(messages.len());
    for message in messages {
        let one = match (&refreshed, &message.recipients) {
            (_, Recipients::One(id)) => {
                Interest { wanted_by: Some(1), subscriptions: vec![*id], ..Interest::default() }
            }
            (Err(unknown), _) => unknown.clone(),
            (Ok(()), Recipients::Matching | Recipients::Group(_)) => {
                let event = Arc::clone(&message.event);
                let wanted = timeout_at(until, app.matcher.wanted_by(&event)).await;
                match wanted {
                    Ok(Some(wanted)) => Interest::from(wanted),
                    Ok(None) => Interest::unknown("the filters could not be applied"),
                    Err(_elapsed) => late(),
                }
            }
        };
        found.push(one);
        // Others get their turn between two events of a long batch.
        tokio::task::yield_now().await;
    }
    found
}
