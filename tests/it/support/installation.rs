//! homing as a part of the test: the whole service in this process.

use std::{collections::BTreeSet, time::Duration};

use homing::{
    config::Settings,
    process::{self, Role},
    registry::Created,
    services::{Services, StartError},
};
use homing_broker::{
    Broker,
    topology::{Names, QueueKind},
};
use homing_delivery::{
    parking::{Action, Bodies, Entry, Parking, Selection, Tally},
    worker::layout,
};
use homing_domain::{id::SubscriptionId, subscription::Draft};
use serde_json::json;
use sqlx::{ConnectOptions, Connection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    PATIENCE,
    broker::{Corner, Publisher},
    eventually, holds,
};

/// An installation of homing: a corner of the broker, a store, and the settings for both.
pub(crate) struct Installation {
    pub corner: Corner,
    pub settings: Settings,
    pub publisher: Publisher,
    pub parts: Services,
    _folder: TempDir,
}

/// The service while it runs; stopped politely by [`Running::stop`], at once when dropped.
pub(crate) struct Running {
    stop: CancellationToken,
    service: AbortOnDropHandle<Result<(), StartError>>,
}

/// Waits in milliseconds, as a schedule called `fast`, which is the default of every test.
pub(crate) fn millis(waits: &[u64]) -> Vec<Duration> {
    waits.iter().copied().map(Duration::from_millis).collect()
}

impl Installation {
    /// With the schedule `waits`, in milliseconds.
    pub(crate) async fn new(waits: &[u64]) -> Self {
        Self::with(waits, "").await
    }

    /// With further settings.
    pub(crate) async fn with(waits: &[u64], settings: &str) -> Self {
        Self::at(Corner::new(&millis(waits)), waits, settings).await
    }

    /// In this corner, at a broker of the test's own.
    pub(crate) async fn at(mut corner: Corner, waits: &[u64], settings: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let settings = Settings::from_toml(&toml(&corner, &folder, waits, settings))
            .expect("the settings of the test make sense");
        corner.topology = corner.topology.clone().with_slots(settings.source.slots());
        corner.topology = corner.topology.clone().with_held_queues(settings.held.queues);
        corner.topology = corner.topology.clone().with_shards(settings.broker.shards);
        corner.topology = corner.topology.clone().with_archive(settings.archive.retention());
        let parts = Box::pin(Services::open(settings.clone())).await.expect("the parts open");
        layout::prepare(&parts.broker, parts.store.as_ref()).await.expect("the store answers");
        parts.broker.connect().await.expect("the topology can be declared");
        let publisher = Publisher::new(&corner).await;
        Self { corner, settings, publisher, parts, _folder: folder }
    }

    pub(crate) fn names(&self) -> &Names {
        self.corner.topology.names()
    }

    /// Starts a worker.
    pub(crate) fn start(&self) -> Running {
        self.start_as(&[Role::Worker])
    }

    /// Starts a process with these roles.
    pub(crate) fn start_as(&self, roles: &[Role]) -> Running {
        self.start_with(roles, |_| ())
    }

    /// Starts a process with these roles, and with settings that `change` has changed.
    pub(crate) fn start_with(&self, roles: &[Role], change: impl FnOnce(&mut Settings)) -> Running {
        let roles: BTreeSet<_> = roles.iter().copied().collect();
        let stop = CancellationToken::new();
        let (mut settings, stopped) = (self.settings.clone(), stop.clone());
        change(&mut settings);
        #[expect(clippy::disallowed_methods, reason = "aborted when dropped")]
        let service =
            tokio::spawn(async move { process::run(settings, &roles, None, stopped).await });
        Running { stop, service: AbortOnDropHandle::new(service) }
    }

    /// Makes a subscription with these fields.
    pub(crate) async fn subscribe(&self, draft: serde_json::Value) -> Created {
        let draft: Draft = serde_json::from_value(draft).expect("a draft");
        self.parts.registry.create(draft).await.expect("the subscription is sound")
    }

    /// Makes a subscription for every topic.
    pub(crate) async fn subscribe_all(&self, url: &str) -> SubscriptionId {
        self.subscribe(json!({"url": url, "topics": ["#"]})).await.subscription.id
    }

    /// Changes the database as an operator does with the sqlite3 shell.
    pub(crate) async fn shell(&self, sql: &'static str) {
        let file = self.settings.store.url.trim_start_matches("sqlite:");
        let mut connection = SqliteConnectOptions::new()
            .filename(file)
            .connect()
            .await
            .expect("the database can be opened");
        sqlx::raw_sql(sql).execute(&mut connection).await.expect("the statement is sound");
        connection.close().await.expect("it can be closed");
    }

