//! Announces changes to all processes of an installation.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use lapin::{
    options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};
use tracing::warn;

use super::{
    Broker,
    backoff::Backoff,
    channels,
    error::{BrokerError, ROUND_TRIP_DEADLINE, within},
    group::Publish,
    publish::Address,
};
use homing_domain::url::EndpointUrl;

/// An announced change. Losing one is harmless: every process also polls, less often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Announcement {
    /// A subscription was created, updated or deleted.
    Subscriptions,
    /// The circuit of this URL changed its state.
    Circuit(EndpointUrl),
    /// A held queue was taken or given back.
    Slots,
    /// The source of this name was paused, resumed or stopped.
    Source(String),
}

impl Announcement {
    fn text(&self) -> String {
        match self {
            Self::Subscriptions => "subscriptions".to_owned(),
            Self::Circuit(url) => format!("circuit {}", url.as_str()),
            Self::Slots => "slots".to_owned(),
            Self::Source(name) => format!("source {name}"),
        }
    }

    /// Reads an announcement; `None` if only another version of homing knows it.
    fn read(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        match text.split_once(' ') {
            Some(("circuit", url)) => url.parse().ok().map(Self::Circuit),
            Some(("source", name)) => Some(Self::Source(name.to_owned())),
            None if text == "subscriptions" => Some(Self::Subscriptions),
            None if text == "slots" => Some(Self::Slots),
            Some(_) | None => None,
        }
    }
}

/// Back-off of the listener for changes: warns once for each cause, and retries less and less
/// often.
#[derive(Debug)]
pub struct ListenBackoff {
    /// The cause that was logged last.
    cause: Option<&'static str>,
    backoff: Backoff,
}

impl Default for ListenBackoff {
    fn default() -> Self {
        Self { cause: None, backoff: Backoff::new(Duration::from_secs(1), Self::MAX_PAUSE) }
    }
}

impl ListenBackoff {
    const MAX_PAUSE: Duration = Duration::from_secs(60);

    /// Records a failure; returns how long to rely on polling before the next try.
    pub fn failed(&mut self, broker: &Broker, error: &BrokerError) -> Duration {
        let cause = error.summary();
        if self.cause.replace(cause) != Some(cause) {
            warn!(
                error = error.report(),
                "control.unavailable: changes are found by polling, every few seconds"
            );
        }
        if error.is_denied() {
            // Running with an account without that permission is supported: no failure.
            broker.conditions().control.recovered();
            return Self::MAX_PAUSE;
        }
        broker.conditions().control.failed(cause);
        self.backoff.pause()
    }

    /// Records that listening works.
    pub fn works(&mut self, broker: &Broker) {
        broker.conditions().control.recovered();
        *self = Self::default();
    }
}

impl Broker {
    /// Announces a change to every process of the installation, this one included.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]: the processes find the change later, by polling.
    pub async fn announce(&self, change: &Announcement) -> Result<(), BrokerError> {
        let exchange = self.topology().names().control();
        let publish = Publish {
            queue: exchange.clone(),
            address: Address { exchange, routing_key: String::new() },
            properties: Arc::default(),
            body: change.text().into(),
            // Perhaps no process listens.
            mandatory: false,
        };
        self.publishers.publish(publish, false).await
    }

    /// Streams the changes that are announced from now on. Ends with the connection.
    ///
    /// # Errors
    ///
    /// [`BrokerError`].
    pub async fn changes(
        &self,
    ) -> Result<impl stream::Stream<Item = Announcement> + Unpin, BrokerError> {
        /// Beyond this many, unseen changes mean no more than one does.
        const MAX_UNSEEN: i32 = 100;
        let connection = self.control.open().await?;
        let channel = channels::open(&connection).await?;
        let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        let mut arguments = FieldTable::default();
        arguments.insert("x-max-length".into(), AMQPValue::LongInt(MAX_UNSEEN));
        let declared = channel.queue_declare("".into(), options, arguments);
        let queue =
            within(&channel, ROUND_TRIP_DEADLINE, "declaring a control queue", declared).await?;
        let bound = channel.queue_bind(
            queue.name().clone(),
            self.topology().names().control().into(),
            "".into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        );
        within(&channel, ROUND_TRIP_DEADLINE, "binding a control queue", bound).await?;
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let consumed =
            channel.basic_consume(queue.name().clone(), "".into(), options, FieldTable::default());
        let messages = within(&channel, ROUND_TRIP_DEADLINE, "consuming control", consumed).await?;
        let changes = messages.filter_map(move |message| {
            // The channel lives as long as the stream.
            let _open = &channel;
            let change = message.ok().and_then(|message| Announcement::read(&message.data));
            std::future::ready(change)
        });
        Ok(changes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_announced_is_read_as_it_was_written() {
        let url = "https://example.com/a b?c".parse().unwrap();
        let source = Announcement::Source("main".to_owned());
        for change in
            [Announcement::Subscriptions, Announcement::Circuit(url), Announcement::Slots, source]
        {
            assert_eq!(Announcement::read(change.text().as_bytes()), Some(change));
        }
        assert_eq!(Announcement::read(b"something new"), None);
    }
}
