//! `[events]`

use serde::{Deserialize, Serialize};

use homing_domain::settings::word::word;

/// The parts of a publisher's message that are trusted. The broker's permissions apply to the
/// exchange and to the routing key; properties and headers are whatever the publisher writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventsSettings {
    /// The source of an event's topic.
    #[serde(deserialize_with = "word")]
    pub topic_from: TopicFrom,
    /// The treatment of an event whose publisher names subscriptions.
    #[serde(deserialize_with = "word")]
    pub subscription_header: SubscriptionHeader,
}

/// The source of an event's topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TopicFrom {
    /// The routing key, to which the broker's topic permissions apply.
    #[default]
    RoutingKey,
    /// The property `type`, else the header `cloudEvents:type`, else the routing key.
    Type,
}

/// The treatment of an event whose publisher names subscriptions in `x-homing-subscription` or
/// `x-homing-subscriptions`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SubscriptionHeader {
    /// It is parked as unreadable.
    #[default]
    Refuse,
    /// Those subscriptions get it, whatever their topics and filters say.
    Accept,
}
