//! Instants as arguments: the rules never read a clock.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z, as headers and the store hold them.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(transparent)]
pub struct UnixMillis(i64);

impl UnixMillis {
    /// An instant from its number of milliseconds.
    #[must_use]
    pub const fn new(milliseconds: i64) -> Self {
        Self(milliseconds)
    }

    /// The number of milliseconds.
    #[must_use]
    pub fn get(self) -> i64 {
        self.0
    }

    /// Whole seconds, as `webhook-timestamp` has them.
    #[must_use]
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// The instant `duration` later; saturates.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// The instant `duration` earlier; saturates.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// The duration since `earlier`; zero if this is not after it.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// An hour in milliseconds.
pub const HOUR_MS: i64 = 3_600_000;

/// The start of the hour of `instant`, UTC.
#[must_use]
pub fn hour_of(instant: UnixMillis) -> UnixMillis {
    UnixMillis::new(instant.get().saturating_sub(instant.get().rem_euclid(HOUR_MS)))
}

/// The start of the following hour.
#[must_use]
pub fn next_hour(hour: UnixMillis) -> UnixMillis {
    UnixMillis::new(hour.get().saturating_add(HOUR_MS))
}

/// The text is not an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an instant in ISO 8601 with its zone, such as 2026-01-31T12:00:00Z (a `+` is `%2B` in a query), \
     or milliseconds since 1970"
)]
pub struct UnixMillisError;

/// ISO 8601 in the form of RFC 3339, or milliseconds since 1970.
impl FromStr for UnixMillis {
    type Err = UnixMillisError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(milliseconds) = text.parse() {
            return Ok(Self(milliseconds));
        }
        let instant: jiff::Timestamp = text.parse().map_err(|_| UnixMillisError)?;
        Ok(Self(instant.as_millisecond()))
    }
}

/// An instant in a document of the API, for `serde(with)`: written in ISO 8601 (RFC 3339, UTC), read
/// so or in milliseconds since 1970, as earlier versions write it.
pub mod iso8601 {
    use std::fmt;

    use serde::{Deserialize, Deserializer, Serializer, de};

    use super::UnixMillis;

    /// Writes the instant.
    ///
    /// # Errors
    ///
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(instant: &UnixMillis, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(instant)
    }

    /// Reads an instant.
    ///
    /// # Errors
    ///
    /// It is no instant.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<UnixMillis, D::Error> {
        Written::deserialize(from).map(|Written(instant)| instant)
    }

    /// The same for one that may be absent.
    pub mod option {
        use serde::{Deserialize, Deserializer, Serializer};

        use super::{UnixMillis, Written};

        /// Writes the instant, or null.
        ///
        /// # Errors
        ///
        /// Those of the serializer.
        pub fn serialize<S: Serializer>(
            instant: &Option<UnixMillis>,
            to: S,
        ) -> Result<S::Ok, S::Error> {
            match instant {
                Some(instant) => to.collect_str(instant),
                None => to.serialize_none(),
            }
        }

        /// Reads an instant, or null.
        ///
        /// # Errors
        ///
        /// It is neither.
        pub fn deserialize<'de, D: Deserializer<'de>>(
            from: D,
        ) -> Result<Option<UnixMillis>, D::Error> {
            let written = Option::<Written>::deserialize(from)?;
            Ok(written.map(|Written(instant)| instant))
        }
    }

    struct Written(UnixMillis);

    impl<'de> Deserialize<'de> for Written {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            from.deserialize_any(Visitor).map(Self)
        }
    }

    struct Visitor;

    impl de::Visitor<'_> for Visitor {
        type Value = UnixMillis;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{}", super::UnixMillisError)
        }

        fn visit_i64<E: de::Error>(self, milliseconds: i64) -> Result<UnixMillis, E> {
            Ok(UnixMillis::new(milliseconds))
        }

        fn visit_u64<E: de::Error>(self, milliseconds: u64) -> Result<UnixMillis, E> {
            i64::try_from(milliseconds).map(UnixMillis::new).map_err(E::custom)
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<UnixMillis, E> {
            text.parse().map_err(E::custom)
        }
    }
}

/// RFC 3339 in UTC, for operators.
impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(timestamp) => write!(f, "{timestamp:.3}"),
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_shown_in_utc() {
        assert_eq!(UnixMillis::new(1_506_453_831_232).to_string(), "2017-09-26T19:23:51.232Z");
    }

    #[test]
    fn an_instant_is_read_in_iso_8601_and_in_milliseconds() {
        let instant = UnixMillis::new(1_506_453_831_232);
        for text in ["2017-09-26T19:23:51.232Z", "2017-09-26T21:23:51.232+02:00", "1506453831232"] {
            assert_eq!(text.parse(), Ok(instant), "{text}");
        }
        for text in ["", "soon", "2017-09-26", "2017-09-26T19:23:51", "1.5"] {
            assert_eq!(text.parse::<UnixMillis>(), Err(UnixMillisError), "{text}");
        }
    }

    #[test]
    fn a_document_has_iso_8601_and_former_ones_milliseconds() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Document {
            #[serde(with = "iso8601")]
            at: UnixMillis,
            #[serde(default, with = "iso8601::option")]
            until: Option<UnixMillis>,
        }
        let document = Document { at: UnixMillis::new(0), until: Some(UnixMillis::new(1_500)) };
        let text = serde_json::to_string(&document).unwrap();
        insta::assert_snapshot!(text, @r#"{"at":"1970-01-01T00:00:00.000Z","until":"1970-01-01T00:00:01.500Z"}"#);
        assert_eq!(serde_json::from_str::<Document>(&text).unwrap(), document);
        let former: Document = serde_json::from_str(r#"{"at":0,"until":1500}"#).unwrap();
        assert_eq!(former, document);
        let without: Document = serde_json::from_str(r#"{"at":-1,"until":null}"#).unwrap();
        assert_eq!((without.at.get(), without.until), (-1, None));
        let wrong = serde_json::from_str::<Document>(r#"{"at":"soon"}"#).unwrap_err();
        assert!(wrong.to_string().contains("ISO 8601"), "{wrong}");
    }

    #[test]
    fn a_clock_that_steps_back_gives_no_negative_duration() {
        assert_eq!(UnixMillis::new(5).since(UnixMillis::new(9)), Duration::ZERO);
    }

    #[test]
    fn an_hour_begins_at_the_whole_hour() {
        assert_eq!(hour_of(UnixMillis::new(7_199_999)), UnixMillis::new(3_600_000));
        assert_eq!(hour_of(UnixMillis::new(7_200_000)), UnixMillis::new(7_200_000));
        assert_eq!(hour_of(UnixMillis::new(-1)), UnixMillis::new(-3_600_000));
    }

    #[test]
    fn hours_begin_where_clocks_say() {
        let hour = hour_of(UnixMillis::new(1_700_000_000_000));
        assert_eq!(hour.to_string(), "2023-11-14T22:00:00.000Z");
        assert_eq!(hour_of(hour), hour);
        assert_eq!(hour_of(UnixMillis::new(next_hour(hour).get() - 1)), hour);
    }
}
