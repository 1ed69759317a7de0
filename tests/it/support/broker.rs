//! The real broker, and a corner of it for each test.

use std::{env, time::Duration};

use homing_broker::topology::Topology;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    message::Delivery,
    options::{
        BasicGetOptions, BasicNackOptions, BasicPublishOptions, ConfirmSelectOptions,
        ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions,
    },
    types::{AMQPValue, FieldTable},
};

use super::wait_for;

/// The broker that `make test` started.
#[expect(clippy::disallowed_methods, reason = "this is how `make test` names the broker")]
pub(crate) fn url() -> String {
    env::var("HOMING_TEST_AMQP_URL")
        .expect("HOMING_TEST_AMQP_URL is not set: run `make test`, which starts a broker")
}

/// Connects to one of `urls`, which are separated by blanks. A node that answers no more is left
/// after a few seconds, before and after the handshake.
pub(crate) async fn connect(urls: &str) -> lapin::Result<Connection> {
    const HANDSHAKE: Duration = Duration::from_secs(3);
    let mut urls: Vec<_> =
        urls.split_whitespace().map(|url| format!("{url}?heartbeat=5")).collect();
    fastrand::shuffle(&mut urls);
    let mut refused = Err(lapin::ErrorKind::MissingHeartbeatError.into());
    for url in urls {
        let connecting = Connection::connect(&url, ConnectionProperties::default());
        match tokio::time::timeout(HANDSHAKE, connecting).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(error) => refused = error,
            Err(_elapsed) => {}
        }
    }
    refused
}

/// Queues and exchanges with a prefix of their own; deleted when dropped.
pub(crate) struct Corner {
    pub url: String,
    pub prefix: String,
    pub topology: Topology,
}

impl Corner {
    pub(crate) fn new(waits: &[Duration]) -> Self {
        Self::at(url(), waits)
    }

    /// With so many held queues.
    pub(crate) fn with_held_queues(mut self, held_queues: u16) -> Self {
        self.topology = self.topology.clone().with_held_queues(held_queues);
        self
    }

    /// At a broker of the test's own.
    pub(crate) fn at(url: String, waits: &[Duration]) -> Self {
        let prefix = format!("t-{:x}", uuid::Uuid::now_v7().as_u128());
        let topology = Topology::new(&prefix, waits.iter().copied());
        Self { url, prefix, topology }
    }
}

impl Drop for Corner {
    fn drop(&mut self) {
        if self.url != url() {
            // A broker of the test's own ends with the test.
            return;
        }
        let topology = self.topology.clone();
        if wait_for(async move { delete(&topology).await }).is_none() {
            eprintln!("queues of {} were left behind", self.prefix);
        }
    }
}

async fn delete(topology: &Topology) {
    let Ok(connection) = Connection::connect(&url(), ConnectionProperties::default()).await else {
        return;
    };
    let Ok(channel) = connection.create_channel().await else { return };
    for queue in topology.queues() {
        let deleted = channel.queue_delete(queue.name.into(), QueueDeleteOptions::default()).await;
        deleted.expect("a queue of the test can be deleted");
    }
    let names = topology.names();
    for queue in [names.former_parked(), names.former_unrouted(), names.former_lock("main", 1)] {
        let deleted = channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await;
        deleted.expect("a queue of an earlier version can be deleted");
    }
    for exchange in topology.exchanges_by_name() {
        let deleted =
            channel.exchange_delete(exchange.into(), ExchangeDeleteOptions::default()).await;
        deleted.expect("an exchange of the test can be deleted");
    }
    let _closed = connection.close(200, "OK".into()).await;
}

/// A publisher that is not homing: what programs do with a plain AMQP client.
pub(crate) struct Publisher {
    _connection: Connection,
    channel: Channel,
    exchange: String,
}

/// A message to publish; nothing is set but what the test sets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Raw {
    pub topic: String,
    pub id: Option<String>,
    pub headers: Vec<(String, AMQPValue)>,
    pub content_type: Option<String>,
    pub kind: Option<String>,
    pub content_encoding: Option<String>,
    pub body: Vec<u8>,
}

impl Raw {
    pub(crate) fn new(topic: &str, id: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            topic: topic.to_owned(),
            id: Some(id.to_owned()),
            body: body.into(),
            ..Self::default()
        }
    }

    pub(crate) fn kind(self, kind: &str) -> Self {
        Self { kind: Some(kind.to_owned()), ..self }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), AMQPValue::LongString(value.into())));
        self
    }
}

impl Publisher {
    pub(crate) async fn new(corner: &Corner) -> Self {
        let connection = connect(&corner.url).await.expect("the test broker answers");
        let channel = connection.create_channel().await.expect("a channel opens");
        channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
        let exchange = corner.topology.names().events();
        Self { _connection: connection, channel, exchange }
    }

    /// Publishes to the events exchange and waits for the broker's confirm.
    pub(crate) async fn publish(&self, raw: Raw) {
        let exchange = self.exchange.clone();
        self.publish_to(&exchange, raw).await;
    }

    pub(crate) async fn publish_to(&self, exchange: &str, raw: Raw) {
        let mut properties = BasicProperties::default().with_delivery_mode(2);
        if let Some(id) = raw.id {
            properties = properties.with_message_id(id.into());
        }
        if let Some(kind) = raw.kind {
            properties = properties.with_type(kind.into());
        }
        if let Some(content_type) = raw.content_type {
            properties = properties.with_content_type(content_type.into());
        }
        if let Some(content_encoding) = raw.content_encoding {
            properties = properties.with_content_encoding(content_encoding.into());
        }
        if !raw.headers.is_empty() {
            let mut table = FieldTable::default();
            for (name, value) in raw.headers {
                table.insert(name.into(), value);
            }
            properties = properties.with_headers(table);
        }
        let confirm = self
            .channel
            .basic_publish(
                exchange.into(),
                raw.topic.into(),
                BasicPublishOptions::default(),
                &raw.body,
                properties,
            )
            .await
            .expect("a message can be published")
            .await
            .expect("a message is confirmed");
        assert!(confirm.is_ack(), "the broker refused a message: {confirm:?}");
    }

    /// Messages ready in `queue`; exact.
    pub(crate) async fn depth(&self, queue: &str) -> u32 {
        self.look(queue).await.message_count()
    }

    /// Consumers of `queue`.
    pub(crate) async fn consumers(&self, queue: &str) -> u32 {
        self.look(queue).await.consumer_count()
    }

    async fn look(&self, queue: &str) -> lapin::Queue {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::durable() };
        let queue = self.channel.queue_declare(queue.into(), options, FieldTable::default());
        queue.await.expect("the queue exists")
    }

    /// All messages of `queue`, which stay there.
    pub(crate) async fn look_at(&self, queue: &str) -> Vec<Delivery> {
        let mut messages = Vec::new();
        let get = || self.channel.basic_get(queue.into(), BasicGetOptions::default());
        while let Some(message) = get().await.expect("the queue is there") {
            messages.push(message.delivery);
        }
        let back = BasicNackOptions { multiple: true, requeue: true };
        self.channel.basic_nack(0, back).await.expect("they can be returned");
        messages
    }

    pub(crate) fn channel(&self) -> &Channel {
        &self.channel
    }
}