    /// Holds SQLite's lock for writers until the connection ends.
    pub(crate) async fn lock_store(&self) -> sqlx::SqliteConnection {
        let file = self.settings.store.url.trim_start_matches("sqlite:");
        let connection = SqliteConnectOptions::new().filename(file).connect().await;
        let mut connection = connection.expect("the database can be opened");
        sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut connection).await.expect("it is free");
        connection
    }

    /// Waits until exactly `count` deliveries are parked.
    pub(crate) async fn wait_for_parked(&self, count: u32) -> Vec<Entry> {
        eventually(async || {
            let parked = self.parked().await;
            let found = u32::try_from(parked.len()).expect("few");
            if found == count { Ok(parked) } else { Err(format!("{found} parked, not {count}")) }
        })
        .await
    }

    /// All parked deliveries, what was parked first first; moved into the store before, as a worker
    /// does.
    pub(crate) async fn parked(&self) -> Vec<Entry> {
        keep_parked(&self.parts.parking, &self.parts.broker).await;
        let (mut entries, mut after) = (Vec::new(), None);
        loop {
            let all = Selection::default();
            let page = self.parts.parking.page(&all, after.into(), 100_000, Bodies::Included).await;
            let page = page.expect("what is parked can be listed");
            entries.extend(page.entries);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        entries.reverse();
        entries
    }

    /// Replays everything that is parked.
    pub(crate) async fn replay_all(&self) -> Tally {
        keep_parked(&self.parts.parking, &self.parts.broker).await;
        let all = Selection::default();
        let replayed = self.parts.parking.act(Action::Replay, &all, None, |_| ()).await;
        replayed.expect("what is parked can be replayed")
    }

    /// Waits until `queue` holds exactly `count` messages.
    pub(crate) async fn wait_for_depth(&self, queue: &str, count: u32) {
        eventually(async || {
            let depth = self.publisher.depth(queue).await;
            holds(depth == count, format!("`{queue}` has {depth} messages, not {count}"))
        })
        .await;
    }

    /// Waits until exactly `count` events and deliveries wait in the primary and held queues: on a busy
    /// machine, an endpoint that takes some milliseconds may be slow.
    pub(crate) async fn wait_for_undelivered(&self, count: u32) {
        let names = self.names();
        let held = (0..self.corner.topology.held_queues()).map(|slot| names.held(slot));
        let queues: Vec<_> = held.chain([names.primary()]).collect();
        eventually(async || {
            let mut waiting = 0;
            for queue in &queues {
                waiting += self.publisher.depth(queue).await;
            }
            holds(waiting == count, format!("{waiting} messages wait, not {count}"))
        })
        .await;
    }

    /// Waits until `count` workers consume the primary queue.
    pub(crate) async fn wait_for_consumers(&self, count: u32) {
        let primary = self.names().primary();
        eventually(async || {
            let depth = self.parts.broker.depth(&primary).await.ok().flatten();
            let consumers = depth.map(|depth| depth.consumers);
            holds(consumers == Some(count), format!("{consumers:?} consumers, not {count}"))
        })
        .await;
    }

    /// Messages that are anywhere but in the parking queue.
    pub(crate) async fn assert_nothing_waits(&self) {
        for queue in self.corner.topology.queues() {
            let keeps = matches!(queue.kind, QueueKind::Lock | QueueKind::Archive(_));
            if !keeps && queue.name != self.names().parked() {
                self.wait_for_depth(&queue.name, 0).await;
            }
        }
    }
}

impl Running {
    /// Stops as SIGTERM does, and waits for the end.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.service)
            .await
            .expect("the service stops in time")
            .expect("the service does not panic")
            .expect("the service started");
    }
}

/// Moves what waits in the parking queue into the store, unless a worker does so.
pub(crate) async fn keep_parked(parking: &Parking, broker: &Broker) {
    let (stop, queue) = (CancellationToken::new(), broker.topology().names().parked());
    let emptied = async {
        eventually(async || {
            let depth = broker.depth(&queue).await.expect("the broker answers");
            let (messages, consumers) = depth.map_or((0, 0), |it| (it.messages, it.consumers));
            holds(messages + consumers == 0, format!("{messages} are in `{queue}` still"))
        })
        .await;
        stop.cancel();
    };
    tokio::join!(parking.keep(stop.clone()), emptied);
}

/// The settings of an installation as text, also for a process of its own.
pub(crate) fn toml(corner: &Corner, folder: &TempDir, waits: &[u64], further: &str) -> String {
    let waits: Vec<_> = waits.iter().map(|wait| format!("\"{wait}ms\"")).collect();
    let base = format!(
        "broker.url = \"{url}\"\n\
         broker.prefix = \"{prefix}\"\n\
         broker.new_queue_wait = \"0s\"\n\
         api.listen = \"127.0.0.1:0\"\n\
         schedule.default = \"fast\"\n\
         schedule.custom.fast = [{waits}]\n",
        url = corner.url,
        prefix = corner.prefix,
        waits = waits.join(", "),
    );
    let file = folder.path().join("homing.db");
    let store = format!("store.url = \"sqlite:{}\"\n", file.display());
    let store = if further.contains("store.url") { "" } else { &store };
    // Endpoints of tests fail on purpose: only tests of circuits have working ones.
    let circuit = "circuit.open_above_percent = 100\n\
                   circuit.open_at_consecutive_failures = 50000\n";
    let circuit = if further.contains("circuit.") { "" } else { circuit };
    // Each is another queue to declare.
    let held = if further.contains("held.queues") { "" } else { "held.queues = 2\n" };
    let loopback = "endpoint.allow_networks = [\"127.0.0.0/8\"]\n";
    let loopback = if further.contains("allow_networks") { "" } else { loopback };
    format!("{base}{store}{circuit}{held}{loopback}{further}")
}
