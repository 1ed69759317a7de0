//! `homing run`

use std::{collections::BTreeSet, convert::Infallible, time::Duration};

use clap::ValueEnum;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use serde_json::{Map, Value};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    failure::{Exit, Failure},
    globals::Globals,
    output::Output,
};
use crate::{
    config::Settings,
    process::{self, Role},
};
use homing_domain::settings::SettingsError;

const EXAMPLES: &str = "\
Examples:
  homing run                                      everything in one process
  homing run --role worker                        deliveries only; start as many as needed
  homing run --role source                        reading streams only; two, and one takes over
  homing run --check                              show the settings in force, secrets masked
  HOMING__BROKER__URL=amqp://u:p@host homing run

Stop it with Ctrl-C or SIGTERM: deliveries in flight are finished within `worker.drain_grace`, the
rest is given back to the broker. A second signal stops at once; even then nothing is lost.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Run only this role; may be repeated; without it all roles
    #[arg(long, value_enum, value_name = "api|worker|source", hide_possible_values = true)]
    role: Vec<RoleName>,
    /// Check the settings, print those in force, and start nothing
    #[arg(long)]
    check: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum RoleName {
    /// Answer the HTTP API
    Api,
    /// Make deliveries
    Worker,
    /// Read sources
    Source,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Api => Self::Api,
            RoleName::Worker => Self::Worker,
            RoleName::Source => Self::Source,
        }
    }
}

pub(super) async fn run(
    globals: &Globals,
    arguments: &Arguments,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let settings = globals.settings()?;
    globals.log(&settings, &settings.log.level)?;
    globals.warn_of_settings(&settings);
    if arguments.check {
        return check(&settings, output);
    }
    let all = [RoleName::Api, RoleName::Worker, RoleName::Source];
    let roles = if arguments.role.is_empty() { &all[..] } else { &arguments.role };
    let roles: BTreeSet<Role> = roles.iter().copied().map(Role::from).collect();

    if roles == BTreeSet::from([Role::Source]) && settings.source.livestream.is_empty() {
        let message = "nothing to read; give it a section [source.livestream.NAME]";
        let error = SettingsError::value("source.livestream", message);
        return Err(Failure::Settings(error));
    }

    let metrics = install_metrics().map_err(Failure::Metrics)?;
    let stop = CancellationToken::new();
    let signals = Signals::listen()?;
    tokio::select! {
        ended = process::run(settings, &roles, Some(metrics.clone()), stop.clone()) => ended.map_err(Failure::Start)?,
        () = signals.obey(&stop) => return Ok(Exit::Failed),
        never = upkeep(&metrics, globals) => match never {},
    }
    Ok(Exit::Done)
}

/// Shows the settings, which are valid at this point.
fn check(settings: &Settings, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let shown = settings.shown();
    if output.json {
        let by_key: Map<String, Value> = shown
            .lines()
            .filter_map(|line| line.split_once(" = "))
            .map(|(key, value)| (key.to_owned(), serde_json::from_str(value).unwrap_or_default()))
            .collect();
        output.document(&by_key)?;
    } else {
        output.text(&shown)?;
    }
    Ok(Exit::Done)
}

/// SIGTERM and SIGINT.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn listen() -> Result<Self, Failure> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).map_err(Failure::Signals)?,
            interrupt: signal(SignalKind::interrupt()).map_err(Failure::Signals)?,
        })
    }

    /// The next of them.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => (),
            _ = self.interrupt.recv() => (),
        }
    }

    /// Runs `work`. The first signal asks it by `stop` to end soon; the second abandons it: `None`.
    pub(super) async fn bound<T>(
        &mut self,
        stop: &CancellationToken,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let mut work = std::pin::pin!(work);
        tokio::select! {
            done = &mut work => return Some(done),
            () = self.next() => stop.cancel(),
        }
        tokio::select! {
            done = work => Some(done),
            () = self.next() => None,
        }
    }

    /// The first signal orders `stop`; returns at the second. Only the log reports both, because
    /// logging never blocks.
    async fn obey(mut self, stop: &CancellationToken) {
        self.next().await;
        info!("service.stopping: finishing what is in flight; a second signal stops at once");
        stop.cancel();
        self.next().await;
        warn!("service.stopped_at_once: what was in flight is with the broker and comes again");
    }
}

/// Upper bounds of the buckets of an attempt's duration, in seconds; the default deadline of an
/// attempt is 5 s.
const ATTEMPT_BUCKETS_S: [f64; 12] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// The same for the age of records when they are published. The service delivers them 20 s to
/// 5 min late.
const LAG_BUCKETS_S: [f64; 12] =
    [1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0];

fn install_metrics() -> Result<PrometheusHandle, BuildError> {
    let duration = Matcher::Full("homing_attempt_duration_seconds".to_owned());
    let lag = Matcher::Full("homing_source_lag_seconds".to_owned());
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(duration, &ATTEMPT_BUCKETS_S)?
        .set_buckets_for_metric(lag, &LAG_BUCKETS_S)?
        .install_recorder()?;
    homing_telemetry::catalogue::describe();
    Ok(handle)
}

/// Moves the values of histograms into their buckets, which else happens only when metrics are
/// scraped, and reports lost log lines.
async fn upkeep(metrics: &PrometheusHandle, globals: &Globals) -> Infallible {
    let mut reported = 0;
    loop {
        tokio::time::sleep(Duration::from_secs(5)).await;
        metrics.run_upkeep();
        let lost = globals.log_lines_lost();
        homing_telemetry::metrics::log_lines_lost(lost);
        if lost > reported {
            homing_telemetry::log_events::log_lines_lost(lost);
            reported = lost;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_shows_settings_as_json_too() {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let mut output = Output::new(&mut stdout, &mut stderr);
        output.json = true;
        check(&Settings::from_toml("").unwrap(), &mut output).unwrap();
        let shown: Value = serde_json::from_slice(&stdout).unwrap();
        assert_eq!(shown["broker.prefix"], "homing");
        assert_eq!(shown["worker.max_in_flight"], 1_024);
        assert_eq!(shown["broker.url"], "amqp://guest:****@127.0.0.1:5672");
    }
}
