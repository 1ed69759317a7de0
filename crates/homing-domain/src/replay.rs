//! Replays of the archive: events of a window that are sent again, to subscriptions that had them
//! or to new ones.

use std::{collections::BTreeSet, num::NonZeroU32, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, de::Error};

use super::{
    event::Event,
    id::{EventId, SubscriptionId, uuid_id},
    subscription::FieldError,
    time::{UnixMillis, iso8601},
    topic::TopicPattern,
    url::EndpointUrl,
};

/// Subscriptions that one replay names at most.
pub const MAX_CHOSEN: usize = 64;
/// Deliveries per second of a replay, unless another number is chosen.
pub const DEFAULT_RATE: u32 = 500;
/// Deliveries per second of one replay at most.
pub const MAX_RATE: u32 = 10_000;

uuid_id! {
    /// A replay's id; `UUIDv7`, so that ids sort by creation.
    ReplayId, ReplayIdError: "replay id (a UUID such as 01931f5a-9c4e-7000-8000-0123456789ab)"
}

/// The events that are sent again, and to whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplaySelection {
    /// Archived at or after this instant; whole seconds, rounded down.
    #[serde(rename = "since", alias = "since_ms", with = "iso8601")]
    #[schema(value_type = String, format = DateTime)]
    pub since_ms: UnixMillis,
    /// Archived before this instant; whole seconds, rounded up.
    #[serde(rename = "until", alias = "until_ms", with = "iso8601")]
    #[schema(value_type = String, format = DateTime)]
    pub until_ms: UnixMillis,
    /// Only events with such a topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<TopicPattern>,
    /// Only the event with this id.
    #[serde(default, deserialize_with = "event_id", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub event: Option<EventId>,
    /// To these subscriptions; none: to all that match.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subscriptions: Vec<SubscriptionId>,
    /// To the subscriptions with this URL.
    #[serde(default, deserialize_with = "url", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub url: Option<EndpointUrl>,
    /// To the chosen subscriptions whatever their topics and filters say.
    #[serde(default)]
    pub unfiltered: bool,
    /// Deliveries per second at most; 500 if left out.
    #[serde(default = "default_rate")]
    #[schema(value_type = u32)]
    pub rate: NonZeroU32,
}

fn default_rate() -> NonZeroU32 {
    NonZeroU32::new(DEFAULT_RATE).unwrap_or(NonZeroU32::MIN)
}

fn event_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<EventId>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| EventId::new(&text).map_err(D::Error::custom)).transpose()
}

fn url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<EndpointUrl>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
}

impl ReplaySelection {
    /// The same with bounds that the broker can find, which knows whole seconds.
    ///
    /// # Errors
    ///
    /// [`FieldError`]: a window without an instant or beyond `now`, or fields that contradict each
    /// other.
    pub fn checked(mut self, now: UnixMillis) -> Result<Self, FieldError> {
        const SECOND: i64 = 1_000;
        let down = |at: i64| at.saturating_sub(at.rem_euclid(SECOND));
        let since = down(self.since_ms.get());
        let until = down(self.until_ms.get().saturating_add(SECOND - 1));
        let wrong = |field: &str, text: &str| Err(FieldError::new(field, text));
        if since < 0 {
            return wrong("since", "before 1970");
        }
        if until <= since {
            return wrong("until", "not after the beginning of the window");
        }
        if until > now.get().saturating_add(SECOND) {
            return wrong("until", "in the future; only what is archived can be sent again");
        }
        // One that is named twice counts once.
        let mut named = BTreeSet::new();
        self.subscriptions.retain(|id| named.insert(*id));
        if self.subscriptions.len() > MAX_CHOSEN {
            return wrong("subscriptions", "more than 64; choose none for all that match");
        }
        if self.url.is_some() && !self.subscriptions.is_empty() {
            return wrong("url", "choose subscriptions or a URL, not both");
        }
        if self.unfiltered && self.url.is_none() && self.subscriptions.is_empty() {
            return wrong("unfiltered", "needs `subscriptions` or `url`: it would be all to all");
        }
        if self.rate.get() > MAX_RATE {
            return wrong("rate", "more than 10000 a second");
        }
        let (since_ms, until_ms) = (UnixMillis::new(since), UnixMillis::new(until));
        Ok(Self { since_ms, until_ms, ..self })
    }

    /// Returns true if `event` is to be sent again.
    #[must_use]
    pub fn has(&self, event: &Event) -> bool {
        self.event.as_ref().is_none_or(|id| *id == event.id)
            && self.topic.as_ref().is_none_or(|pattern| pattern.matches(&event.topic))
    }

    /// Returns true if the subscription `id` with `url` may get them.
    #[must_use]
    pub fn chooses(&self, id: SubscriptionId, url: &EndpointUrl) -> bool {
        (self.subscriptions.is_empty() || self.subscriptions.contains(&id))
            && self.url.as_ref().is_none_or(|chosen| chosen == url)
    }

    /// Returns true if it names whom to send to.
    #[must_use]
    pub fn is_for_some(&self) -> bool {
        !self.subscriptions.is_empty() || self.url.is_some()
    }
}

/// The state of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReplayState {
    /// No worker has it.
    Waiting,
    /// A worker has it, or had it lately.
    Running,
    /// Someone stopped it; it can be resumed.
    Stopped,
    /// The whole window was sent.
    Done,
    /// It cannot go on.
    Failed,
}

