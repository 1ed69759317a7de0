//! A standing wish: these events, to that endpoint.
//!
//! A [`Draft`] is what a person writes (API, CLI); building it gives a [`SubscriptionSpec`], which is known to
//! be sound, or a [`FieldError`] that names the field. A [`Subscription`] is terms with an
//! identity.

use std::{collections::BTreeMap, fmt, num::NonZeroU32};

use serde::{Deserialize, Serialize};

use super::{
    filter::{Budget, Connector, EventStates, FilterSet, OverBudget},
    id::SubscriptionId,
    signature::SigningSecret,
    time::UnixMillis,
    topic::{Topic, TopicPattern},
    url::EndpointUrl,
};

mod draft;
mod workfront;
mod wrong;

pub use draft::{Draft, FieldError, MAX_SECRETS};
pub use workfront::{EVENT_TYPES, OBJ_CODES, UnfitEvent, Version, WorkfrontForm, split_topic};
pub use wrong::FieldErrors;

/// A standing wish for events, with an identity.
#[derive(Clone, Debug, PartialEq)]
pub struct Subscription {
    /// Made by homing.
    pub id: SubscriptionId,
    /// What is wished for.
    pub spec: SubscriptionSpec,
    /// When it was made.
    pub created: UnixMillis,
    /// When it was last changed.
    pub updated: UnixMillis,
}

/// What a subscription wants and where it wants it: sound by construction.
#[derive(Clone, Debug, PartialEq)]
pub struct SubscriptionSpec {
    /// Where to send.
    pub url: EndpointUrl,
    /// Any of these is wanted; never empty.
    pub topics: Vec<TopicPattern>,
    /// A condition on the body.
    pub filters: FilterSet,
    /// Sent as `Authorization: Bearer`.
    pub auth_token: Option<AuthToken>,
    /// All of them sign, so that a secret can be replaced without a gap.
    pub secrets: Vec<SigningSecret>,
    /// Sent with every request.
    pub headers: BTreeMap<String, String>,
    /// The name of a schedule in the settings; `None`: the default one.
    pub schedule: Option<String>,
    /// Requests per second that the endpoint takes, from all workers together.
    pub rate_limit: Option<NonZeroU32>,
    /// For people.
    pub description: Option<String>,
    /// Sends events in Workfront's form; `None`: as published.
    pub workfront: Option<WorkfrontForm>,
}

impl SubscriptionSpec {
    /// Whether `topic` is one of those wanted. Homing's own events (`homing.…`) are only for those
    /// who name them: they tell of other people's endpoints.
    #[must_use]
    pub fn wants_topic(&self, topic: &Topic) -> bool {
        let own = topic.is_own();
        self.topics.iter().any(|pattern| pattern.matches(topic) && (!own || pattern.names_own()))
    }

    /// Whether every event with a topic that is wanted is wanted, so that its body need not be read.
    #[must_use]
    pub fn wants_any_body(&self) -> bool {
        self.filters.is_empty() && self.obj_id().is_none()
    }

    /// Whether an event with this body is wanted, if its topic is.
    ///
    /// # Errors
    ///
    /// [`OverBudget`]: nobody knows.
    pub fn wants_body(
        &self,
        states: &EventStates<'_>,
        budget: &mut Budget,
    ) -> Result<bool, OverBudget> {
        match self.obj_id() {
            Some(id) if !states.is_about(id, budget)? => Ok(false),
            Some(_) | None => self.filters.matches(states, budget),
        }
    }

    fn obj_id(&self) -> Option<&str> {
        self.workfront.as_ref()?.obj_id.as_deref()
    }

    /// What must be unique among subscriptions: same events to the same URL.
    ///
    /// Neither the order of patterns makes a difference, nor a connector that joins nothing. The
    /// store keeps a hash of this text, so its form can only change with a migration.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut topics: Vec<_> = self.topics.iter().map(ToString::to_string).collect();
        topics.sort_unstable();
        topics.dedup();
        let filters = self.filters.to_json();
        let connector =
            if filters.len() < 2 { Connector::default() } else { self.filters.connector() };
        let filters = serde_json::Value::from(filters);
        let form = match &self.workfront {
            Some(_) => format!("\nworkfront {}", self.obj_id().unwrap_or_default()),
            None => String::new(),
        };
        format!("{}\n{}\n{connector}\n{filters}{form}", self.url.as_str(), topics.join(","))
    }
}

/// A bearer token that an endpoint expects; shown by `Debug` masked.
///
/// Fewer than 255 characters, none of them a control character. Source of the bound: Adobe
/// Workfront, event subscription API, `authToken`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AuthToken(String);

/// Why a text is not an auth token. Never repeats the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an auth token has 1 to 254 characters and no control characters")]
pub struct AuthTokenError;

impl AuthToken {
    /// The token itself: for the request, never for a log.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// At most the last four characters; none of a token of eight or fewer.
    #[must_use]
    pub fn masked(&self) -> String {
        let length = self.0.chars().count();
        if length <= 8 {
            return "****".to_owned();
        }
        let tail: String = self.0.chars().skip(length.saturating_sub(4)).collect();
        format!("****{tail}")
    }
}

impl TryFrom<String> for AuthToken {
    type Error = AuthTokenError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if !(1..255).contains(&text.chars().count()) || text.chars().any(char::is_control) {
            return Err(AuthTokenError);
        }
        Ok(Self(text))
    }
}

impl From<AuthToken> for String {
    fn from(token: AuthToken) -> Self {
        token.0
    }
}

impl fmt::Debug for AuthToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_events_are_for_those_who_name_them() {
        let wants = |pattern: &str| {
            let draft = serde_json::json!({"url": "https://example.com", "topics": [pattern]});
            let draft: Draft = serde_json::from_value(draft).unwrap();
            let topic = Topic::new("homing.endpoint.opened").unwrap();
            draft.build(&[]).unwrap().wants_topic(&topic)
        };
        assert!(wants("homing.endpoint.opened") && wants("homing.#"));
        assert!(!wants("#") && !wants("*.endpoint.*"));
    }

    #[test]
    fn masks_show_at_most_four_characters() {
        let masked = |text: &str| AuthToken::try_from(text.to_owned()).unwrap().masked();
        assert_eq!(masked("12345678"), "****");
        assert_eq!(masked("123456789"), "****6789");
        assert_eq!(masked("geheimnisvoll-äöüß"), "****äöüß");
    }
}
