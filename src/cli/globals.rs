//! Options of every command: the settings in force, and the amount of logging.

use std::{ffi::OsString, path::PathBuf, sync::OnceLock};

use clap::ArgAction;
use tracing::{debug, warn};

use super::{
    actor,
    failure::Failure,
    remote::Remote,
    target::{Needs, Target},
};
use crate::{
    config::{
        IgnoredVariable, LogSettings, LooseFile, Profile, ProfileError, Renamed, Settings,
        profile_file,
    },
    services::Services,
    telemetry::{self, Logging},
};
use homing_broker::{Broker, settings::BrokerSettings, topology::Topology};
use homing_delivery::worker::layout;
use homing_domain::{report::Chain, settings::SettingsError};
use homing_store::StoreError;

#[derive(clap::Args)]
#[command(next_help_heading = "Options of every command")]
pub(super) struct Globals {
    /// Settings file; without it homing.toml, or else /etc/homing/homing.toml
    #[arg(long, global = true, env = "HOMING_CONFIG", hide_env = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Change one setting; may be repeated
    #[arg(long, global = true, value_name = "KEY=VALUE", value_parser = key_and_value)]
    #[arg(help = "Change one setting, e.g. worker.max_in_flight=64; may be repeated")]
    set: Vec<(String, String)>,
    /// The broker, short for --set broker.url=URL
    #[arg(long, global = true, value_name = "URL")]
    broker: Option<String>,
    /// The store, short for --set store.url=URL
    #[arg(long, global = true, value_name = "URL")]
    store: Option<String>,
    /// Have the work done by the running homing at this URL
    #[arg(long, global = true, env = "HOMING_API", hide_env = true, value_name = "URL")]
    api: Option<String>,
    /// A file with a token for it
    #[arg(long, global = true, env = "HOMING_TOKEN_FILE", hide_env = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The same by its name in ~/.config/homing/profiles.toml
    #[arg(long, global = true, env = "HOMING_PROFILE", hide_env = true, value_name = "NAME")]
    profile: Option<String>,
    /// Answer with one JSON document
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Log what homing does to standard error; twice: every detail
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "quiet")]
    verbose: u8,
    /// Log nothing
    #[arg(short, long, global = true)]
    quiet: bool,
    /// The words of the command: `parked list`.
    #[arg(skip)]
    pub(super) command: String,
    /// Log lines are written as long as this lives: to the end of the command
    #[arg(skip)]
    logging: OnceLock<Logging>,
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .filter(|(key, _)| key.contains('.'))
        .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
        .ok_or_else(|| "write it as section.key=value".to_owned())
}

