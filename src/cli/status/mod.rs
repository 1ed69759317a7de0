//! `homing status`

mod show;

use std::{sync::Arc, time::Duration};

use tokio::{
    signal::unix::{SignalKind, signal},
    time::sleep,
};

use super::{
    failure::{Exit, Failure},
    globals::Globals,
    output::Output,
    remote::{Parameters, Remote},
};
use crate::{
    config::Settings,
    overview::{Health, Overview, Queue, Stored, UnreadableSubscriptions, queues},
};
use homing_broker::{Broker, topology::Topology};
use homing_domain::clock;
use homing_store::{Store, StoreError};

const EXAMPLES: &str = "\
Examples:
  homing status
  homing status --watch
  homing status --json
  homing status >/dev/null || echo 'broker or store unreachable'

Declares nothing at the broker. Figures of workers are up to five seconds old.
Exit code 3: broker or store cannot be reached.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Refresh every so many seconds (2 if none are given), until interrupted; with --json a line
    /// each time
    #[arg(
        long, value_name = "SECONDS", num_args = 0..=1, require_equals = true,
        default_missing_value = "2", value_parser = clap::value_parser!(u64).range(1..=3_600)
    )]
    watch: Option<u64>,
}

pub(super) async fn run(
    globals: &Globals,
    arguments: &Arguments,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let mut viewer = match globals.remote()? {
        Some(remote) => Viewer::There(remote),
        None => Viewer::Here(Box::new(Here::new(globals.settings_of_command()?)?)),
    };
    let ended = match arguments.watch {
        None => show_once(&mut viewer, output).await,
        Some(seconds) => watch(&mut viewer, Duration::from_secs(seconds), output).await,
    };
    viewer.end().await;
    ended
}

async fn show_once(viewer: &mut Viewer, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let overview = viewer.overview().await?;
    if output.json {
        output.document(&overview)?;
    } else {
        show::write(&overview, output)?;
    }
    Ok(if overview.is_sound() { Exit::Done } else { Exit::Unsound })
}

/// Shows it again and again. A broker, a store or a homing that is away may be back at the next
/// refresh, so only a signal ends this.
async fn watch(
    viewer: &mut Viewer,
    pause: Duration,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let mut interrupted = signal(SignalKind::interrupt()).map_err(Failure::Signals)?;
    let mut terminated = signal(SignalKind::terminate()).map_err(Failure::Signals)?;
    let watching = async {
        loop {
            let overview = match viewer.overview().await {
                Ok(overview) => overview,
                Err(failure @ Failure::Remote(_)) => {
                    output.notice(failure.report());
                    sleep(pause).await;
                    continue;
                }
                Err(failure) => return Err(failure),
            };
            if output.json {
                output.line_of_json(&overview)?;
            } else {
                let mut page = Vec::new();
                show::write(&overview, &mut output.page(&mut page))?;
                output.replace_page(&String::from_utf8_lossy(&page))?;
            }
            sleep(pause).await;
        }
    };
    tokio::select! {
        ended = watching => ended,
        _ = interrupted.recv() => Ok(Exit::Done),
        _ = terminated.recv() => Ok(Exit::Done),
    }
}

/// The place from which the overview comes.
enum Viewer {
    Here(Box<Here>),
    There(Remote),
}

impl Viewer {
    async fn overview(&mut self) -> Result<Overview, Failure> {
        match self {
            Self::Here(here) => Ok(here.overview().await),
            Self::There(api) => api.get(&["v1", "status"], Parameters::default()).await,
        }
    }

    async fn end(self) {
        if let Self::Here(here) = self {
            here.end().await;
        }
    }
}

/// Broker and store, each opened when it can be, and kept.
struct Here {
    settings: Settings,
    broker: Broker,
    store: Option<Arc<dyn Store>>,
    unreadable: UnreadableSubscriptions,
}

impl Here {
    fn new(settings: Settings) -> Result<Self, Failure> {
        let schedules = settings.schedule.schedules().map_err(Failure::Settings)?;
        let topology = Topology::new(&settings.broker.prefix, schedules.waits())
            .with_slots(settings.source.slots())
            .with_held_queues(settings.held.queues)
            .with_archive(settings.archive.retention())
            .with_shards(settings.broker.shards);
        let broker = Broker::passive(&settings.broker, topology)
            .map_err(Failure::Settings)?
            .with_rules(settings.events);
        Ok(Self { settings, broker, store: None, unreadable: UnreadableSubscriptions::default() })
    }

    async fn overview(&mut self) -> Overview {
        let opened = self.store().await;
        let store = opened.as_ref().ok().map(Arc::clone);
        let stored = async {
            let store = opened.map_err(Failure::Store)?;
            self.stored(store.as_ref()).await
        };
        let (queues, stored) = tokio::join!(queues(&self.broker, store.as_deref()), stored);
        let queues: Result<Vec<Queue>, _> = queues.map_err(Failure::Broker);
        let mut broker = Health::of(&queues, Failure::report);
        broker.location = Some(self.settings.broker.locations().join(" "));
        let mut store = Health::of(&stored, Failure::report);
        store.location = Some(homing_store::location(&self.settings.store));
        Overview::new((broker, queues.ok()), (store, stored.ok()), clock::now())
            .with_plan(&self.settings.worker.plan())
    }

    async fn store(&mut self) -> Result<Arc<dyn Store>, StoreError> {
        if let Some(store) = &self.store {
            return Ok(Arc::clone(store));
        }
        let opened = homing_store::open(&self.settings.store).await?;
        Ok(Arc::clone(self.store.insert(opened)))
    }

    async fn stored(&self, store: &dyn Store) -> Result<Stored, Failure> {
        let sources = &self.settings.source;
        let of = (store, self.broker.topology().names());
        let read = Stored::read(of, sources, &self.unreadable, clock::now());
        read.await.map_err(Failure::Store)
    }

    async fn end(self) {
        self.broker.close().await;
        if let Some(store) = self.store {
            store.close().await;
        }
    }
}
