//! The simulator of the Live Stream service, and installations that read from it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use futures_util::StreamExt;
use lapin::{
    Consumer,
    options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions},
    types::FieldTable,
};
use livestream_simulator::{Behaviour, Simulator};
use tokio::{
    net::TcpListener,
    time::{Instant, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    PATIENCE,
    broker::{Corner, Publisher},
    eventually, holds,
};

/// The service on loopback, thirty times faster than real; ends when dropped.
pub(crate) struct Service {
    pub simulator: Simulator,
    base: String,
    _serving: AbortOnDropHandle<()>,
}

/// The time in which the service forgets a connection.
const STALE: Duration = Duration::from_secs(2);
/// The wait of sources in tests, a little longer.
pub(crate) const RECONNECT_WAIT: Duration = Duration::from_millis(2_100);

impl Service {
    pub(crate) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let base = format!("http://{}", listener.local_addr().expect("it has an address"));
        let simulator = Simulator::new(Behaviour { stale: STALE, ..Behaviour::default() });
        let served = simulator.clone();
        let serving = async move {
            served.serve(listener, CancellationToken::new()).await.expect("the simulator serves");
        };
        #[expect(clippy::disallowed_methods, reason = "aborted when the service is dropped")]
        let serving = AbortOnDropHandle::new(tokio::spawn(serving));
        Self { simulator, base, _serving: serving }
    }

    /// Settings of a source `main` with so many connections.
    pub(crate) fn settings(&self, max_connections: u8) -> String {
        format!(
            "broker.heartbeat = \"1s\"\n\
             source.reconnect_wait = \"{wait}ms\"\n\
             source.livestream.main.url = \"{base}/api/1/stream/simulated\"\n\
             source.livestream.main.token_url = \"{base}/ims/token/v3\"\n\
             source.livestream.main.client_id = \"id\"\n\
             source.livestream.main.client_secret = \"secret\"\n\
             source.livestream.main.max_connections = {max_connections}\n",
            wait = RECONNECT_WAIT.as_millis(),
            base = self.base,
        )
    }

    /// The statuses of all connects so far.
    pub(crate) fn statuses(&self) -> Vec<u16> {
        self.simulator.connects().iter().map(|connect| connect.status).collect()
    }

    /// Waits until there are exactly so many connections.
    pub(crate) async fn wait_for_connections(&self, count: usize) {
        self.wait_until(|simulator| simulator.connected() == count).await;
    }

    /// Waits until so many connects were answered.
    pub(crate) async fn wait_for_connects(&self, count: usize) {
        self.wait_until(|simulator| simulator.connects().len() >= count).await;
    }

    async fn wait_until(&self, is_so: impl Fn(&Simulator) -> bool) {
        eventually(async || {
            let statuses = self.statuses();
            holds(is_so(&self.simulator), format!("connects so far: {statuses:?}"))
        })
        .await;
    }
}

/// A program that listens to the same events as homing, with a queue of its own.
pub(crate) struct Tap {
    messages: Consumer,
    _publisher: Publisher,
    /// Arrivals of each id.
    pub ids: BTreeMap<String, usize>,
}

impl Tap {
    pub(crate) async fn new(corner: &Corner) -> Self {
        let publisher = Publisher::new(corner).await;
        let channel = publisher.channel();
        let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        let declared = channel.queue_declare("".into(), options, FieldTable::default()).await;
        let queue = declared.expect("a queue can be declared").name().clone();
        let exchange = corner.topology.names().events();
        let (options, none) = (QueueBindOptions::default(), FieldTable::default());
        let bound = channel.queue_bind(
            queue.clone(),
            exchange.into(),
            "livestream.#".into(),
            options,
            none.clone(),
        );
        bound.await.expect("it can be bound");
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let messages = channel.basic_consume(queue, "".into(), options, none).await;
        let messages = messages.expect("it can be consumed");
        Self { messages, _publisher: publisher, ids: BTreeMap::new() }
    }

    /// Waits until all of these [`record`]s have come.
    pub(crate) async fn wait_for(&mut self, numbers: std::ops::Range<u64>) {
        let deadline = Instant::now() + PATIENCE;
        let mut missing: BTreeSet<_> = numbers.map(id).collect();
        missing.retain(|id| !self.ids.contains_key(id));
        while !missing.is_empty() {
            let Ok(message) = timeout_at(deadline, self.messages.next()).await else {
                panic!("{} did not come, such as {:?}", missing.len(), missing.first());
            };
            let message = message.expect("the queue is there").expect("it can be consumed");
            let id = message.properties.message_id().as_ref().expect("every event has an id");
            missing.remove(id.as_str());
            *self.ids.entry(id.to_string()).or_default() += 1;
        }
    }

    /// Those that came more than once.
    pub(crate) fn repeated(&self) -> Vec<&str> {
        let repeated = self.ids.iter().filter(|(_, times)| **times > 1);
        repeated.map(|(id, _)| id.as_str()).collect()
    }
}

/// The event's id of a [`record`].
pub(crate) fn id(number: u64) -> String {
    format!("18446744073709551615-{number}")
}

/// A record with this id.
pub(crate) fn record(number: u64) -> Bytes {
    format!(r#"{{"hitIdHigh":18446744073709551615,"hitIdLow":{number},"reportSuite":"suite"}}"#)
        .into()
}
