//! Readers against the simulator in virtual time: a day passes in a moment.

mod days;
mod redirects;
mod statuses;
mod streams;

use std::{io, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    connect::Connector,
    http::{Connect, Http, Io},
    reader::{ConnectionEvent, Reader, RecordSink},
    rule::Waits,
};
use crate::settings::LivestreamSettings;
use homing_delivery::{endpoint, settings::EndpointSettings};
use homing_domain::source::Reset;
use livestream_simulator::{Behaviour, Simulator};
use parking_lot::Mutex;

/// Connects to the simulator without a network, so that virtual time works.
struct Wire {
    simulator: Simulator,
    serving: Mutex<JoinSet<()>>,
    /// The connects so far.
    connects: Arc<Mutex<Vec<(Instant, String)>>>,
}

impl Connect for Wire {
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Box<dyn Io>>> {
        self.connects.lock().push((Instant::now(), format!("{host}:{port}")));
        let (client, other) = tokio::io::duplex(64 * 1_024);
        let simulator = self.simulator.clone();
        let mut serving = self.serving.lock();
        serving.spawn(async move { simulator.serve_connection(other).await });
        Box::pin(async move { Ok(Box::new(client) as Box<dyn Io>) })
    }
}

/// The records and reports of a reader.
#[derive(Default)]
struct Notes {
    records: Mutex<Vec<Bytes>>,
    skipped: Mutex<Vec<u64>>,
    events: Mutex<Vec<(Instant, ConnectionEvent)>>,
    reset: Mutex<Option<Reset>>,
    /// Records are taken while there are permits.
    gate: Option<tokio::sync::Semaphore>,
}

#[async_trait]
impl RecordSink for Notes {
    async fn take(&self, record: Bytes) {
        if let Some(gate) = &self.gate {
            gate.acquire().await.unwrap().forget();
        }
        self.records.lock().push(record);
    }
    fn skipped(&self, bytes: u64) {
        self.skipped.lock().push(bytes);
    }
    fn received(&self, _: usize) {}
    async fn on_event(&self, event: ConnectionEvent) {
        self.events.lock().push((Instant::now(), event));
    }
    async fn take_reset(&self) -> Option<Reset> {
        self.reset.lock().take()
    }
    async fn keep_reset(&self, reset: Reset) {
        *self.reset.lock() = Some(reset);
    }
}

impl Notes {
    /// The waits between connects, in seconds.
    fn waits(&self) -> Vec<u64> {
        let events = self.events.lock();
        let waits = events.iter().filter_map(|(_, event)| match event {
            ConnectionEvent::Waiting(wait, ..) => Some(wait.as_secs()),
            ConnectionEvent::Connecting
            | ConnectionEvent::Connected(_)
            | ConnectionEvent::Silent
            | ConnectionEvent::Renewing => None,
        });
        waits.collect()
    }
}

const WAITS: Waits = Waits { reconnect: Duration::from_secs(60), max: Duration::from_secs(300) };

/// A source that reads from a simulator.
struct Bench {
    simulator: Simulator,
    notes: Arc<Notes>,
    connects: Arc<Mutex<Vec<(Instant, String)>>>,
    reader: Reader,
    stop: CancellationToken,
}

fn settings(changed: &str) -> LivestreamSettings {
    let toml = format!(
        "url = \"http://stream.test/api/1/stream/simulated\"\n\
         token_url = \"http://ims.test/ims/token/v3\"\nclient_id = \"id\"\n\
         client_secret = \"secret\"\n{changed}"
    );
    LivestreamSettings::from_toml(&toml).unwrap()
}

impl Bench {
    fn new(behaviour: Behaviour) -> Self {
        Self::with(behaviour, &settings(""), Notes::default())
    }

    fn with(behaviour: Behaviour, settings: &LivestreamSettings, notes: Notes) -> Self {
        let simulator = Simulator::new(behaviour);
        let connects = Arc::default();
        let wire = Wire {
            simulator: simulator.clone(),
            serving: Mutex::default(),
            connects: Arc::clone(&connects),
        };
        let of_endpoints = EndpointSettings::from_toml("").unwrap();
        let tls = endpoint::tls(&of_endpoints, &[b"http/1.1"]).unwrap();
        let http = Arc::new(Http::new(Arc::new(wire), tls, Duration::from_secs(10)));
        let reader = Reader {
            connector: Connector::new(http, settings.clone(), minutes(5)),
            waits: WAITS,
            max_record_bytes: 4_096,
            max_idle: Duration::ZERO,
        };
        let notes = Arc::new(notes);
        Self { simulator, notes, connects, reader, stop: CancellationToken::new() }
    }

    /// Reads for this time at most; returns why the source stopped, if it did.
    async fn run_for(&self, time: Duration) -> Option<String> {
        let sink: &dyn RecordSink = self.notes.as_ref();
        let reading = self.reader.run(Duration::ZERO, sink, &self.stop);
        tokio::time::timeout(time, reading).await.unwrap_or(None)
    }

    fn statuses(&self) -> Vec<u16> {
        self.simulator.connects().iter().map(|connect| connect.status).collect()
    }
}

const fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}
