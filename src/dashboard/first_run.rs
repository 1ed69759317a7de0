//! The first steps, each ticked from the state of the installation.

use std::time::Duration;

use tokio::time::timeout;

use crate::{overview::Overview, web::App};
use homing_store::{StoreError, TopicPage};

/// With more subscriptions than this, someone has found the way.
const FEW: u64 = 3;
/// Deadline for reading; the page comes without the steps then.
const DEADLINE: Duration = Duration::from_secs(1);

/// One step.
pub(super) struct Step {
    pub(super) what: &'static str,
    pub(super) is_done: bool,
    /// The command that does it.
    pub(super) command: &'static str,
    /// The page that does it, and the text of the link.
    pub(super) page: Option<(&'static str, &'static str)>,
}

/// The first steps.
pub(super) struct FirstRun {
    pub(super) steps: [Step; 5],
}

impl FirstRun {
    /// The steps while there is no subscription, or few and nothing was delivered yet. `None`:
    /// something was, or it is not known.
    pub(super) async fn of(app: &App, overview: &Overview) -> Option<Self> {
        let subscriptions = overview.subscriptions.filter(|number| *number <= FEW)?;
        let (has_event, has_attempt) =
            timeout(DEADLINE, Self::seen(app)).await.ok().and_then(Result::ok)?;
        let has_event = has_event || overview.last_hour.events > 0;
        let is_delivered = has_attempt || overview.last_hour.accepted > 0;
        if subscriptions > 0 && is_delivered {
            return None;
        }
        let step = |what, is_done, command| Step { what, is_done, command, page: None };
        let worker = overview.workers.iter().any(|worker| worker.alive);
        let subscribe = step(
            "Subscribe an endpoint to a topic",
            subscriptions > 0,
            "homing subscriptions create --url https://example.com/hook --topic 'order.*'",
        );
        let page = Some(("/subscriptions/new", "or with the form"));
        Some(Self {
            steps: [
                step("RabbitMQ answers", overview.broker.reachable, "homing topology check"),
                step("A worker runs", worker, "homing run"),
                Step { page, ..subscribe },
                step(
                    "Publish an event",
                    has_event,
                    "echo '{\"topic\": \"order.paid\", \"data\": {\"id\": 7}}' | homing publish",
                ),
                step("It is delivered", is_delivered, "homing attempts"),
            ],
        })
    }

    /// True if an event came, and if one was attempted.
    async fn seen(app: &App) -> Result<(bool, bool), StoreError> {
        let store = &app.services.store;
        let page = TopicPage { limit: 1, ..TopicPage::default() };
        let listing = store.topics(&page).await?;
        let has_event = listing.topics.iter().any(|topic| !topic.topic.starts_with("homing."));
        Ok((has_event, store.attempt_log().await?.rows > 0))
    }
}
