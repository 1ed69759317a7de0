//! Readers against the simulator in virtual time: a day passes in a moment.

mod days;
mod statuses;
mod streams;

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    connect::Connector,
    http::{Dial, Http, Pipe},
    reader::{News, Outlet, Reader},
    rule::Waits,
};
use crate::{
    config::{LivestreamSettings, Settings},
    domain::source::Reset,
    endpoint,
    simulator::{Behaviour, Simulator},
};

/// Reaches the simulator without a network, so that time stands still for nobody.
struct Wire {
    simulator: Simulator,
    serving: Mutex<JoinSet<()>>,
    /// What was dialled.
    dialled: Arc<Mutex<Vec<(Instant, String)>>>,
}

impl Dial for Wire {
    fn dial<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Box<dyn Pipe>>> {
        self.dialled.lock().unwrap().push((Instant::now(), format!("{host}:{port}")));
        let (client, other) = tokio::io::duplex(64 * 1_024);
        let simulator = self.simulator.clone();
        let mut serving = self.serving.lock().unwrap();
        serving.spawn(async move { simulator.serve_connection(other).await });
        Box::pin(async move { Ok(Box::new(client) as Box<dyn Pipe>) })
    }
}

/// What a reader gave and told.
#[derive(Default)]
struct Notes {
    records: Mutex<Vec<Bytes>>,
    skipped: Mutex<Vec<u64>>,
    news: Mutex<Vec<(Instant, News)>>,
    reset: Mutex<Option<Reset>>,
    /// Records are taken while there are permits.
    gate: Option<tokio::sync::Semaphore>,
}

#[async_trait]
impl Outlet for Notes {
    async fn take(&self, record: Bytes) {
        if let Some(gate) = &self.gate {
            gate.acquire().await.unwrap().forget();
        }
        self.records.lock().unwrap().push(record);
    }
    fn skipped(&self, bytes: u64) {
        self.skipped.lock().unwrap().push(bytes);
    }
    fn received(&self, _: usize) {}
    async fn tell(&self, news: News) {
        self.news.lock().unwrap().push((Instant::now(), news));
    }
    async fn take_reset(&self) -> Option<Reset> {
        self.reset.lock().unwrap().take()
    }
    async fn keep_reset(&self, reset: Reset) {
        *self.reset.lock().unwrap() = Some(reset);
    }
}

impl Notes {
    fn records(&self) -> MutexGuard<'_, Vec<Bytes>> {
        self.records.lock().unwrap()
    }

    /// The waits between connects, in seconds.
    fn waits(&self) -> Vec<u64> {
        let news = self.news.lock().unwrap();
        let waits = news.iter().filter_map(|(_, news)| match news {
            News::Waiting(wait, ..) => Some(wait.as_secs()),
            News::Connecting | News::Connected(_) | News::Silent | News::Renewing => None,
        });
        waits.collect()
    }
}

const WAITS: Waits = Waits { reconnect: Duration::from_secs(60), max: Duration::from_secs(300) };

/// A source that reads from a simulator.
struct Bench {
    simulator: Simulator,
    notes: Arc<Notes>,
    dialled: Arc<Mutex<Vec<(Instant, String)>>>,
    reader: Reader,
    stop: CancellationToken,
}

fn settings(changed: &str) -> LivestreamSettings {
    let toml = format!(
        "[source.livestream.main]\nurl = \"http://stream.test/api/1/stream/simulated\"\n\
         token_url = \"http://ims.test/ims/token/v3\"\nclient_id = \"id\"\n\
         client_secret = \"secret\"\n{changed}"
    );
    Settings::from_toml(&toml).unwrap().source.livestream["main"].clone()
}

impl Bench {
    fn new(behaviour: Behaviour) -> Self {
        Self::with(behaviour, &settings(""), Notes::default())
    }

    fn with(behaviour: Behaviour, settings: &LivestreamSettings, notes: Notes) -> Self {
        let simulator = Simulator::new(behaviour);
        let dialled = Arc::default();
        let wire = Wire {
            simulator: simulator.clone(),
            serving: Mutex::default(),
            dialled: Arc::clone(&dialled),
        };
        let of_endpoints = Settings::from_toml("").unwrap().endpoint;
        let tls = endpoint::tls(&of_endpoints, &[b"http/1.1"]).unwrap();
        let http = Arc::new(Http::new(Arc::new(wire), tls, Duration::from_secs(10)));
        let reader = Reader {
            connector: Connector::new(http, settings.clone()),
            waits: WAITS,
            record_bytes_max: 4_096,
            idle_max: Duration::ZERO,
        };
        let notes = Arc::new(notes);
        Self { simulator, notes, dialled, reader, stop: CancellationToken::new() }
    }

    /// Reads for this time at most; why the source stopped, if it did.
    async fn run_for(&self, time: Duration) -> Option<String> {
        let outlet: &dyn Outlet = self.notes.as_ref();
        let reading = self.reader.run(Duration::ZERO, outlet, &self.stop);
        tokio::time::timeout(time, reading).await.unwrap_or(None)
    }

    fn statuses(&self) -> Vec<u16> {
        self.simulator.connects().iter().map(|connect| connect.status).collect()
    }
}

const fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}
