//! `[schedule]`

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use homing_domain::schedule::Schedule;
use homing_domain::settings::{SettingsError, list};

/// The schedules that exist.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleSettings {
    /// The schedule of subscriptions that name none.
    pub default: String,
    /// Built-in schedules that subscriptions may name besides the default one.
    #[serde(deserialize_with = "list::texts")]
    pub offered: Vec<String>,
    /// Further schedules by name.
    #[serde(default)]
    pub custom: BTreeMap<String, Vec<WrittenWait>>,
}

/// A duration with units, inside a list.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WrittenWait(#[serde(with = "homing_domain::settings::duration")] Duration);

/// The schedules that subscriptions can name.
#[derive(Clone, Debug)]
pub struct Schedules {
    default: (String, Schedule),
    by_name: BTreeMap<String, Schedule>,
}

impl ScheduleSettings {
    /// One schedule and no other.
    #[must_use]
    pub fn only(name: &str, waits: &[Duration]) -> Self {
        let waits = waits.iter().copied().map(WrittenWait).collect();
        let custom = BTreeMap::from([(name.to_owned(), waits)]);
        Self { default: name.to_owned(), offered: Vec::new(), custom }
    }

    /// Validates the settings by building the schedules.
    ///
    /// # Errors
    ///
    /// [`SettingsError::Value`]: a name that does not exist or is built in, a list that is not a
    /// schedule.
    pub fn schedules(&self) -> Result<Schedules, SettingsError> {
        let mut by_name = BTreeMap::new();
        for (name, waits) in &self.custom {
            if built_in(name).is_some() {
                let message = format!("`{name}` is built in; choose another name");
                return Err(SettingsError::value("schedule.custom", message));
            }
            let waits: Vec<_> = waits.iter().map(|wait| wait.0).collect();
            let schedule = Schedule::new(&waits).map_err(|error| {
                SettingsError::value("schedule.custom", format!("{name}: {error}"))
            })?;
            by_name.insert(name.clone(), schedule);
        }
        for name in &self.offered {
            let schedule = built_in(name).ok_or_else(|| unknown("schedule.offered", name, &[]))?;
            by_name.insert(name.clone(), schedule);
        }
        let custom: Vec<_> = self.custom.keys().map(String::as_str).collect();
        let named = by_name.get(&self.default).cloned().or_else(|| built_in(&self.default));
        let default = named.ok_or_else(|| unknown("schedule.default", &self.default, &custom))?;
        by_name.insert(self.default.clone(), default.clone());
        Ok(Schedules { default: (self.default.clone(), default), by_name })
    }
}

/// Those that need no settings.
pub const BUILT_IN: [&str; 3] = ["workfront", "workfront-delay", "standard-webhooks"];

fn built_in(name: &str) -> Option<Schedule> {
    match name {
        "workfront" => Some(Schedule::workfront()),
        "workfront-delay" => Some(Schedule::workfront_delay()),
        "standard-webhooks" => Some(Schedule::standard_webhooks()),
        _ => None,
    }
}

fn unknown(key: &'static str, name: &str, custom: &[&str]) -> SettingsError {
    let names = [&BUILT_IN, custom].concat().join(", ");
    SettingsError::value(key, format!("no schedule `{name}`; one of {names}"))
}

impl Schedules {
    /// The schedule called `name`; the default one for `None`, and for a name that is no longer in
    /// the settings.
    #[must_use]
    pub fn get(&self, name: Option<&str>) -> &Schedule {
        name.and_then(|name| self.by_name.get(name)).unwrap_or(&self.default.1)
    }

    /// The schedule called exactly `name`.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Schedule> {
        self.by_name.get(name)
    }

    /// The name of the default schedule.
    #[must_use]
    pub fn default_name(&self) -> &str {
        &self.default.0
    }

    /// All names.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.by_name.keys().map(String::as_str).collect()
    }

    /// Every wait of every schedule that can be used, each once: the wait queues.
    #[must_use]
    pub fn waits(&self) -> BTreeSet<Duration> {
        self.by_name.values().flat_map(|schedule| schedule.waits().iter().copied()).collect()
    }
}
