//! Why the broker could not do what we wanted.

use std::time::Duration;

use lapin::{
    Channel, Connection, ErrorKind,
    protocol::{AMQPErrorKind, AMQPSoftError},
};

use crate::report::Chain;

/// Variants name the step that failed, so that the reader of a log knows how far it got.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// No connection. The address is shown without user and password.
    #[error("cannot connect to the broker at {address}; check `broker.url` and that it runs")]
    Connect {
        /// `host:port/vhost`
        address: String,
        /// What the client says.
        #[source]
        source: Box<lapin::Error>,
    },
    /// The broker knows us not.
    #[error(
        "the broker at {address} refuses user `{user}`; check user, password and virtual host in \
         `broker.url`"
    )]
    Refused {
        /// `host:port/vhost`
        address: String,
        /// From the URL.
        user: String,
    },
    /// Something took too long; whether it happened is unknown.
    #[error("the broker did not answer within {deadline:?}: {step}")]
    TimedOut {
        /// What we were doing.
        step: String,
        /// How long we waited.
        deadline: Duration,
    },
    /// The connection ended meanwhile; whether it happened is unknown.
    #[error("the broker connection was lost: {step}")]
    Lost {
        /// What we were doing.
        step: String,
    },
    /// A queue or exchange exists with other arguments, which can never change.
    #[error(
        "`{name}` exists with other arguments than homing needs: {detail}; \
         drain and delete it, or use another `broker.prefix`"
    )]
    Different {
        /// The queue or exchange.
        name: String,
        /// The argument and both values, as the broker puts it.
        detail: String,
    },
    /// A step on an open connection failed.
    #[error("the broker connection failed: {step}")]
    Step {
        /// What we were doing.
        step: String,
        /// What the client says.
        #[source]
        source: Box<lapin::Error>,
    },
    /// The broker did not take a message.
    #[error("the broker refused a message for `{routing_key}` of `{exchange}` (nack)")]
    Nacked {
        /// The exchange addressed.
        exchange: String,
        /// With this key.
        routing_key: String,
    },
    /// The broker takes no message of this size, now and later.
    #[error("the broker will never take this message: {reply}")]
    TooLarge {
        /// What it says.
        reply: String,
    },
    /// No queue took a message, and the net under it has a hole.
    #[error(
        "`{exchange}` has no route for `{routing_key}` and no alternate exchange; \
         run `homing topology check`"
    )]
    Unroutable {
        /// The exchange addressed.
        exchange: String,
        /// The key that leads nowhere.
        routing_key: String,
    },
    /// Homing is stopping.
    #[error("the broker connection is closed")]
    Closed,
}

impl BrokerError {
    pub(super) fn step(step: impl Into<String>, source: lapin::Error) -> Self {
        Self::Step { step: step.into(), source: Box::new(source) }
    }

    /// Why a publish failed: some replies are about the message, and final.
    ///
    /// Source: RabbitMQ's `rabbit_channel`, `check_msg_size`, which answers 406 with this text; AMQP
    /// 0-9-1, *content-too-large* (311).
    pub(super) fn of_publish(step: impl Into<String>, source: lapin::Error) -> Self {
        const CONTENT_TOO_LARGE: u16 = 311;
        const PRECONDITION_FAILED: u16 = 406;
        if let ErrorKind::ProtocolError(error) = source.kind() {
            let (code, reply) = (error.get_id(), error.get_message().as_str());
            let is_size = code == CONTENT_TOO_LARGE
                || code == PRECONDITION_FAILED && reply.contains("message size");
            if is_size {
                return Self::TooLarge { reply: format!("{reply} (its `max_message_size`)") };
            }
        }
        Self::step(step, source)
    }

    /// Whether the same message will be refused again, whenever it is published.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Self::TooLarge { .. })
    }

    /// Why a consumer ended.
    pub(super) fn lost(error: lapin::Error) -> Self {
        Self::step("consuming", error)
    }

    /// Whether this is what the broker says.
    pub(super) fn says(&self, soft: AMQPSoftError) -> bool {
        let Self::Step { source, .. } = self else { return false };
        let soft = AMQPErrorKind::Soft(soft);
        matches!(source.kind(), ErrorKind::ProtocolError(error) if *error.kind() == soft)
    }

    /// Whether the account may not do that.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        self.says(AMQPSoftError::ACCESSREFUSED)
    }

    /// Why the broker failed, without addresses and users: for whoever asks.
    #[must_use]
    pub fn in_short(&self) -> &'static str {
        match self {
            Self::Connect { .. }
            | Self::Refused { .. }
            | Self::Step { .. }
            | Self::Lost { .. }
            | Self::Closed => "the broker cannot be reached",
            Self::TimedOut { .. } => "the broker did not answer in time",
            Self::Different { .. } => {
                "something at the broker has other arguments than homing needs \
                 (`homing topology check` tells what)"
            }
            Self::Nacked { .. } => "the broker refused the message",
            Self::TooLarge { .. } => {
                "the message is larger than the broker takes (its `max_message_size`)"
            }
            Self::Unroutable { .. } => {
                "no queue takes the message (`homing topology check` tells why)"
            }
        }
    }

    /// The error with all its causes, on one line.
    #[must_use]
    pub fn told(&self) -> String {
        Chain(self).to_string()
    }
}

