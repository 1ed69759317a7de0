//! The kinds of what is counted.

use crate::outcome::{Obstacle, Outcome};

macro_rules! counts {
    ($($(#[$about:meta])* $name:ident = $number:literal, $word:literal;)+) => {
        /// An event, an attempt, or a step of a delivery, that is counted. The numbers are stored.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Count {
            $($(#[$about])* $name = $number,)+
        }

        impl Count {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The name in answers and lists.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)+
                }
            }
        }
    };
}

counts! {
    /// An event that was taken from the primary queue.
    Events = 0, "events";
    /// One that no subscription wanted.
    Unwanted = 1, "unwanted";
    /// An attempt that the endpoint accepted.
    Delivered = 2, "delivered";
    /// An attempt that was answered with a redirect.
    Status3xx = 3, "status_3xx";
    /// … with a status from 400 to 499.
    Status4xx = 4, "status_4xx";
    /// … with a status from 500 to 599.
    Status5xx = 5, "status_5xx";
    /// … with any other status.
    OtherStatus = 6, "status_other";
    /// An attempt without a complete answer within the deadline.
    TimedOut = 7, "timed_out";
    /// … for lack of an address.
    Dns = 8, "dns";
    /// … to an address that homing does not call.
    AddressNotAllowed = 9, "address_not_allowed";
    /// … whose connection was refused or lost, or had no route.
    Connection = 10, "connection";
    /// … whose TLS handshake failed.
    Tls = 11, "tls";
    /// … whose answer was not HTTP.
    NotHttp = 12, "not_http";
    /// An attempt of another job than a webhook that failed or was cancelled.
    Job = 13, "job";
    /// A delivery that was put into a throttle queue.
    Throttled = 14, "throttled";
    /// A delivery that was put into a held queue, or once more into the wait queue of its step.
    Held = 15, "held";
    /// An event or a delivery that was parked.
    Parked = 16, "parked";
}

impl Count {
    /// Attempts that failed, by their class.
    pub const FAILED: &[Self] = &[
        Self::Status3xx,
        Self::Status4xx,
        Self::Status5xx,
        Self::OtherStatus,
        Self::TimedOut,
        Self::Dns,
        Self::AddressNotAllowed,
        Self::Connection,
        Self::Tls,
        Self::NotHttp,
        Self::Job,
    ];
}

impl From<&Outcome> for Count {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Accepted { .. } | Outcome::Done => Self::Delivered,
            Outcome::Refused { status: 300..=399, .. } => Self::Status3xx,
            Outcome::Refused { status: 400..=499, .. } => Self::Status4xx,
            Outcome::Refused { status: 500..=599, .. } => Self::Status5xx,
            Outcome::Refused { .. } => Self::OtherStatus,
            Outcome::TimedOut { .. } => Self::TimedOut,
            Outcome::Unreachable { kind } => match kind {
                Obstacle::Dns => Self::Dns,
                Obstacle::AddressNotAllowed => Self::AddressNotAllowed,
                Obstacle::ConnectionRefused | Obstacle::ConnectionLost | Obstacle::NoRoute => {
                    Self::Connection
                }
                Obstacle::Tls => Self::Tls,
                Obstacle::NotHttp => Self::NotHttp,
            },
            Outcome::Failed { .. } | Outcome::Cancelled { .. } => Self::Job,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_counted_by_class() {
        let refused = |status| Count::from(&Outcome::Refused { status, retry_after: None });
        let classes = [302, 404, 503, 100].map(|status| refused(status).as_str());
        assert_eq!(classes, ["status_3xx", "status_4xx", "status_5xx", "status_other"]);
        let dns = Outcome::Unreachable { kind: Obstacle::Dns };
        assert_eq!(Count::from(&dns), Count::Dns);
        assert_eq!(Count::from(&Outcome::Done), Count::Delivered);
    }
}