impl ReplayState {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Waiting, Self::Running, Self::Stopped, Self::Done, Self::Failed];

    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }

    /// Returns true if nothing follows by itself.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Stopped | Self::Done | Self::Failed)
    }
}

/// The text is no state of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("one of waiting, running, stopped, done, failed")]
pub struct ReplayStateError;

impl FromStr for ReplayState {
    type Err = ReplayStateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or(ReplayStateError)
    }
}

/// The progress of a replay; written after what it counts was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ReplayProgress {
    /// Events in the window, a few more where the broker counts entries of its own; unknown until a
    /// worker has begun.
    pub events: Option<u64>,
    /// The position in the archive of the next event to read.
    pub position: Option<u64>,
    /// The position behind the last event.
    pub end: Option<u64>,
    /// Events read so far.
    pub read: u64,
    /// Deliveries sent so far; after the death of a worker, some of them twice.
    pub sent: u64,
    /// Messages that are no events or too large, and deliveries that could not be matched or that
    /// the broker does not take.
    pub unreadable: u64,
    /// Events of the window that the broker removed before they were read.
    pub gone: u64,
    /// Deliveries of a replay to all that match that were left out, because the circuit of their
    /// endpoint was not closed.
    pub left_out: u64,
    /// Set where the window begins with the oldest event of the archive, so that earlier ones may be
    /// missing: the instant of that, in whole seconds.
    #[serde(rename = "archive_begins", with = "iso8601::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub archive_begins_ms: Option<UnixMillis>,
    /// The reason why it waits or failed.
    pub note: Option<String>,
}

/// A replay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Replay {
    /// Its id, which each of its deliveries carries as `x-homing-replay`.
    pub id: ReplayId,
    /// The events that are sent again, and to whom.
    pub selection: ReplaySelection,
    /// Its state.
    pub state: ReplayState,
    /// Its progress.
    pub progress: ReplayProgress,
    /// The one who created it.
    pub actor: String,
    /// The time of its creation.
    #[serde(rename = "created", with = "iso8601")]
    #[schema(value_type = String, format = DateTime)]
    pub created_ms: UnixMillis,
    /// The time of the last change.
    #[serde(rename = "updated", with = "iso8601")]
    #[schema(value_type = String, format = DateTime)]
    pub updated_ms: UnixMillis,
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    fn selection(changes: &serde_json::Value) -> ReplaySelection {
        let mut selection = json!({"since_ms": 1_500, "until_ms": 9_001, "rate": 500});
        for (key, value) in changes.as_object().expect("an object") {
            selection[key] = value.clone();
        }
        serde_json::from_value(selection).expect("a selection")
    }

    fn checked(changes: &serde_json::Value) -> Result<ReplaySelection, String> {
        let checked = selection(changes).checked(UnixMillis::new(60_000));
        checked.map_err(|error| error.to_string())
    }

    #[test]
    fn a_window_has_whole_seconds_and_lies_in_the_past() {
        let window = checked(&json!({})).expect("a window");
        assert_eq!((window.since_ms.get(), window.until_ms.get()), (1_000, 10_000));
        let now = checked(&json!({"until_ms": 60_000}));
        assert!(now.is_ok());
        for wrong in [
            json!({"until_ms": 62_000}),
            json!({"since_ms": 10_000}),
            json!({"since_ms": -1}),
            json!({"unfiltered": true}),
            json!({"rate": 10_001}),
            json!({"url": "https://a.example/", "subscriptions": [Uuid::nil()]}),
        ] {
            assert!(checked(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_subscription_that_is_named_twice_is_chosen_once() {
        let (one, other) = (Uuid::nil(), Uuid::max());
        let twice = checked(&json!({"subscriptions": [one, other, one], "unfiltered": true}));
        let expected = [one, other].map(SubscriptionId::new);
        assert_eq!(twice.expect("a selection").subscriptions, expected);
        assert!(checked(&json!({"subscriptions": vec![one; MAX_CHOSEN + 1]})).is_ok());
    }

    #[test]
    fn a_selection_is_read_as_it_is_written() {
        let all = json!({
            "topic": "order.*", "event": "o-7", "url": "https://a.example/hook",
            "unfiltered": true,
        });
        let iso = selection(&json!({}));
        let written = serde_json::to_value(&iso).expect("JSON");
        assert_eq!(written["since"], "1970-01-01T00:00:01.500Z", "{written}");
        for changes in [json!({}), all, json!({"subscriptions": [Uuid::nil()]})] {
            let selection = selection(&changes);
            let written = serde_json::to_string(&selection).expect("JSON");
            assert_eq!(serde_json::from_str::<ReplaySelection>(&written).expect("it"), selection);
        }
    }

    #[test]
    fn only_those_who_are_chosen_get_it() {
        let (one, other) = (SubscriptionId::new(Uuid::nil()), SubscriptionId::new(Uuid::max()));
        let (a, b): (EndpointUrl, EndpointUrl) =
            ("https://a.example/".parse().unwrap(), "https://b.example/".parse().unwrap());
        assert!(selection(&json!({})).chooses(one, &a));
        let by_id = selection(&json!({"subscriptions": [Uuid::nil()]}));
        assert!(by_id.chooses(one, &b) && !by_id.chooses(other, &b));
        let by_url = selection(&json!({"url": "https://a.example/"}));
        assert!(by_url.chooses(other, &a) && !by_url.chooses(one, &b));
    }

    #[test]
    fn states_are_read_as_they_are_written() {
        for state in ReplayState::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
            assert_eq!(json!(state), json!(state.as_str()));
        }
    }
}