/// What a call to the broker depends on.
pub(super) trait Wire {
    /// Whether an answer can still come.
    fn is_up(&self) -> bool;
}

impl Wire for Connection {
    fn is_up(&self) -> bool {
        self.status().connected() || self.status().closing()
    }
}

impl Wire for Channel {
    fn is_up(&self) -> bool {
        self.status().connected() || self.status().closing()
    }
}

/// Ends when no answer can come any more. A call that the client takes just when its connection ends
/// is answered never.
///
/// A moment late, so that an answer that says more is seen first.
///
/// # Cancel safety
///
/// Cancel safe.
pub(super) async fn lost(wire: &impl Wire) {
    const LOOK: Duration = Duration::from_millis(50);
    tokio::time::sleep(LOOK).await;
    while wire.is_up() {
        tokio::time::sleep(LOOK).await;
    }
    tokio::time::sleep(LOOK).await;
}

/// Runs one step against the broker under a deadline, or until `wire` is lost; every await on the
/// client goes through here.
///
/// # Errors
///
/// [`BrokerError::Step`], [`BrokerError::Lost`] and [`BrokerError::TimedOut`].
///
/// # Cancel safety
///
/// As cancel safe as `future`.
pub(super) async fn within<T>(
    wire: &impl Wire,
    deadline: Duration,
    step: impl Into<String>,
    future: impl Future<Output = lapin::Result<T>>,
) -> Result<T, BrokerError> {
    tokio::select! {
        biased;
        ended = future => ended.map_err(|source| BrokerError::step(step, source)),
        () = lost(wire) => Err(BrokerError::Lost { step: step.into() }),
        () = tokio::time::sleep(deadline) => {
            Err(BrokerError::TimedOut { step: step.into(), deadline })
        }
    }
}

/// For one round trip that the broker answers at once.
pub(super) const ROUND_TRIP_DEADLINE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use lapin::protocol::AMQPError;

    use super::*;

    /// Goal: only what is wrong with the message itself is final; all else may pass.
    #[test]
    fn a_publish_is_final_only_where_the_reply_is_about_the_message() {
        let size =
            "PRECONDITION_FAILED - message size 150000 is larger than configured max size 100000";
        let replies = [
            (AMQPSoftError::PRECONDITIONFAILED, size, true),
            (AMQPSoftError::CONTENTTOOLARGE, "CONTENT_TOO_LARGE", true),
            (AMQPSoftError::PRECONDITIONFAILED, "PRECONDITION_FAILED - invalid user_id", false),
            (AMQPSoftError::NOTFOUND, "NOT_FOUND - no exchange", false),
            (AMQPSoftError::ACCESSREFUSED, "ACCESS_REFUSED - write access", false),
            (AMQPSoftError::RESOURCELOCKED, "RESOURCE_LOCKED", false),
        ];
        for (kind, text, is_final) in replies {
            let error = AMQPError::new(kind.into(), text.into());
            let error =
                BrokerError::of_publish("publishing", ErrorKind::ProtocolError(error).into());
            assert_eq!(error.is_final(), is_final, "{text}");
        }
        let lost = BrokerError::Lost { step: "publishing".to_owned() };
        assert!(!lost.is_final());
    }

    struct Ended;

    impl Wire for Ended {
        fn is_up(&self) -> bool {
            false
        }
    }

    /// Goal: a call that is never answered, because its connection ended when it was made, does not
    /// take its whole deadline.
    #[tokio::test(start_paused = true)]
    async fn a_call_on_a_connection_that_has_ended_is_given_up_at_once() {
        let started = tokio::time::Instant::now();
        let called = within::<()>(&Ended, ROUND_TRIP_DEADLINE, "asking", std::future::pending());
        assert!(matches!(called.await, Err(BrokerError::Lost { .. })));
        assert!(started.elapsed() < Duration::from_millis(200));
    }
}