impl Globals {
    /// True if there are settings both before and after the command, of which clap keeps only the
    /// latter.
    pub(super) fn has_lost_some(&self, arguments: &[OsString]) -> bool {
        let is_set = |text: &&OsString| {
            text.as_encoded_bytes()
                .strip_prefix(b"--set")
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"="))
        };
        let options = arguments.iter().take_while(|text| *text != "--");
        options.filter(is_set).count() > self.set.len()
    }

    /// The homing that does the work, if it is not done here; nothing is connected yet.
    ///
    /// # Errors
    ///
    /// There is no such profile, or a flag is for work that is done here.
    pub(super) fn remote(&self) -> Result<Option<Remote>, Failure> {
        if !self.is_remote() {
            return Ok(None);
        }
        if self.api.is_some() && self.profile.is_some() {
            // One of them may be in the environment: its token, or its data, would be another's.
            let text = "--api (or HOMING_API) and --profile (or HOMING_PROFILE) name an installation \
                        each; give one of them";
            return Err(Failure::Usage(text.to_owned()));
        }
        let given = [
            ("--config", self.config.is_some()),
            ("--set", !self.set.is_empty()),
            ("--broker", self.broker.is_some()),
            ("--store", self.store.is_some()),
        ];
        if let Some((flag, _)) = given.iter().find(|(_, is_given)| *is_given) {
            let text = format!(
                "{flag} is for work that is done here; over --api (or --profile, HOMING_API, \
                 HOMING_PROFILE) the running homing has its own settings"
            );
            return Err(Failure::Usage(text));
        }
        let mut profile = match &self.profile {
            Some(name) => {
                let file = profile_file().ok_or(Failure::Profile(ProfileError::NoPlace))?;
                Profile::load(&file, name).map_err(Failure::Profile)?
            }
            None => Profile { api: self.api.clone().unwrap_or_default(), ..Profile::default() },
        };
        profile.token_file = self.token_file.clone().or(profile.token_file);
        Remote::new(&profile).map(Some)
    }

    /// Has nothing logged.
    pub(super) fn silence(&mut self) {
        self.quiet = true;
    }

    fn is_remote(&self) -> bool {
        self.api.is_some() || self.profile.is_some()
    }

    /// Runs `work` on a running homing, or with the services that it `needs` here.
    pub(super) async fn with_target<T>(
        &self,
        needs: Needs,
        work: impl AsyncFnOnce(Target<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        if let Some(remote) = self.remote()? {
            return Box::pin(work(Target::There(&remote))).await;
        }
        let here = async |services: &Services| work(Target::Here(services)).await;
        match needs {
            Needs::Services => self.with_services(here).await,
            Needs::Passive => self.with_passive_services(here).await,
            Needs::Existing => self.with_existing_services(here).await,
        }
    }

    /// The settings in force. Whatever is done here begins with them, so that a command that is not
    /// offered over the API is never done here in its place.
    pub(super) fn settings(&self) -> Result<Settings, Failure> {
        if self.is_remote() {
            return Err(Failure::NotOverApi(self.command.clone()));
        }
        let mut overrides: Vec<_> =
            self.set.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
        overrides.extend(self.broker.clone().map(|url| ("broker.url", url)));
        overrides.extend(self.store.clone().map(|url| ("store.url", url)));
        Settings::load(self.config.as_deref(), &overrides).map_err(Failure::Settings)
    }

    /// True if a flag or a variable names the broker, be it that of the defaults.
    pub(super) fn names_broker(&self) -> bool {
        let is_of_broker = |(key, _): &(String, String)| key.starts_with("broker.url");
        let variables = ["HOMING__BROKER__URL", "HOMING__BROKER__URL_FILE"];
        self.broker.is_some()
            || self.set.iter().any(is_of_broker)
            || variables.iter().any(|name| std::env::var_os(name).is_some())
    }

    /// The settings in force, and warnings on standard error from now on.
    pub(super) fn settings_of_command(&self) -> Result<Settings, Failure> {
        let settings = self.settings()?;
        self.log(&settings, "homing=warn")?;
        Ok(settings)
    }

    /// Turns on logging; at `level`, unless a flag says otherwise.
    pub(super) fn log(&self, settings: &Settings, level: &str) -> Result<(), Failure> {
        let level = self.level(&settings.log.level, level);
        let log = LogSettings { format: settings.log.format, level };
        let logging = telemetry::init(&log).map_err(Failure::Settings)?;
        // There is no second one: `init` would have failed.
        self.logging.get_or_init(|| logging);
        let broker = settings.broker.locations().join(" ");
        debug!(broker, store = homing_store::location(&settings.store), "settings.in_force");
        Ok(())
    }

    /// Warns of former names, of variables that are ignored, and of files with secrets that others
    /// on this machine can read.
    pub(super) fn warn_of_settings(&self, settings: &Settings) {
        for Renamed { former, name } in &settings.renamed {
            if let Some(name) = name {
                warn!(
                    former,
                    name, "settings.renamed: the former name still works; use the new one"
                );
            } else {
                warn!(former, "settings.removed: it has no effect any more; remove it");
            }
        }
        for IgnoredVariable { name, message } in &settings.ignored {
            warn!(name, message, "settings.variable_ignored: it is malformed; correct or unset it");
        }
        for LooseFile { file, mode } in settings.loose_files(self.config.as_deref()) {
            let (file, mode) = (file.display(), format!("{mode:03o}"));
            warn!(
                %file,
                mode,
                "settings.file_is_loose: it holds secrets, and other users can read or change it; `chmod 600` it"
            );
        }
    }

    /// The number of log lines that were lost because they were not read in time.
    pub(super) fn log_lines_lost(&self) -> u64 {
        self.logging.get().map_or(0, Logging::lost)
    }

    /// More of homing's own events; the libraries stay as `log.level` (`configured`) has them.
    fn level(&self, configured: &str, default: &str) -> String {
        match (self.quiet, self.verbose) {
            (true, _) => "off".to_owned(),
            (false, 0) => default.to_owned(),
            (false, 1) => format!("{configured},homing=debug"),
            (false, _) => format!("{configured},homing=trace"),
        }
    }

    /// Runs `work` with all services, of which none is connected yet, and closes them.
    pub(super) async fn with_services<T>(
        &self,
        work: impl AsyncFnOnce(&Services) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let settings = self.settings_of_command()?;
        let services = Box::pin(Services::open(settings)).await.map_err(Failure::Start)?;
        Box::pin(closing(services, work)).await
    }

    /// As [`with_services`](Self::with_services), with a broker at which nothing is declared, so that
    /// no prefix leaves queues behind.
    async fn with_passive_services<T>(
        &self,
        work: impl AsyncFnOnce(&Services) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let settings = self.settings_of_command()?;
        let services = Box::pin(Services::open_passive(settings)).await.map_err(Failure::Start)?;
        Box::pin(closing(services, work)).await
    }

    /// As [`with_passive_services`](Self::with_passive_services), for what workers have put into the
    /// store: an empty one is never created.
    pub(super) async fn with_existing_services<T>(
        &self,
        work: impl AsyncFnOnce(&Services) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let settings = self.settings_of_command()?;
        let services = Box::pin(Services::open_existing(settings)).await.map_err(Failure::Start)?;
        Box::pin(closing(services, work)).await
    }

    /// The broker alone, connected, with its topology declared, for commands that need no store.
    pub(super) async fn connected_broker(&self) -> Result<(Settings, Broker), Failure> {
        self.connect(Broker::new).await
    }

    async fn connect(
        &self,
        build: fn(&BrokerSettings, Topology) -> Result<Broker, SettingsError>,
    ) -> Result<(Settings, Broker), Failure> {
        let settings = self.settings_of_command()?;
        let schedules = settings.schedule.schedules().map_err(Failure::Settings)?;
        let topology = Topology::new(&settings.broker.prefix, schedules.waits())
            .with_slots(settings.source.slots())
            .with_held_queues(settings.held.queues)
            .with_archive(settings.archive.retention())
            .with_shards(settings.broker.shards);
        let broker = build(&settings.broker, topology)
            .map_err(Failure::Settings)?
            .with_rules(settings.events);
        broker.connect().await.map_err(Failure::Broker)?;
        Ok((settings, broker))
    }
}

