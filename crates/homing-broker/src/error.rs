//! Errors of the broker.

use std::{sync::Arc, time::Duration};

use lapin::{Channel, Connection, protocol::AMQPSoftError};

use super::denial::{Denial, Reply};
use homing_domain::{report::Chain, settings::SettingsError};

/// Variants name the step that failed, so that the reader of a log knows how far it got.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BrokerError {
    /// No connection. The address is shown without user and password.
    #[error("cannot connect to the broker at {address}; check `broker.url` and that it runs")]
    Connect {
        /// `host:port/vhost`
        address: String,
        /// The cause.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The TLS handshake at the address failed.
    #[error("no TLS with the broker at {address}: {advice}")]
    Tls {
        /// `host:port/vhost`
        address: String,
        /// Advice for the operator.
        advice: &'static str,
        /// The error of the library or of the peer.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// The peer closed the connection during the handshake.
    #[error(
        "what answers at {address} does not speak AMQP, or closed the connection at once; {advice}"
    )]
    HungUp {
        /// `host:port/vhost`
        address: String,
        /// Advice for the operator.
        advice: &'static str,
        /// The client's error.
        #[source]
        source: Box<lapin::Error>,
    },
    /// A file with certificates or a key cannot be used.
    #[error(transparent)]
    Files(Arc<SettingsError>),
    /// The broker refuses the connection.
    #[error("the broker at {address} {reason}: {reply}")]
    Denied {
        /// `host:port/vhost`
        address: String,
        /// The reason.
        reason: Denial,
        /// The broker's reply.
        reply: Reply,
    },
    /// The broker refused one step on an open connection.
    #[error("{step}: the broker says {reply}{}", reply.advice())]
    Answered {
        /// The step.
        step: String,
        /// The broker's reply.
        reply: Reply,
    },
    /// Something took too long; whether it happened is unknown.
    #[error("the broker did not answer within {deadline:?}: {step}")]
    TimedOut {
        /// The step.
        step: String,
        /// The deadline.
        deadline: Duration,
    },
    /// The connection ended meanwhile; whether it happened is unknown.
    #[error("the broker connection was lost: {step}")]
    Lost {
        /// The step.
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
    /// The account may not declare, and something is missing.
    #[error(
        "queues or exchanges are missing, and the account may not declare them; let an administrator \
         run `homing topology apply`, or see rabbitmq/README.md for the permissions: {reply}"
    )]
    NotDeclared {
        /// The broker's reply.
        reply: Reply,
    },
    /// Dead-lettering is not safe on this broker.
    #[error(
        "the broker's feature flag `stream_queue` is disabled, and without it retries can be lost \
         when they come due; enable it with `rabbitmqctl enable_feature_flag stream_queue`: {reply}"
    )]
    FeatureDisabled {
        /// The broker's reply.
        reply: Reply,
    },
    /// The broker cannot spread messages over shards.
    #[error(
        "`broker.shards` is more than 1 or `archive.enabled` is true, and the broker's plugin for \
         that is disabled; on every node, run `rabbitmq-plugins enable rabbitmq_random_exchange`: {reply}"
    )]
    PluginDisabled {
        /// The broker's reply.
        reply: Reply,
    },
    /// A step on an open connection failed.
    #[error("the broker connection failed: {step}")]
    Step {
        /// The step.
        step: String,
        /// The client's error.
        #[source]
        source: Box<lapin::Error>,
    },
    /// The broker nacked a message.
    #[error("the broker refused a message for `{routing_key}` of `{exchange}` (nack)")]
    Nacked {
        /// The exchange addressed.
        exchange: String,
        /// The routing key.
        routing_key: String,
    },
    /// The broker never takes a message of this size.
    #[error("the broker will never take this message: {reply}")]
    TooLarge {
        /// The broker's reply.
        reply: String,
    },
    /// No queue took a message, and there is no alternate exchange.
    #[error(
        "`{exchange}` has no route for `{routing_key}` and no alternate exchange; \
         run `homing topology check`"
    )]
    Unroutable {
        /// The exchange addressed.
        exchange: String,
        /// The routing key without a queue.
        routing_key: String,
    },
    /// Homing is stopping.
    #[error("the broker connection is closed")]
    Closed,
}

impl BrokerError {
    /// True if the broker is not there, and perhaps is later: nothing has to be corrected.
    #[must_use]
    pub fn is_away(&self) -> bool {
        use BrokerError::{Connect, HungUp, Lost, Step, TimedOut};
        matches!(self, Connect { .. } | HungUp { .. } | Lost { .. } | Step { .. } | TimedOut { .. })
    }

    pub(super) fn step(step: impl Into<String>, source: lapin::Error) -> Self {
        let step = step.into();
        match Reply::of(&source) {
            Some(reply) => Self::Answered { step, reply },
            None => Self::Step { step, source: Box::new(source) },
        }
    }

