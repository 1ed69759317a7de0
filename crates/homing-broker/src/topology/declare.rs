//! Declaring the topology: targets first, everything at once, never lazily.

use std::{sync::atomic::Ordering, time::Duration};

use lapin::{
    Channel, Connection, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueDeclareOptions},
    protocol::AMQPSoftError,
    types::{AMQPValue, FieldTable},
};
use tokio::time::Instant;

use super::{
    ArgumentValue, QueueKind, QueueSpec, Topology,
    bindings::{bind, unbind_former_unrouted},
    shards::SPREADING,
};
use crate::{
    channels::open,
    error::{BrokerError, ROUND_TRIP_DEADLINE, within},
};

/// A new quorum queue elects a leader first, which takes longer than other round trips.
const DECLARE_DEADLINE: Duration = Duration::from_secs(30);

/// The depth of a queue, as the broker reports it; zeros where it cannot know at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depth {
    /// Messages ready to be consumed; those in flight are not counted.
    pub messages: u32,
    /// Consumers at this moment.
    pub consumers: u32,
}

/// The version that declared a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// By this one.
    Current,
    /// By an earlier one, and good enough.
    Former,
}

/// The result of declaring the topology.
#[derive(Debug, Default)]
pub(crate) struct Declared {
    /// True if something was missing before, so that some queues are new.
    pub(crate) was_incomplete: bool,
    /// The broker's reply about the events exchange, if another client declared it without the
    /// alternate exchange.
    pub(crate) no_alternate: Option<String>,
    /// When the queues had been declared.
    pub(crate) queues_at: Option<Instant>,
}

/// An exchange as it should be.
pub(super) struct ExchangeSpec {
    pub(super) name: String,
    pub(super) kind: ExchangeKind,
    /// Takes what it cannot route.
    pub(super) alternate: Option<String>,
}

impl Topology {
    /// Declares what is missing and checks what exists. Reports in `declared` what it did, even if
    /// it fails.
    ///
    /// A new shard gets messages only after `new_queue_wait`.
    pub(crate) async fn declare(
        &self,
        connection: &Connection,
        declared: &mut Declared,
        new_queue_wait: Duration,
    ) -> Result<(), BrokerError> {
        let names = self.names();
        // Checks everything at once: a channel that the broker closes over something missing costs
        // its number for as long as the connection lives (lapin 4.12, `Frames::poison_channel`),
        // and a shared plan has few.
        declared.was_incomplete = !self.is_complete(connection).await?;
        let mut channel = open(connection).await?;
        for exchange in self.exchanges() {
            match declare_exchange(&channel, &exchange).await {
                // A publisher declared it first. Every event is still routed, by the binding.
                Err(BrokerError::Different { name, detail })
                    if name == names.events() && detail.contains("'alternate-exchange'") =>
                {
                    declared.no_alternate = Some(detail);
                    channel = open(connection).await?;
                }
                ended => ended?,
            }
        }
        for queue in self.queues() {
            if matches!(queue.kind, QueueKind::Archive(_)) {
                continue;
            }
            self.declare_either(connection, &queue).await?;
            if queue.kind.is_addressed() && !self.is_inlet(&queue.name) {
                bind(&channel, &queue.name, names.route(), &queue.name).await?;
            }
        }
        declared.queues_at = Some(Instant::now());
        bind(&channel, &names.unrouted(), names.alternate(), "").await?;
        if declared.was_incomplete && names.shards() > 1 {
            tokio::time::sleep(new_queue_wait).await;
        }
        self.bind_inlets(connection, &channel).await?;
        self.declare_archive(connection).await?;
        self.declare_after_first_version(connection, &channel).await
    }

    /// Declares `queue`, or accepts it as an earlier version declared it.
    ///
    /// The form that was found last is tried first: the broker logs one that does not match.
    pub(super) async fn declare_either(
        &self,
        connection: &Connection,
        queue: &QueueSpec,
    ) -> Result<Form, BrokerError> {
        let channel = open(connection).await?;
        let declared = async |form: Form, spec: &QueueSpec| {
            // The broker closes a channel that declares what differs.
            let channel = open(connection).await?;
            declare_queue(&channel, spec).await?;
            if form == Form::Former {
                self.has_former.store(true, Ordering::Relaxed);
            }
            close(&channel).await.map(|()| form)
        };
        let Some(former) = queue.former() else {
            declare_queue(&channel, queue).await?;
            return close(&channel).await.map(|()| Form::Current);
        };
        close(&channel).await?;
        let mut forms = [(Form::Current, queue), (Form::Former, &former)];
        if self.is_of_first_version() {
            forms.reverse();
        }
        let [(form, spec), (other_form, other)] = forms;
        match declared(form, spec).await {
            Err(different @ BrokerError::Different { .. }) => {
                match declared(other_form, other).await {
                    // Reports the difference from today's arguments.
                    Err(BrokerError::Different { .. }) if form == Form::Current => Err(different),
                    ended => ended,
                }
            }
            ended => ended,
        }
    }

