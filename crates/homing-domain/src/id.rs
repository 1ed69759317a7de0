//! The ids of events, subscriptions and deliveries.

use std::{fmt, sync::Arc};

use serde::Serialize;
use uuid::{Uuid, fmt::Hyphenated};

use super::subscription::Version;

/// An event's id: the publisher's `message_id`, or one that homing generated.
///
/// 1 to 255 bytes without control characters: it travels in an AMQP short string.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, utoipa::ToSchema)]
#[serde(transparent)]
#[schema(value_type = String)]
pub struct EventId(Arc<str>);

/// The text is not an event id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event id has 1 to {} bytes and no control characters", EventId::MAX_BYTES)]
pub struct EventIdError;

impl EventId {
    /// The longest AMQP short string. Source: AMQP 0-9-1, 4.2.5.3.
    pub const MAX_BYTES: usize = 255;

    /// Validates an id.
    ///
    /// # Errors
    ///
    /// [`EventIdError`].
    pub fn new(id: &str) -> Result<Self, EventIdError> {
        if id.is_empty() || id.len() > Self::MAX_BYTES || id.chars().any(char::is_control) {
            return Err(EventIdError);
        }
        Ok(Self(id.into()))
    }

    /// The id derived from `text`, always the same.
    #[must_use]
    pub fn derived(text: &str) -> Self {
        /// Chosen once for ever.
        const NAMESPACE: Uuid = Uuid::from_u128(0x6f1d_2c0e_5b7a_4f7e_9d55_1e0a_7c3b_42d8);
        Self::from(Uuid::new_v5(&NAMESPACE, text.as_bytes()))
    }

    /// The text itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Uuid> for EventId {
    fn from(id: Uuid) -> Self {
        Self(id.to_string().into())
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The id of something, which is a UUID, and the error of a text that is none.
macro_rules! uuid_id {
    ($(#[$about:meta])* $name:ident, $error:ident: $what:literal) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[derive(serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
        #[serde(transparent)]
        pub struct $name(uuid::Uuid);

        impl $name {
            /// The id with this UUID.
            #[must_use]
            pub fn new(id: uuid::Uuid) -> Self {
                Self(id)
            }

            /// The UUID itself.
            #[must_use]
            pub fn uuid(self) -> uuid::Uuid {
                self.0
            }
        }

        #[doc = concat!("The text is not a ", $what, ".")]
        #[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
        #[error("`{0}` is not a {what}", what = $what)]
        pub struct $error(String);

        impl std::str::FromStr for $name {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                uuid::Uuid::parse_str(text)
                    .map(Self)
                    .map_err(|_| $error(text.chars().take(64).collect()))
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(&self.0, f)
            }
        }
    };
}
pub(crate) use uuid_id;

uuid_id! {
    /// A subscription's id; `UUIDv7`, so that ids sort by creation.
    SubscriptionId, SubscriptionIdError:
    "subscription id (a UUID such as 01931f5a-9c4e-7000-8000-0123456789ab)"
}

uuid_id! {
    /// A delivery's id, sent as `webhook-id`: the same for all attempts and after a crash, different
    /// for every subscription.
    ///
    /// Derived from event and subscription (`UUIDv5`), so that no crash can change it.
    DeliveryId, DeliveryIdError: "delivery id (the UUID that is sent as `webhook-id`)"
}

impl DeliveryId {
    /// The id of `event`'s delivery to `subscription`.
    #[must_use]
    pub fn of(event: &EventId, subscription: SubscriptionId) -> Self {
        Self(Uuid::new_v5(&subscription.0, event.as_str().as_bytes()))
    }

    /// The id of `event`'s delivery to `subscription` in this version of Workfront's form, beside
    /// that in the version of the subscription.
    #[must_use]
    pub fn in_version(event: &EventId, subscription: SubscriptionId, version: Version) -> Self {
        // No event's id has control characters.
        let name = format!("{event}\0{}", version.as_str());
        Self(Uuid::new_v5(&subscription.0, name.as_bytes()))
    }

    /// The version of the delivery of `event` to `subscription` that has this id, if it is one
    /// [in a version](Self::in_version).
    #[must_use]
    pub fn former_version(self, event: &EventId, subscription: SubscriptionId) -> Option<Version> {
        let is_of = |version: &Version| Self::in_version(event, subscription, *version) == self;
        Version::ALL.into_iter().find(is_of)
    }

    /// Room for its text, for [`encode`](Self::encode).
    pub const BUFFER: [u8; Hyphenated::LENGTH] = [0; Hyphenated::LENGTH];

    /// Its text, in `buffer`.
    #[must_use]
    pub fn encode(self, buffer: &mut [u8; Hyphenated::LENGTH]) -> &str {
        self.0.hyphenated().encode_lower(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_id_depends_on_event_subscription_and_version_alone() {
        let event = EventId::new("e1").unwrap();
        let first: SubscriptionId = "01931f5a-9c4e-7000-8000-000000000001".parse().unwrap();
        let second: SubscriptionId = "01931f5a-9c4e-7000-8000-000000000002".parse().unwrap();

        assert_eq!(DeliveryId::of(&event, first), DeliveryId::of(&event, first));
        assert_ne!(DeliveryId::of(&event, first), DeliveryId::of(&event, second));
        let ids = Version::ALL.map(|version| DeliveryId::in_version(&event, first, version));
        assert_ne!(ids[0], ids[1]);
        assert!(!ids.contains(&DeliveryId::of(&event, first)));
        assert_eq!(ids.map(|id| id.former_version(&event, first)), Version::ALL.map(Some));
        assert_eq!(DeliveryId::of(&event, first).former_version(&event, first), None);
    }

    #[test]
    fn ids_that_no_header_can_carry_are_refused() {
        assert!(EventId::new("").is_err());
        assert!(EventId::new("a\r\nb").is_err());
        assert!(EventId::new(&"x".repeat(256)).is_err());
        assert!(EventId::new(&"x".repeat(255)).is_ok());
    }
}