    /// Converts the error of a publish: some replies are about the message itself, and final.
    ///
    /// Source: RabbitMQ's `rabbit_channel`, `check_msg_size`, which answers 406 with this text;
    /// AMQP 0-9-1, *content-too-large* (311).
    pub(super) fn of_publish(step: impl Into<String>, source: lapin::Error) -> Self {
        const CONTENT_TOO_LARGE: u16 = 311;
        const PRECONDITION_FAILED: u16 = 406;
        if let Some(Reply { code, text }) = Reply::of(&source) {
            let is_size = code == CONTENT_TOO_LARGE
                || code == PRECONDITION_FAILED && text.contains("message size");
            if is_size {
                return Self::TooLarge { reply: format!("{text} (its `max_message_size`)") };
            }
        }
        Self::step(step, source)
    }

    /// Returns true if the same message will be refused again, whenever it is published.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Self::TooLarge { .. })
    }

    /// Converts the error that ended a consumer.
    pub(super) fn lost(error: lapin::Error) -> Self {
        Self::step("consuming", error)
    }

    /// The broker's reply, if it answered.
    #[must_use]
    pub fn reply(&self) -> Option<&Reply> {
        match self {
            Self::Answered { reply, .. }
            | Self::Denied { reply, .. }
            | Self::NotDeclared { reply }
            | Self::FeatureDisabled { reply }
            | Self::PluginDisabled { reply } => Some(reply),
            Self::Connect { .. }
            | Self::Tls { .. }
            | Self::HungUp { .. }
            | Self::Files(_)
            | Self::TimedOut { .. }
            | Self::Lost { .. }
            | Self::Different { .. }
            | Self::Step { .. }
            | Self::Nacked { .. }
            | Self::TooLarge { .. }
            | Self::Unroutable { .. }
            | Self::Closed => None,
        }
    }

    /// Returns true if the connection ended during the step, and not because the broker refuses it.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        const INTERNAL_ERROR: u16 = 541;
        matches!(self, Self::Lost { .. } | Self::Step { .. })
            || self.reply().is_some_and(|reply| reply.code == INTERNAL_ERROR)
    }

    /// Returns true if the broker closed one channel, not the connection.
    pub(super) fn is_of_a_channel(&self) -> bool {
        matches!(self, Self::Answered { reply, .. } if (400..500).contains(&reply.code))
    }

    /// Returns true if the broker answered a step with this code.
    pub(super) fn has_code(&self, soft: &AMQPSoftError) -> bool {
        matches!(self, Self::Answered { reply, .. } if reply.has_code(soft))
    }

    /// Returns true if the account lacks the permission.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        self.has_code(&AMQPSoftError::ACCESSREFUSED) || matches!(self, Self::NotDeclared { .. })
    }

    /// The reason without addresses and users, fit for anyone to see.
    #[must_use]
    pub fn summary(&self) -> &'static str {
        match self {
            Self::Connect { .. } | Self::Step { .. } | Self::Lost { .. } | Self::Closed => {
                "the broker cannot be reached"
            }
            Self::Tls { .. } => "no TLS with the broker",
            Self::HungUp { .. } => "the broker closed the connection at once",
            Self::Files(_) => "certificates for the broker cannot be used",
            Self::Denied { reason, .. } => reason.summary(),
            Self::NotDeclared { .. } => {
                "queues or exchanges are missing, and the broker account may not declare them"
            }
            Self::FeatureDisabled { .. } => {
                "the broker's feature flag `stream_queue` is disabled (`rabbitmqctl \
                 enable_feature_flag stream_queue`)"
            }
            Self::PluginDisabled { .. } => "the plugin `rabbitmq_random_exchange` is disabled",
            Self::Answered { reply, .. } => reply.summary(),
            Self::TimedOut { .. } => "the broker did not answer in time",
            Self::Different { .. } => {
                "something at the broker has other arguments than homing needs \
                 (see `homing topology check`)"
            }
            Self::Nacked { .. } => "the broker refused the message",
            Self::TooLarge { .. } => {
                "the message is larger than the broker takes (its `max_message_size`)"
            }
            Self::Unroutable { .. } => "no queue takes the message (see `homing topology check`)",
        }
    }

    /// The error with all its causes, on one line.
    #[must_use]
    pub fn report(&self) -> String {
        Chain(self).to_string()
    }
}

/// A connection or channel on which calls to the broker depend.
pub(super) trait Wire {
    /// Returns true if an answer can still come.
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

/// Returns when no answer can come any more. The client never answers a call that it takes just as
/// its connection ends.
///
/// Returns a moment late, so that a more specific error is seen first.
///
/// # Cancel safety
///
/// Cancel safe.
pub(super) async fn lost(wire: &impl Wire) {
    const POLL_INTERVAL: Duration = Duration::from_millis(50);
    tokio::time::sleep(POLL_INTERVAL).await;
    while wire.is_up() {
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    tokio::time::sleep(POLL_INTERVAL).await;
}

/// Runs one step against the broker under a deadline, or until `wire` is lost; every await on the
/// client goes through here, but for those of a group, which has its own.
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

/// Deadline of a round trip that the broker answers at once.
pub(super) const ROUND_TRIP_DEADLINE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use lapin::{ErrorKind, protocol::AMQPError};

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
        let called = within::<()>(&Ended, ROUND_TRIP_DEADLINE, "calling", std::future::pending());
        assert!(matches!(called.await, Err(BrokerError::Lost { .. })));
        assert!(started.elapsed() < Duration::from_millis(200));
    }
}