    /// Declares what queues of the first version need, if that version declared them.
    async fn declare_after_first_version(
        &self,
        connection: &Connection,
        channel: &Channel,
    ) -> Result<(), BrokerError> {
        if !self.is_of_first_version() {
            return Ok(());
        }
        let names = self.names();
        let parked = self.former_parked();
        if depth(connection, &parked.name).await?.is_none() {
            declare_queue(channel, &parked).await?;
            bind(channel, &parked.name, names.route(), &parked.name).await?;
        }
        if depth(connection, &names.former_unrouted()).await?.is_some() {
            unbind_former_unrouted(channel, names).await?;
        }
        Ok(())
    }

    /// Checks that at-least-once dead-lettering is really that. It needs the feature flag
    /// `stream_queue`, which clusters that were upgraded to 3.10 may not have enabled; without it
    /// the broker silently loses retries that come due while their queue is unavailable.
    ///
    /// Leaves nothing behind: every version refuses a stream that is neither durable nor shared,
    /// only with different words.
    ///
    /// Source: RabbitMQ documentation, *Quorum Queues*, at-least-once dead lettering.
    pub(crate) async fn probe(&self, connection: &Connection) -> Result<(), BrokerError> {
        if self.names().shards() > 1 {
            self.probe_spreading(connection).await?;
        }
        let channel = open(connection).await?;
        let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("stream".into()));
        let name = self.names().probe();
        let declared = channel.queue_declare(name.into(), options, arguments);
        let step = "probing the feature flag `stream_queue`";
        match within(&channel, ROUND_TRIP_DEADLINE, step, declared).await {
            Ok(_queue) => Ok(()),
            Err(error) => match error.reply() {
                Some(reply) if reply.is_disabled_feature() => {
                    Err(BrokerError::FeatureDisabled { reply: reply.clone() })
                }
                // It knows streams; or the account may not declare, and relies on an
                // administrator's topology.
                Some(_) => Ok(()),
                None => Err(error),
            },
        }
    }

    /// The exchanges that deliveries need, targets before what leads to them.
    pub(super) fn exchanges(&self) -> Vec<ExchangeSpec> {
        let names = self.names();
        let spec = |name, kind, alternate| ExchangeSpec { name, kind, alternate };
        let mut exchanges = vec![
            spec(names.alternate(), ExchangeKind::Fanout, None),
            spec(names.control(), ExchangeKind::Fanout, None),
        ];
        let spread = [names.retry(), names.primary()].into_iter().filter(|_| names.shards() > 1);
        exchanges.extend(spread.map(|name| {
            spec(name, ExchangeKind::Custom(SPREADING.to_owned()), Some(names.alternate()))
        }));
        exchanges.push(spec(names.route(), ExchangeKind::Direct, Some(names.alternate())));
        exchanges.push(spec(names.events(), ExchangeKind::Topic, Some(names.alternate())));
        exchanges
    }

    /// The names of all exchanges, targets before what leads to them.
    #[must_use]
    pub fn exchanges_by_name(&self) -> Vec<String> {
        self.all_exchanges().into_iter().map(|exchange| exchange.name).collect()
    }

    pub(super) fn all_exchanges(&self) -> Vec<ExchangeSpec> {
        self.archive_exchange().into_iter().chain(self.exchanges()).collect()
    }

    /// Returns true if every queue and exchange that deliveries need exists. Asks only the node of
    /// the connection, in few round trips; bindings cannot be checked.
    pub(crate) async fn is_complete(&self, connection: &Connection) -> Result<bool, BrokerError> {
        let channel = open(connection).await?;
        match self.check_all_exist(&channel).await {
            Ok(()) => {
                let closed = channel.close(200, "OK".into());
                within(&channel, ROUND_TRIP_DEADLINE, "closing a channel", closed).await?;
                Ok(true)
            }
            // The broker closes a channel that checks for something missing.
            Err(_missing) if connection.status().connected() && !channel.status().connected() => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    async fn check_all_exist(&self, channel: &Channel) -> Result<(), BrokerError> {
        let nowait = true;
        let passive =
            QueueDeclareOptions { passive: true, nowait, ..QueueDeclareOptions::durable() };
        let is_needed = |queue: &QueueSpec| !matches!(queue.kind, QueueKind::Archive(_));
        for QueueSpec { name, .. } in self.queues().into_iter().filter(is_needed) {
            let declared =
                channel.queue_declare(name.as_str().into(), passive, FieldTable::default());
            within(channel, ROUND_TRIP_DEADLINE, format!("checking `{name}`"), declared).await?;
        }
        // Only the answers to these show that none of the queues was missing.
        for exchange in self.exchanges() {
            check_exchange_exists(channel, &exchange).await?;
        }
        Ok(())
    }
}

/// Fails if the exchange does not exist; its arguments do not matter.
pub(super) async fn check_exchange_exists(
    channel: &Channel,
    ExchangeSpec { name, kind, .. }: &ExchangeSpec,
) -> Result<(), BrokerError> {
    let passive = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
    let name = name.as_str();
    let declared =
        channel.exchange_declare(name.into(), kind.clone(), passive, FieldTable::default());
    within(channel, ROUND_TRIP_DEADLINE, format!("checking exchange `{name}`"), declared).await
}

/// Returns true if there is an exchange called `name`, whatever it is.
///
/// Uses a channel of its own: the broker closes one that checks for a missing exchange.
pub(super) async fn exchange_exists(
    connection: &Connection,
    name: &str,
) -> Result<bool, BrokerError> {
    let channel = open(connection).await?;
    let exchange =
        ExchangeSpec { name: name.to_owned(), kind: ExchangeKind::Direct, alternate: None };
    match check_exchange_exists(&channel, &exchange).await {
        Ok(()) => close(&channel).await.map(|()| true),
        Err(error) if error.has_code(&AMQPSoftError::NOTFOUND) => Ok(false),
        Err(error) => Err(error),
    }
}

pub(super) async fn close(channel: &Channel) -> Result<(), BrokerError> {
    let closed = channel.close(200, "OK".into());
    within(channel, ROUND_TRIP_DEADLINE, "closing a channel", closed).await
}

/// The depth of `queue`; `None` if it does not exist. Current, unlike management counts; but the
/// broker also reports zeros where the queue's leader does not answer it within 250 ms, and never
/// counts what was dead-lettered and not yet taken by its target.
///
/// Source: RabbitMQ 3.10 and 4.0, `rabbit_quorum_queue:stat`; `rabbit_fifo:messages_total`.
///
/// Uses a channel of its own: the broker closes one that checks for a missing queue.
pub(crate) async fn depth(
    connection: &Connection,
    queue: &str,
) -> Result<Option<Depth>, BrokerError> {
    let channel = open(connection).await?;
    match depth_on(&channel, queue).await {
        Ok(depth) => Ok(Some(depth)),
        Err(error) if error.has_code(&AMQPSoftError::NOTFOUND) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The depth of `queue`, which must exist.
pub(crate) async fn depth_on(channel: &Channel, queue: &str) -> Result<Depth, BrokerError> {
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::durable() };
    let declared = channel.queue_declare(queue.into(), options, FieldTable::default());
    let queue =
        within(channel, ROUND_TRIP_DEADLINE, format!("checking `{queue}`"), declared).await?;
    Ok(Depth { messages: queue.message_count(), consumers: queue.consumer_count() })
}

pub(super) async fn declare_queue(channel: &Channel, queue: &QueueSpec) -> Result<(), BrokerError> {
    let mut arguments = FieldTable::default();
    for (name, value) in queue.arguments() {
        let value = match value {
            ArgumentValue::Text(text) => AMQPValue::LongString(text.into()),
            ArgumentValue::Number(number) => {
                AMQPValue::LongLongInt(i64::try_from(number).unwrap_or(i64::MAX))
            }
            ArgumentValue::Flag(flag) => AMQPValue::Boolean(flag),
        };
        arguments.insert(name.into(), value);
    }
    let name = queue.name.as_str();
    let declared = channel.queue_declare(name.into(), QueueDeclareOptions::durable(), arguments);
    within(channel, DECLARE_DEADLINE, format!("declaring queue `{name}`"), declared)
        .await
        .map_err(|error| different(name, error))
        .map(drop)
}

pub(super) async fn declare_exchange(
    channel: &Channel,
    ExchangeSpec { name, kind, alternate }: &ExchangeSpec,
) -> Result<(), BrokerError> {
    let mut arguments = FieldTable::default();
    if let Some(alternate) = alternate {
        let alternate = AMQPValue::LongString(alternate.as_str().into());
        arguments.insert("alternate-exchange".into(), alternate);
    }
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let declared = channel.exchange_declare(name.as_str().into(), kind.clone(), options, arguments);
    within(channel, ROUND_TRIP_DEADLINE, format!("declaring exchange `{name}`"), declared)
        .await
        .map_err(|error| different(name, error))
}

/// Returns true if `queue`, which keeps messages, dead-letters what is rejected; the first
/// version's deletes it.
pub(crate) async fn dead_letters_rejected(
    connection: &Connection,
    topology: &Topology,
    queue: &str,
) -> Result<bool, BrokerError> {
    if queue == topology.names().unrouted() {
        return Ok(true);
    }
    let former_parked = topology.former_parked();
    if queue != former_parked.name {
        return Ok(false);
    }
    let channel = open(connection).await?;
    match declare_queue(&channel, &former_parked).await {
        Ok(()) => close(&channel).await.map(|()| true),
        Err(BrokerError::Different { .. }) => Ok(false),
        Err(error) if error.is_denied() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Converts a refusal over other arguments into [`BrokerError::Different`].
fn different(name: &str, error: BrokerError) -> BrokerError {
    match error.reply() {
        Some(reply) if reply.is_other_arguments() => {
            let text = &reply.text;
            let detail = text.strip_prefix("PRECONDITION_FAILED - ").unwrap_or(text).to_owned();
            BrokerError::Different { name: name.to_owned(), detail }
        }
        Some(_) | None => error,
    }
}
