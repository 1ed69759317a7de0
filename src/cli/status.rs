//! `homing status`

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    Output,
    failure::{Exit, Failure},
    globals::Globals,
    table::Rows,
    words,
};
use crate::{
    broker::{
        Broker,
        topology::{Depth, QueueKind, QueueSpec, State, Topology},
    },
    config::Settings,
    source::{self, View},
    store,
};

const EXAMPLES: &str = "\
Examples:
  homing status
  homing status --json
  homing status >/dev/null || echo 'broker or store unreachable'

Declares nothing at the broker. Exit code 3: broker or store cannot be reached.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {}

#[derive(Serialize)]
struct Report {
    broker: Reached,
    store: Reached,
    subscriptions: Option<u64>,
    sources: Vec<View>,
    queues: Vec<Queue>,
}

/// Whether something answers.
#[derive(Serialize)]
struct Reached {
    /// Without passwords.
    location: String,
    reachable: bool,
    /// Why not.
    error: Option<String>,
}

#[derive(Serialize)]
struct Queue {
    name: String,
    holds: String,
    wait_ms: Option<u128>,
    state: &'static str,
    messages: Option<u32>,
    consumers: Option<u32>,
}

impl Reached {
    fn of<T>(location: String, asked: &Result<T, Failure>) -> Self {
        let error = asked.as_ref().err().map(Failure::told);
        Self { location, reachable: error.is_none(), error }
    }
}

pub(super) async fn run(globals: &Globals, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let settings = globals.settings_of_command()?;
    let (queues, stored) = tokio::join!(queues(&settings), stored(&settings));
    let (broker, store) = (settings.broker.locations().join(" "), store::location(&settings.store));
    let (broker, store) = (Reached::of(broker, &queues), Reached::of(store, &stored));
    let (subscriptions, sources) = stored.ok().unzip();
    let report = Report {
        broker,
        store,
        subscriptions,
        sources: sources.unwrap_or_default(),
        queues: queues.unwrap_or_default(),
    };
    if output.json {
        output.document(&report)?;
    } else {
        write(&report, output)?;
    }
    let is_sound = report.broker.reachable && report.store.reachable;
    Ok(if is_sound { Exit::Done } else { Exit::Unsound })
}

/// How many subscriptions there are, and how the sources are.
async fn stored(settings: &Settings) -> Result<(u64, Vec<View>), Failure> {
    let store = store::open(&settings.store).await.map_err(Failure::Store)?;
    let asked = async {
        let count = store.count_subscriptions().await?;
        Ok((count, source::views(&settings.source, store.as_ref()).await?))
    };
    let stored = asked.await.map_err(Failure::Store);
    store.close().await;
    stored
}

async fn queues(settings: &Settings) -> Result<Vec<Queue>, Failure> {
    let schedules = settings.schedule.schedules().map_err(Failure::Settings)?;
    let topology = Topology::new(&settings.broker.prefix, schedules.waits())
        .with_slots(settings.source.slots());
    let broker = Broker::looking(&settings.broker, topology).map_err(Failure::Settings)?;
    let findings = broker.inspect(&[]).await.map_err(Failure::Broker)?;
    broker.close().await;

    let mut states: BTreeMap<_, _> =
        findings.into_iter().map(|finding| (finding.name, finding.state)).collect();
    let names = broker.topology().names();
    let mut specs = broker.topology().queues();
    specs.sort_by_key(|queue| order(queue, &names.primary(), &names.unrouted()));
    Ok(specs
        .into_iter()
        .map(|queue| {
            let state = states.remove(&queue.name).unwrap_or(State::Missing);
            Queue::new(&queue, &names.primary(), &names.unrouted(), &state)
        })
        .collect())
}

/// The order of a message's life.
fn order(queue: &QueueSpec, primary: &str, unrouted: &str) -> (u8, u128) {
    match &queue.kind {
        QueueKind::Deliver { .. } => (u8::from(queue.name != primary), 0),
        QueueKind::Wait { wait, .. } => (2, wait.as_millis()),
        QueueKind::Keep => (if queue.name == unrouted { 4 } else { 3 }, 0),
        QueueKind::Lock => (5, 0),
    }
}

impl Queue {
    fn new(queue: &QueueSpec, primary: &str, unrouted: &str, state: &State) -> Self {
        let (holds, wait_ms) = match &queue.kind {
            QueueKind::Deliver { .. } if queue.name == primary => ("fresh events".to_owned(), None),
            QueueKind::Deliver { .. } => ("due deliveries".to_owned(), None),
            QueueKind::Wait { wait, .. } => {
                (format!("waits {}", words::duration(*wait)), Some(wait.as_millis()))
            }
            QueueKind::Keep if queue.name == unrouted => ("had no route".to_owned(), None),
            QueueKind::Keep => ("given up".to_owned(), None),
            QueueKind::Lock => ("lock of a source".to_owned(), None),
        };
        let (state, depth): (_, Option<Depth>) = match state {
            State::Present(depth) => ("present", *depth),
            State::Missing => ("missing", None),
            State::Different(_) => ("different", None),
            State::LeftOver(depth) => ("left over", Some(*depth)),
        };
        let messages = depth.map(|depth| depth.messages);
        let consumers = depth.map(|depth| depth.consumers);
        Self { name: queue.name.clone(), holds, wait_ms, state, messages, consumers }
    }
}

fn write(report: &Report, output: &mut Output<'_>) -> Result<(), Failure> {
    let told = |reached: &Reached| match &reached.error {
        Some(error) => format!("unreachable at {}: {error}", reached.location),
        None => format!("reachable at {}", reached.location),
    };
    output.line(format_args!("broker  {}", told(&report.broker)))?;
    let subscriptions = report.subscriptions.map(|count| words::count(count, "subscription"));
    let subscriptions = subscriptions.map(|text| format!(", {text}")).unwrap_or_default();
    output.line(format_args!("store   {}{subscriptions}", told(&report.store)))?;
    for View { name, state, connected, max_connections, reason, .. } in &report.sources {
        let reason = reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        output.line(format_args!(
            "source  {name} {state}{reason}, {connected} of {max_connections} connected"
        ))?;
    }
    if report.queues.is_empty() {
        return Ok(());
    }
    output.line("")?;
    let mut rows = Rows::new(output, &["QUEUE", "HOLDS", "MESSAGES", "CONSUMERS"]);
    let number = |number: Option<u32>| number.map(|number| number.to_string());
    for queue in &report.queues {
        let messages = number(queue.messages).unwrap_or_else(|| queue.state.to_owned());
        let consumers = number(queue.consumers).unwrap_or_default();
        rows.add([queue.name.clone(), queue.holds.clone(), messages, consumers]);
    }
    rows.write(output, &[2, 3])?;
    if report.queues.iter().any(|queue| queue.messages.is_none()) {
        output.line("")?;
        output.line("Not all queues are as they should be: `homing topology check` says more.")?;
    }
    Ok(())
}
