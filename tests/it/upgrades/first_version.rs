//! An installation of the first version, as `tests/samples/first-version` keeps it.

use std::path::Path;

use homing_domain::clock;
use lapin::{
    BasicProperties, Channel, ExchangeKind,
    options::{
        BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions,
        QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable},
};
use serde::Deserialize;
use serde_json::{Map, Value};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, sqlite::SqliteConnectOptions};
use tokio::time::Instant;

use crate::support::{
    broker::{self, Corner},
    database::Database,
    installation::millis,
};

/// The waits of its schedule `fast`, in milliseconds.
pub(super) const WAITS: [u64; 3] = [1_500, 3_000, 600_000];
/// The wait of its schedule `short`.
const SHORT: u64 = 2_000;
/// The key of its stores, and a schedule that it had.
pub(super) const SETTINGS: &str = r#"
store.encryption_keys = ["c2FtcGxlIGtleSBvZiB0aGUgZmlyc3QgdmVyc2lvbi4="]
schedule.custom.short = ["2s"]
"#;
/// Where its endpoints were.
const ENDPOINTS: &str = "http://127.0.0.1:18965";

const TOPOLOGY: &str = include_str!("../../samples/first-version/topology.json");

/// Its remains in a store and at the broker.
pub(super) struct Left {
    pub store: &'static str,
    pub messages: &'static str,
}

pub(super) const ON_SQLITE: Left = Left {
    store: include_str!("../../samples/first-version/sqlite.sql"),
    messages: include_str!("../../samples/first-version/sqlite.jsonl"),
};
pub(super) const ON_POSTGRES: Left = Left {
    store: include_str!("../../samples/first-version/postgres.sql"),
    messages: include_str!("../../samples/first-version/postgres.jsonl"),
};

#[derive(Deserialize)]
struct Listed {
    exchanges: Vec<Exchange>,
    queues: Vec<Queue>,
    bindings: Vec<Binding>,
}

#[derive(Deserialize)]
struct Exchange {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    arguments: Map<String, Value>,
}

#[derive(Deserialize)]
struct Queue {
    name: String,
    arguments: Map<String, Value>,
}

#[derive(Deserialize)]
struct Binding {
    exchange: String,
    queue: String,
    key: String,
}

#[derive(Deserialize)]
struct Head {
    captured_ms: i64,
}

#[derive(Deserialize)]
struct Message {
    queue: String,
    exchange: String,
    routing_key: String,
    properties: Map<String, Value>,
    headers: Map<String, Value>,
    body: String,
}

/// A corner with room for it.
pub(super) fn corner() -> Corner {
    let waits: Vec<_> = WAITS.into_iter().chain([SHORT]).collect();
    Corner::new(&millis(&waits))
}

/// `text` with the names of this corner.
fn moved(text: &str, corner: &Corner) -> String {
    text.replace("homing.v1.", &format!("{}.v1.", corner.prefix))
}

/// Declares its exchanges, queues and bindings.
pub(super) async fn declare(channel: &Channel, corner: &Corner) {
    let listed: Listed = serde_json::from_str(&moved(TOPOLOGY, corner)).expect("a topology");
    for Exchange { name, kind, arguments } in listed.exchanges {
        let kind = match kind.as_str() {
            "fanout" => ExchangeKind::Fanout,
            "direct" => ExchangeKind::Direct,
            _ => ExchangeKind::Topic,
        };
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let declared = channel.exchange_declare(name.into(), kind, options, table(arguments));
        declared.await.expect("an exchange");
    }
    for Queue { name, arguments } in listed.queues {
        let options = QueueDeclareOptions::durable();
        let declared = channel.queue_declare(name.into(), options, table(arguments));
        declared.await.expect("a queue");
    }
    for binding in listed.bindings {
        bind(channel, &binding).await;
    }
}

