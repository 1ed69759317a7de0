//! The subscriptions that want what is published, for its publisher. Finding them fails no publish,
//! waits for no store, and delays an answer by a few milliseconds at most.

use std::{pin::pin, time::Duration};

use serde::Serialize;
use tokio::time::timeout;

use crate::web::App;
use homing_broker::{Message, message::Recipients};
use homing_delivery::worker::{Matcher, NearMiss, NotKnown, Wanted};
use homing_domain::id::SubscriptionId;

/// An answer waits this much longer than the broker takes.
const GRACE: Duration = Duration::from_millis(20);

/// The subscriptions that want an event.
#[derive(Clone, Debug, Default, Serialize, utoipa::ToSchema)]
pub(super) struct Interest {
    /// The number of subscriptions that want the event at present, by topic and filters; `null`:
    /// not known.
    wanted_by: Option<usize>,
    /// The first 20 of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    subscriptions: Vec<SubscriptionId>,
    /// Where there is none: subscriptions that nearly want it, and why they do not, as far as there
    /// was time to find out.
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

impl From<NotKnown> for Interest {
    fn from(why: NotKnown) -> Self {
        Self::unknown(match why {
            NotKnown::NotRead => "the subscriptions have not been read yet",
            NotKnown::Filters => "the filters could not be applied",
        })
    }
}

/// Waits for `publishing`, and finds meanwhile the subscriptions that want each of `messages`, in
/// their order. What is not found shortly after is not known.
///
/// # Cancel safety
///
/// As that of `publishing`.
pub(super) async fn beside<T>(
    app: &App,
    messages: &[Message],
    publishing: impl Future<Output = T>,
) -> (T, Vec<Interest>) {
    let mut found = Vec::with_capacity(messages.len());
    let published = {
        let mut publishing = pin!(publishing);
        let mut finding = pin!(find(&app.matcher, messages, &mut found));
        tokio::select! {
            // What is published is with the broker before the filters take their time.
            biased;
            published = &mut publishing => {
                // What is missing then is not known.
                drop(timeout(GRACE, finding).await);
                published
            }
            () = &mut finding => publishing.await,
        }
    };
    found.resize_with(messages.len(), || Interest::unknown("there was no time to find out"));
    (published, found)
}

async fn find(matcher: &Matcher, messages: &[Message], found: &mut Vec<Interest>) {
    for message in messages {
        let one = match message.recipients {
            Recipients::One(id) => matcher.exists(id).map(|exists| Wanted {
                number: usize::from(exists),
                subscriptions: exists.then_some(id).into_iter().collect(),
                near: Vec::new(),
            }),
            Recipients::Matching | Recipients::Group(_) => matcher.wanted_by(&message.event).await,
        };
        found.push(one.map_or_else(Interest::from, Interest::from));
        // Others get their turn between two events of a long batch.
        tokio::task::yield_now().await;
    }
}
