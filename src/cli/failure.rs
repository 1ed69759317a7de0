//! Failures of commands: their texts and exit codes.

use std::{io, process::ExitCode};

use super::remote::RemoteError;
use crate::{config::ProfileError, registry::RegistryError, services::StartError};
use homing_broker::error::BrokerError;
use homing_delivery::{
    archive::ArchiveError,
    circuits::CircuitReplayError,
    endpoint::{EndpointSetupError, RequestError},
    parking::ParkingError,
};
use homing_domain::{report::Chain, settings::SettingsError, subscription::FieldError};
use homing_livestream::SourceAdminError;
use homing_store::StoreError;

/// The exit code of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// 0: done.
    Done,
    /// 1: failed, wholly or in part; reported on standard error.
    Failed,
    /// 2: wrong usage or settings; nothing was done.
    Misused,
    /// 3: a check found something wrong.
    Unsound,
}

impl Exit {
    /// Its number.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Misused => 2,
            Self::Unsound => 3,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// The reason why a command failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The arguments contradict each other or cannot be read.
    #[error("{0}")]
    Usage(String),
    /// The settings cannot be read or make no sense.
    #[error(transparent)]
    Settings(SettingsError),
    /// A field of a subscription is wrong.
    #[error(transparent)]
    Field(FieldError),
    /// A running homing refused, or cannot be reached.
    #[error(transparent)]
    Remote(Box<RemoteError>),
    /// There is no such profile.
    #[error(transparent)]
    Profile(ProfileError),
    /// The command has no counterpart in the API.
    #[error(
        "not over --api yet: `homing {0}` works on the store and the broker of its own settings; \
         run it where they are, without --api, --profile, HOMING_API and HOMING_PROFILE"
    )]
    NotOverApi(String),
    /// The parts of the program cannot be set up.
    #[error(transparent)]
    Start(StartError),
    /// The broker is unavailable, or refused.
    #[error(transparent)]
    Broker(BrokerError),
    /// The store is unavailable, or refused.
    #[error(transparent)]
    Store(StoreError),
    /// The subscription was not created, updated or found.
    #[error(transparent)]
    Registry(RegistryError),
    /// Parked deliveries could not be read or acted on.
    #[error(transparent)]
    Parking(ParkingError),
    /// The deliveries that a circuit had parked are not counted, or not all of them replayed.
    #[error(transparent)]
    ParkedByCircuit(CircuitReplayError),
    /// No request can be made from this machine.
    #[error("endpoints cannot be called")]
    Endpoints(#[source] EndpointSetupError),
    /// There was no attempt; the endpoint saw nothing.
    #[error("no request was made")]
    Request(#[source] RequestError),
    /// Metrics cannot be kept.
    #[error("metrics cannot be kept")]
    Metrics(#[source] metrics_exporter_prometheus::BuildError),
    /// A file, or standard input.
    #[error("cannot read {what}")]
    Read {
        /// Its name as given.
        what: String,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
    /// A file that is written.
    #[error("cannot write {what}")]
    Write {
        /// Its name as given.
        what: String,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
    /// Standard output.
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
    /// The source was not found or set.
    #[error(transparent)]
    Source(SourceAdminError),
    /// A replay was not begun, found or changed.
    #[error(transparent)]
    Archive(ArchiveError),
    /// An address at which requests are to be taken.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
    /// Signals cannot be received.
    #[error("cannot wait for signals")]
    Signals(#[source] io::Error),
    /// The requested object does not exist.
    #[error("{0}")]
    NotFound(String),
    /// A name that something else has.
    #[error("{0}")]
    Taken(String),
    /// The benchmark did not finish; the text says what to do.
    #[error("{0}")]
    Bench(String),
    /// The operating system has no randomness to give.
    #[error("no secret can be generated")]
    Randomness(#[source] getrandom::Error),
}

impl Failure {
    /// The exit code. A reader that closes our output has read enough, which is no failure.
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Remote(error) => error.exit(),
            Self::Usage(_)
            | Self::Settings(_)
            | Self::Field(_)
            | Self::Profile(_)
            | Self::NotOverApi(_)
            | Self::Archive(ArchiveError::Field(_))
            | Self::Start(StartError::Settings(_) | StartError::NoToken { .. })
            | Self::Registry(
                RegistryError::Field(_)
                | RegistryError::Fields(_)
                | RegistryError::OriginChanged { .. },
            ) => Exit::Misused,
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
            Self::Start(_)
            | Self::Broker(_)
            | Self::Store(_)
            | Self::Registry(_)
            | Self::Parking(_)
            | Self::ParkedByCircuit(_)
            | Self::Endpoints(_)
            | Self::Request(_)
            | Self::Metrics(_)
            | Self::Read { .. }
            | Self::Write { .. }
            | Self::Output(_)
            | Self::Source(_)
            | Self::Archive(_)
            | Self::Listen { .. }
            | Self::Signals(_)
            | Self::NotFound(_)
            | Self::Taken(_)
            | Self::Bench(_)
            | Self::Randomness(_) => Exit::Failed,
        }
    }

    /// The error with all its causes and what to do about it, on one line.
    pub(super) fn report(&self) -> String {
        let mut text = one_line(&Chain(self).to_string());
        if let Some(advice) = self.advice() {
            text.push_str("; ");
            text.push_str(advice);
        }
        text
    }

    /// Advice, where the error does not give it itself.
    fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Settings(SettingsError::Read(_) | SettingsError::File { .. })
            | Self::Start(StartError::Settings(
                SettingsError::Read(_) | SettingsError::File { .. },
            )) => Some("`homing config` lists every key"),
            Self::Start(StartError::Listen { source, .. })
                if source.kind() == io::ErrorKind::AddrInUse =>
            {
                Some("is another homing running? start further workers with --role worker")
            }
            Self::Registry(RegistryError::NotFound { .. }) => {
                Some("`homing subscriptions list` lists the existing ones")
            }
            Self::Registry(RegistryError::Duplicate { .. }) => {
                Some("keep that one, or delete it first")
            }
            Self::Registry(RegistryError::OriginChanged { .. }) => {
                Some("here: --auth-token-file, --header, --secret-file, --clear; or --keep-secrets")
            }
            Self::Broker(
                BrokerError::TimedOut { .. } | BrokerError::Step { .. } | BrokerError::Lost { .. },
            )
            | Self::Parking(ParkingError::Broker(_))
            | Self::ParkedByCircuit(CircuitReplayError::Parking(ParkingError::Broker(_))) => {
                Some("`homing status` shows how the broker is")
            }
            Self::Usage(_)
            | Self::Settings(_)
            | Self::Field(_)
            | Self::Remote(_)
            | Self::Profile(_)
            | Self::NotOverApi(_)
            | Self::Start(_)
            | Self::Broker(_)
            | Self::Store(_)
            | Self::Registry(_)
            | Self::Parking(_)
            | Self::ParkedByCircuit(_)
            | Self::Endpoints(_)
            | Self::Request(_)
            | Self::Metrics(_)
            | Self::Read { .. }
            | Self::Write { .. }
            | Self::Output(_)
            | Self::Source(_)
            | Self::Archive(_)
            | Self::Listen { .. }
            | Self::Signals(_)
            | Self::NotFound(_)
            | Self::Taken(_)
            | Self::Bench(_)
            | Self::Randomness(_) => None,
        }
    }
}

/// Some libraries draw their errors over several lines, with bars and arrows.
pub(super) fn one_line(text: &str) -> String {
    let drawing =
        |line: &&str| line.is_empty() || line.chars().all(|c| matches!(c, '|' | '^' | ' '));
    let mut joined = String::new();
    for line in text.lines().map(|line| line.trim_start_matches(['|', ' ']).trim_end()) {
        if drawing(&line) {
            continue;
        }
        if !joined.is_empty() {
            joined.push_str(if joined.ends_with(':') { " " } else { "; " });
        }
        joined.push_str(line);
    }
    joined
}

/// The error of clap on one line, with a hint to the help.
pub(super) fn usage_text(error: &clap::Error) -> String {
    let rendered = error.render().to_string();
    let before = |text: String, mark: &str| {
        text.split_once(mark).map(|(head, _)| head.to_owned()).unwrap_or(text)
    };
    let text = before(before(rendered, "\nUsage:"), "\nFor more information");
    let text = one_line(text.trim_start_matches("error: "));
    format!("{text}; `homing help` and `homing help COMMAND` say more")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    #[test]
    fn drawings_become_one_line() {
        let error = Settings::from_toml("[broker]\nurl = \n").unwrap_err();
        insta::assert_snapshot!(Failure::Settings(error).report(), @"the settings cannot be read from a text: TOML parse error at line 2, column 7: string values must be quoted, expected literal string; `homing config` lists every key");
    }

    #[test]
    fn a_misspelt_key_is_named_and_is_wrong_usage() {
        let error = Failure::Settings(Settings::from_toml("[broker]\nurll = \"x\"").unwrap_err());
        insta::assert_snapshot!(error.report(), @"`broker.urll`: there is no such setting; did you mean `broker.url`? `homing config` lists all");
        assert_eq!(error.exit(), Exit::Misused);
    }

    #[test]
    fn a_port_that_is_taken_may_be_another_homing() {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 8_080));
        let source = io::ErrorKind::AddrInUse.into();
        let error = Failure::Start(StartError::Listen { address, source });
        insta::assert_snapshot!(error.report(), @"cannot listen on 127.0.0.1:8080; set `api.listen` to another address: address in use; is another homing running? start further workers with --role worker");
    }

    #[test]
    fn a_reader_that_has_read_enough_is_no_failure() {
        let error = Failure::Output(io::ErrorKind::BrokenPipe.into());
        assert_eq!(error.exit(), Exit::Done);
    }
}
