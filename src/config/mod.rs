//! Settings: read once at start, unknown keys refused by name, checked by building what they
//! describe.
//!
//! Every crate with settings holds their keys, defaults and types; `default.toml` has those of the
//! program itself. All of them together are the reference for operators.

use std::{ffi::OsString, path::Path};

use serde::{Deserialize, Serialize};

mod api;
mod layers;
mod log;
mod modes;
mod open_telemetry;
mod profiles;
mod renamed;
mod show;
mod tables;
mod template;

use homing_broker::settings::{ArchiveSettings, BrokerSettings, EventsSettings};
use homing_delivery::settings::{
    AttemptsSettings, AuditSettings, CircuitSettings, EndpointSettings, HeldSettings,
    HistorySettings, LedgerSettings, ParkingSettings, ScheduleSettings, TracesSettings,
    WorkerSettings,
};
use homing_domain::settings::SettingsError;
use homing_livestream::settings::SourceSettings;
use homing_store::settings::StoreSettings;

use layers::{Layer, Layers};

pub use api::{ApiSettings, Colour};
pub use log::{LogFormat, LogSettings};
pub use modes::LooseFile;
pub use open_telemetry::IgnoredVariable;
pub use profiles::{Profile, ProfileError, profile_file};
pub use renamed::Renamed;
pub use template::template;

/// Every default with its comment: those of all crates, in one text.
pub const DEFAULTS: &str = concat!(
    include_str!("head.toml"),
    "\n",
    include_str!("../../crates/homing-broker/src/settings/defaults.toml"),
    "\n",
    include_str!("../../crates/homing-delivery/src/settings/defaults.toml"),
    "\n",
    include_str!("../../crates/homing-livestream/src/defaults.toml"),
    "\n",
    include_str!("../../crates/homing-store/src/defaults.toml"),
    "\n",
    include_str!("default.toml"),
);

/// The file that is read by default, if it exists.
const FILE_DEFAULT: &str = "homing.toml";

/// The file that is read where that one does not exist: of the service that a package installs.
const FILE_OF_MACHINE: &str = "/etc/homing/homing.toml";

/// The settings of an operator.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// `[broker]`
    pub broker: BrokerSettings,
    /// `[events]`
    pub events: EventsSettings,
    /// `[archive]`
    pub archive: ArchiveSettings,
    /// `[worker]`
    pub worker: WorkerSettings,
    /// `[endpoint]`
    pub endpoint: EndpointSettings,
    /// `[circuit]`
    pub circuit: CircuitSettings,
    /// `[held]`
    pub held: HeldSettings,
    /// `[parking]`
    pub parking: ParkingSettings,
    /// `[schedule]`
    pub schedule: ScheduleSettings,
    /// `[source]`
    pub source: SourceSettings,
    /// `[store]`
    pub store: StoreSettings,
    /// `[attempts]`
    pub attempts: AttemptsSettings,
    /// `[audit]`
    pub audit: AuditSettings,
    /// `[ledger]`
    pub ledger: LedgerSettings,
    /// `[history]`
    pub history: HistorySettings,
    /// `[api]`
    pub api: ApiSettings,
    /// `[traces]`
    pub traces: TracesSettings,
    /// `[log]`
    pub log: LogSettings,
    /// Settings that are written with a former name.
    #[serde(skip)]
    pub renamed: Vec<Renamed>,
    /// OpenTelemetry's variables that are malformed.
    #[serde(skip)]
    pub ignored: Vec<IgnoredVariable>,
}

impl Settings {
    /// Reads the defaults, OpenTelemetry's variables, `file` (or `homing.toml`, or that of the machine,
    /// where one exists), the environment, and `overrides` (dotted key, value), in this order.
    ///
    /// # Errors
    ///
    /// [`SettingsError`]: an unknown key, a wrong value, a missing file.
    pub fn load(file: Option<&Path>, overrides: &[(&str, String)]) -> Result<Self, SettingsError> {
        let named = file_or_default(file);
        let file = Layer::file(named, file.is_some())?;
        let variables = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        Layer::text(DEFAULTS)?.check_variables(variables)?;
        let above = vec![file, Layer::environment()?, Layer::flags(overrides)?];
        Self::with_variables(|name| std::env::var_os(name), above)
    }

    /// The defaults, OpenTelemetry's variables, and the layers `above` them.
    fn with_variables(
        variable: impl Fn(&str) -> Option<OsString>,
        above: Vec<Layer>,
    ) -> Result<Self, SettingsError> {
        let (settings, ignored) = open_telemetry::settings(variable);
        let mut layers = vec![Layer::text(DEFAULTS)?, Layer::flags(&settings)?];
        layers.extend(above);
        Ok(Self { ignored, ..Self::of(layers)? })
    }

    /// The defaults changed by `text` (TOML), without files and environment.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn from_toml(text: &str) -> Result<Self, SettingsError> {
        Self::of(vec![Layer::text(DEFAULTS)?, Layer::text(text)?])
    }

    fn of(layers: Vec<Layer>) -> Result<Self, SettingsError> {
        let layers = Layers(layers);
        let mut settings: Self =
            layers.merge()?.try_deserialize().map_err(|error| layers.misfit(error))?;
        settings.renamed = layers.renamed();
        settings.check().map_err(|error| layers.blame(error))?;
        Ok(settings)
    }

    /// Builds everything that can be built without I/O, so that a mistake in any section shows at
    /// start.
    fn check(&self) -> Result<(), SettingsError> {
        let sections = [
            self.broker.check(),
            self.archive.check(),
            self.worker.check(),
            self.worker.check_shards(self.broker.shards),
            self.endpoint.check(),
            self.circuit.check(),
            self.held.check(),
            self.parking.check(),
            self.schedule.schedules().map(drop),
            self.source.check(),
            self.store.check(),
            self.attempts.check(),
            self.audit.check(),
            self.ledger.check(),
            self.history.check(),
            self.traces.check(),
            self.api.check(),
        ];
        SettingsError::all(sections.into_iter().filter_map(Result::err).collect())
    }

    /// The settings in force as TOML lines `section.key = value`, secrets masked.
    #[must_use]
    pub fn shown(&self) -> String {
        show::lines(self)
    }
}

/// The settings file: the one that is named, or else a default one, which need not exist.
fn file_or_default(named: Option<&Path>) -> &Path {
    let (folder, machine) = (Path::new(FILE_DEFAULT), Path::new(FILE_OF_MACHINE));
    let default = if !folder.exists() && machine.exists() { machine } else { folder };
    named.unwrap_or(default)
}

#[cfg(test)]
mod tests;
