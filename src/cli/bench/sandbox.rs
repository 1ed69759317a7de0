//! The target of the load: queues at the configured broker and a store of the bench's own.

use std::{collections::BTreeMap, time::Duration};

use tempfile::TempDir;

use crate::{cli::failure::Failure, config::Settings};
use homing_broker::{Broker, claim::Claim, error::BrokerError, topology::Topology};
use homing_delivery::settings::ScheduleSettings;

/// The suffix of the installation's prefix. Long, so that no other installation has it: everything
/// below it is deleted.
const SUFFIX: &str = "homing-bench";
/// Long enough that nothing that failed comes again.
pub(super) const NEVER: Duration = Duration::from_secs(3_600);
/// After this, what failed comes again in a plan.
pub(super) const SOON: Duration = Duration::from_secs(1);

/// Queues and a folder for one run.
pub(super) struct Sandbox {
    /// The settings of all processes.
    pub(super) settings: Settings,
    claim: Claim,
    broker: Broker,
    _folder: TempDir,
}

impl Sandbox {
    /// Claims the queues, and deletes what a killed run left. What fails waits for `wait`.
    ///
    /// # Errors
    ///
    /// No broker, no permission, another run, or no room for temporary files.
    pub(super) async fn claim(settings: Settings, wait: Duration) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("homing-bench-").tempdir();
        let folder = folder.map_err(|source| Failure::Write {
            what: format!("a folder in {}; set TMPDIR to another", std::env::temp_dir().display()),
            source,
        })?;
        let file = folder.path().join("homing.db");
        let settings = disposable(settings, &file.display().to_string(), wait);
        // The wait queues of every kind of run, so that all of them are deleted.
        let topology = Topology::new(&settings.broker.prefix, [SOON, NEVER])
            .with_shards(settings.broker.shards);
        let broker = Broker::passive(&settings.broker, topology).map_err(Failure::Settings)?;
        let prefix = &settings.broker.prefix;
        let claimed = broker.claim().await.map_err(|error| refused(prefix, error))?;
        let claim = claimed.ok_or_else(|| {
            Failure::Taken(format!(
                "another `homing bench` runs on {prefix}; two would spoil each other's figures, so \
                 wait for it, or measure with another `broker.prefix`"
            ))
        })?;
        claim.clear().await.map_err(|error| refused(prefix, error))?;
        Ok(Self { settings, claim, broker, _folder: folder })
    }

    /// Deletes everything.
    pub(super) async fn clear(self) -> Result<(), Failure> {
        let cleared = self.claim.clear().await;
        let released = self.claim.release().await;
        self.broker.close().await;
        cleared.and(released).map_err(|error| {
            Failure::Bench(format!(
                "the queues are not all deleted; the next `homing bench` does that: {}",
                error.report()
            ))
        })
    }
}

/// The settings of a disposable installation like this one.
fn disposable(mut settings: Settings, store: &str, wait: Duration) -> Settings {
    settings.broker.prefix = format!("{}.{SUFFIX}", settings.broker.prefix);
    // A crash of the broker may take it all.
    settings.broker.new_queue_wait = Duration::ZERO;
    settings.schedule = ScheduleSettings::only("bench", &[wait]);
    settings.source.livestream = BTreeMap::new();
    settings.endpoint.allow_networks = vec!["127.0.0.0/8".to_owned()];
    settings.traces.collector = String::new();
    settings.held.queues = 0;
    settings.archive.enabled = false;
    settings.circuit.open_above_percent = 100;
    settings.circuit.open_at_consecutive_failures = u64::from(u32::MAX);
    settings.circuit.freeze_at_consecutive_failures = u64::from(u32::MAX);
    settings.store.url = format!("sqlite:{store}");
    settings.store.encryption_keys = Vec::new();
    settings.store.encryption_key_file = String::new();
    settings
}

/// Explains the most frequent cause: no permission for queues of other names.
pub(super) fn refused(prefix: &str, error: BrokerError) -> Failure {
    if !error.is_denied() {
        return Failure::Broker(error);
    }
    Failure::Bench(format!(
        "the account in `broker.url` may not have queues and exchanges called {prefix}.…; allow it to \
         configure, write and read them (`rabbitmqctl set_permissions`), or set another \
         `broker.prefix`: {}",
        error.report()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: nothing of the installation is used except its broker and its tuning.
    #[test]
    fn nothing_leads_to_data_of_the_installation() {
        let text = "[broker]\nprefix = \"shop\"\n[store]\nurl = \"postgres://db/homing\"\n\
                    [traces]\ncollector = \"http://127.0.0.1:4318\"\n\
                    [worker]\nmax_in_flight = 64\n";
        let before = Settings::from_toml(text).unwrap();
        let settings = disposable(before, "/tmp/x/homing.db", NEVER);
        assert_eq!(settings.broker.prefix, "shop.homing-bench");
        assert_eq!(settings.store.url, "sqlite:/tmp/x/homing.db");
        assert_eq!(settings.traces.collector, "");
        assert_eq!(settings.worker.max_in_flight, 64);
        let schedules = settings.schedule.schedules().unwrap();
        assert_eq!(schedules.waits().into_iter().collect::<Vec<_>>(), [NEVER]);
        settings.circuit.rules().unwrap();
    }
}
