//! A selection of parked deliveries.

use std::{collections::BTreeSet, str::FromStr};

use serde::{Deserialize, Deserializer};

use super::ParkedId;
use homing_domain::{
    error_group::ErrorId,
    id::{DeliveryId, SubscriptionId},
    status_range::StatusRange,
    text::parsed,
    time::UnixMillis,
    topic::TopicPattern,
    url::EndpointUrl,
    verdict::ParkReason,
};

/// Conditions on parked deliveries; all that are set must hold, none selects all.
///
/// Deserialized from texts, as queries, forms and arguments have them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Selection {
    /// The one with this id.
    #[serde(deserialize_with = "parsed")]
    pub id: Option<ParkedId>,
    /// Those with one of these ids, where there are any.
    #[serde(skip)]
    pub ids: BTreeSet<ParkedId>,
    /// Parked for this reason.
    #[serde(deserialize_with = "parsed")]
    pub reason: Option<ParkReason>,
    /// For this subscription.
    #[serde(deserialize_with = "parsed")]
    pub subscription: Option<SubscriptionId>,
    /// Of a topic that this pattern matches.
    #[serde(deserialize_with = "parsed")]
    pub topic: Option<TopicPattern>,
    /// Of the event with this id.
    #[serde(deserialize_with = "parsed")]
    pub event: Option<String>,
    /// The delivery that is sent with this `webhook-id`.
    #[serde(deserialize_with = "parsed")]
    pub delivery: Option<DeliveryId>,
    /// To this URL when it was parked, normalised.
    #[serde(deserialize_with = "normalised")]
    pub url: Option<String>,
    /// With this HTTP status at its last attempt, or one of this class.
    #[serde(deserialize_with = "parsed")]
    pub status: Option<StatusRange>,
    /// Parked for this error of an attempt.
    #[serde(deserialize_with = "parsed")]
    pub error: Option<ErrorId>,
    /// With an event id that begins so, with this `webhook-id` or subscription, or with this in its
    /// URL, topic, last outcome or the description of its subscription, in whatever case.
    #[serde(deserialize_with = "parsed")]
    pub text: Option<SearchText>,
    /// Parked at or after this instant.
    #[serde(rename = "parked_after", alias = "parked_after_ms", deserialize_with = "parsed")]
    pub parked_after_ms: Option<UnixMillis>,
    /// Parked before this instant.
    #[serde(rename = "parked_before", alias = "parked_before_ms", deserialize_with = "parsed")]
    pub parked_before_ms: Option<UnixMillis>,
    /// Parked because a URL was slow, or its circuit open or frozen.
    #[serde(skip)]
    pub held_for: Option<HeldFor>,
}

/// A URL that deliveries were held for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldFor {
    /// The URL.
    pub url: EndpointUrl,
    /// The subscriptions that have it.
    pub subscriptions: BTreeSet<SubscriptionId>,
}

fn normalised<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let url: Option<EndpointUrl> = parsed(deserializer)?;
    Ok(url.map(|url| url.as_str().to_owned()))
}

/// A text to search for, of three letters at least: fewer would match nearly everything.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct SearchText(String);

/// The text is too short to be searched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("three letters and more")]
pub struct SearchTextError;

impl SearchText {
    const MIN_LETTERS: usize = 3;

    /// The text itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for SearchText {
    type Error = SearchTextError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let letters = text.trim().chars().count();
        if letters < Self::MIN_LETTERS { Err(SearchTextError) } else { Ok(Self(text)) }
    }
}

impl FromStr for SearchText {
    type Err = SearchTextError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.to_owned().try_into()
    }
}

impl Selection {
    /// True if no condition is set.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_would_match_nearly_everything_is_refused() {
        for text in ["", "ab", "   ", " ab "] {
            assert_eq!(text.parse::<SearchText>(), Err(SearchTextError), "{text:?}");
        }
        assert_eq!("äöü".parse::<SearchText>().map(|text| text.0), Ok("äöü".to_owned()));
    }
}
