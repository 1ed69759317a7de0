//! The reason for a change of state, as text for operators.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{state::StateName, window::Window};

/// The reason for a change of state. Stores keep its JSON form; operators read its
/// [`Display`](fmt::Display) form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case", deny_unknown_fields)]
pub enum Reason {
    /// Opened: too great a share of the attempts failed.
    FailureRate {
        /// The counts.
        window: Window,
    },
    /// Opened or frozen: too many consecutive failures.
    #[serde(rename = "failures_in_a_row")]
    ConsecutiveFailures {
        /// Their number.
        failures: u64,
    },
    /// Frozen: many consecutive failures, and no success for too long.
    LastSuccessLongAgo {
        /// The number of consecutive failures.
        failures: u64,
        /// The time since the last success.
        #[serde(with = "millis")]
        ago: Duration,
    },
    /// Frozen: many consecutive failures, and no success since the first attempt, too long ago.
    NeverSucceeded {
        /// The number of consecutive failures.
        failures: u64,
        /// The time since the first attempt.
        #[serde(with = "millis")]
        ago: Duration,
    },
    /// Frozen: the endpoint answered that it no longer exists.
    Gone,
    /// Frozen: the endpoint answered with `webhook-delivery: disable`.
    DisabledByEndpoint,
    /// Frozen by an operator, or opened: then it is a pause.
    Disabled,
    /// Closed by an operator.
    Enabled,
    /// Closed: the endpoint accepted a probe.
    ProbeAccepted,
}

impl Reason {
    /// The reason for being in `state`, as text. Its form for a pause is that of
    /// [`Disabled`](Self::Disabled), which processes of earlier versions read.
    #[must_use]
    pub fn of(self, state: StateName) -> String {
        match (self, state) {
            (Self::Disabled, StateName::Open) => "an operator paused it".to_owned(),
            (reason, _) => reason.to_string(),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FailureRate { window } => window.fmt(f),
            Self::ConsecutiveFailures { failures } => write!(f, "{failures} consecutive failures"),
            Self::LastSuccessLongAgo { failures, ago } => {
                write!(f, "{failures} consecutive failures, last success {} ago", Coarse(*ago))
            }
            Self::NeverSucceeded { failures, ago } => {
                let ago = Coarse(*ago);
                write!(
                    f,
                    "{failures} consecutive failures, no success since the first attempt {ago} ago"
                )
            }
            Self::Gone => f.write_str("the endpoint answered 410 Gone"),
            Self::DisabledByEndpoint => {
                f.write_str("the endpoint answered `webhook-delivery: disable`")
            }
            Self::Disabled => f.write_str("an operator disabled it"),
            Self::Enabled => f.write_str("an operator enabled it"),
            Self::ProbeAccepted => f.write_str("a probe was accepted"),
        }
    }
}

/// A duration in its largest unit, truncated.
struct Coarse(Duration);

impl fmt::Display for Coarse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            seconds @ 0..60 => write!(f, "{seconds} s"),
            seconds @ 60..3_600 => write!(f, "{} min", seconds / 60),
            seconds => write!(f, "{} h", seconds / 3_600),
        }
    }
}

/// A duration as a whole number of milliseconds, the store's form.
mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        duration: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_readable_text() {
        const HOUR: Duration = Duration::from_hours(1);
        let all = [
            Reason::FailureRate { window: Window { attempts: 143, failures: 103 } },
            Reason::FailureRate { window: Window { attempts: 143, failures: 101 } },
            Reason::FailureRate { window: Window { attempts: 101, failures: 101 } },
            Reason::ConsecutiveFailures { failures: 2_000 },
            Reason::LastSuccessLongAgo { failures: 2_001, ago: 73 * HOUR },
            Reason::LastSuccessLongAgo { failures: 12, ago: Duration::from_millis(9_999) },
            Reason::NeverSucceeded { failures: 12, ago: HOUR / 2 },
            Reason::Gone,
            Reason::DisabledByEndpoint,
            Reason::Disabled,
            Reason::Enabled,
            Reason::ProbeAccepted,
        ];
        let texts = all.map(|reason| reason.to_string()).join("\n");
        insta::assert_snapshot!(texts, @r"
        103 of 143 attempts failed (72.02 %)
        101 of 143 attempts failed (70.62 %)
        101 of 101 attempts failed (100 %)
        2000 consecutive failures
        2001 consecutive failures, last success 73 h ago
        12 consecutive failures, last success 9 s ago
        12 consecutive failures, no success since the first attempt 30 min ago
        the endpoint answered 410 Gone
        the endpoint answered `webhook-delivery: disable`
        an operator disabled it
        an operator enabled it
        a probe was accepted
        ");
        for reason in all {
            let json = serde_json::to_string(&reason).unwrap();
            assert_eq!(serde_json::from_str::<Reason>(&json).unwrap(), reason, "{json}");
        }
    }

    /// Goal: a store written by this version is read by the next. Method: its bytes.
    #[test]
    fn the_stored_form_does_not_change() {
        let json = |reason: Reason| serde_json::to_string(&reason).unwrap();
        let rate = Reason::FailureRate { window: Window { attempts: 143, failures: 103 } };
        let silent = Reason::LastSuccessLongAgo { failures: 7, ago: Duration::from_secs(5) };
        insta::assert_snapshot!(json(rate), @r#"{"reason":"failure_rate","window":{"attempts":143,"failures":103}}"#);
        insta::assert_snapshot!(json(silent), @r#"{"reason":"last_success_long_ago","failures":7,"ago":5000}"#);
        insta::assert_snapshot!(json(Reason::Gone), @r#"{"reason":"gone"}"#);
    }
}