async fn bind(channel: &Channel, Binding { exchange, queue, key }: &Binding) {
    let bound = channel.queue_bind(
        queue.as_str().into(),
        exchange.as_str().into(),
        key.as_str().into(),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    bound.await.expect("a binding");
}

impl Left {
    /// Puts its messages into their queues, as it had published them or the broker had moved them.
    /// Its instants are moved to the present. When it began.
    pub(super) async fn publish(&self, corner: &Corner) -> Instant {
        let connection = broker::connect(&corner.url).await.expect("a broker");
        let channel = connection.create_channel().await.expect("a channel");
        channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
        declare(&channel, corner).await;
        let began = Instant::now();
        let text = moved(self.messages, corner);
        let (head, messages) = text.split_once('\n').expect("several lines");
        let Head { captured_ms } = serde_json::from_str(head).expect("the first line is JSON");
        let passed = clock::now().get() - captured_ms;
        let messages = messages.lines().map(|line| serde_json::from_str(line).expect("a message"));
        let names = corner.topology.names();
        let (netted, routed): (Vec<Message>, Vec<_>) =
            messages.partition(|message: &Message| message.queue == names.former_unrouted());
        // The net catches what finds no queue.
        let to_primary = (names.primary(), names.events());
        let (key, nothing) = ("#", FieldTable::default);
        let unbound = channel.queue_unbind(
            to_primary.0.as_str().into(),
            to_primary.1.as_str().into(),
            key.into(),
            nothing(),
        );
        unbound.await.expect("it is unbound");
        for message in netted {
            publish(&channel, message, passed).await;
        }
        let (queue, exchange) = to_primary;
        bind(&channel, &Binding { exchange, queue, key: key.to_owned() }).await;
        for message in routed {
            publish(&channel, message, passed).await;
        }
        let _closed = connection.close(200, "OK".into()).await;
        began
    }

    /// The dump with endpoints at `base`.
    fn dump(&self, corner: &Corner, base: &str) -> String {
        moved(self.store, corner).replace(ENDPOINTS, base)
    }

    /// Makes a file of it; the setting that names it.
    pub(super) async fn restore_file(&self, folder: &Path, corner: &Corner, base: &str) -> String {
        let file = folder.join("first-version.db");
        let options = SqliteConnectOptions::new().filename(&file).create_if_missing(true);
        let mut connection = options.connect().await.expect("a database can be made");
        let dump = AssertSqlSafe(self.dump(corner, base));
        sqlx::raw_sql(dump).execute(&mut connection).await.expect("the dump is sound");
        connection.close().await.expect("it can be closed");
        format!("store.url = \"sqlite:{}\"\n", file.display())
    }

    /// Fills a database with it; the setting that names that.
    pub(super) async fn restore_database(
        &self,
        to: &Database,
        corner: &Corner,
        base: &str,
    ) -> String {
        to.shell(&self.dump(corner, base)).await.expect("the dump is sound");
        format!("store.url = \"{}\"\n", to.url())
    }
}

async fn publish(channel: &Channel, message: Message, passed: i64) {
    let mut headers = message.headers;
    for (_, instant) in headers.iter_mut().filter(|(name, _)| name.ends_with("-ms")) {
        *instant = (instant.as_i64().expect("an instant") + passed).into();
    }
    let mut properties = BasicProperties::default().with_delivery_mode(2);
    for (name, value) in message.properties {
        let text = || value.as_str().expect("text").into();
        properties = match name.as_str() {
            "message_id" => properties.with_message_id(text()),
            "type" => properties.with_type(text()),
            "content_type" => properties.with_content_type(text()),
            "app_id" => properties.with_app_id(text()),
            "timestamp" => properties.with_timestamp(value.as_u64().expect("seconds")),
            other => panic!("property {other}"),
        };
    }
    if !headers.is_empty() {
        properties = properties.with_headers(table(headers));
    }
    let confirm = channel.basic_publish(
        message.exchange.into(),
        message.routing_key.into(),
        BasicPublishOptions::default(),
        message.body.as_bytes(),
        properties,
    );
    let confirm = confirm.await.expect("it can be published").await.expect("it is confirmed");
    assert!(confirm.is_ack(), "{confirm:?}");
}

fn table(object: Map<String, Value>) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in object {
        table.insert(name.into(), field(value));
    }
    table
}

fn field(value: Value) -> AMQPValue {
    match value {
        Value::Null => AMQPValue::Void,
        Value::Bool(flag) => AMQPValue::Boolean(flag),
        Value::Number(number) => AMQPValue::LongLongInt(number.as_i64().expect("an integer")),
        Value::String(text) => AMQPValue::LongString(text.into()),
        Value::Array(values) => {
            AMQPValue::FieldArray(values.into_iter().map(field).collect::<Vec<_>>().into())
        }
        Value::Object(object) => match object.get("timestamp").and_then(Value::as_u64) {
            Some(seconds) => AMQPValue::Timestamp(seconds),
            None => AMQPValue::FieldTable(table(object)),
        },
    }
}