async fn closing<T>(
    services: Services,
    work: impl AsyncFnOnce(&Services) -> Result<T, Failure>,
) -> Result<T, Failure> {
    // What a command changes is on record as made by its user.
    let ended = work(&services.by(&actor::of_command())).await;
    services.close().await;
    ended
}

/// Remembers the queues that connecting may create, so that they are found after no schedule needs
/// them any more.
pub(super) async fn remember_queues(services: &Services) -> Result<(), StoreError> {
    // Boxed, or the future of every command is as large as this one.
    let prepared = Box::pin(layout::prepare(&services.broker, services.store.as_ref()));
    prepared.await.inspect_err(|error| {
        tracing::warn!(error = %Chain(error), "topology.not_remembered");
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use tracing_subscriber::EnvFilter;

    use super::*;

    #[derive(Parser)]
    struct Alone {
        #[command(flatten)]
        globals: Globals,
    }

    fn level(arguments: &[&str]) -> String {
        let arguments = ["homing"].iter().chain(arguments);
        let level = Alone::parse_from(arguments).globals.level("info,lapin=off", "homing=warn");
        EnvFilter::try_new(&level).unwrap().to_string()
    }

    #[test]
    fn verbosity_applies_to_homing_and_not_to_libraries() {
        assert_eq!(level(&[]), "homing=warn");
        assert_eq!(level(&["-q"]), "off");
        assert_eq!(level(&["-v"]), "homing=debug,lapin=off,info");
        assert_eq!(level(&["-vv"]), "homing=trace,lapin=off,info");
    }
}
