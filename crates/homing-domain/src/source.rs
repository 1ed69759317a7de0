//! What is remembered of a source: whether it is read, and what its connections do.

use std::{fmt, str::FromStr};

use serde::Serialize;

use super::time::UnixMillis;

/// Whether a source is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SourceStatus {
    /// It is.
    #[default]
    Running,
    /// A person wants it not to be.
    Paused,
    /// The service refused for good; it is read again when its settings change or a person asks.
    Stopped {
        /// What the service answered, for people.
        reason: String,
        /// The settings it was refused with; see [`SourceState::is_read_with`].
        fingerprint: String,
    },
}

impl SourceStatus {
    /// `running`, `paused` or `stopped`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped { .. } => "stopped",
        }
    }
}

/// What is remembered of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceState {
    /// Whether it is read.
    pub status: SourceStatus,
    /// Since when.
    pub since: UnixMillis,
    /// What the next connect asks for; a person wants it.
    pub reset: Option<Reset>,
}

impl SourceState {
    /// Whether a source with settings of this fingerprint is read.
    #[must_use]
    pub fn is_read_with(&self, settings: &str) -> bool {
        match &self.status {
            SourceStatus::Running => true,
            SourceStatus::Paused => false,
            SourceStatus::Stopped { fingerprint, .. } => fingerprint != settings,
        }
    }
}

/// Where a stream begins anew. It throws away what the service keeps for the next connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reset {
    /// With the oldest data there is.
    Smallest,
    /// With the newest.
    Largest,
}

impl Reset {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Smallest, Self::Largest];

    /// As the service calls it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Smallest => "smallest",
            Self::Largest => "largest",
        }
    }
}

impl fmt::Display for Reset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Neither of the two.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`smallest` (the oldest data there is) or `largest` (the newest)")]
pub struct ResetError;

impl FromStr for Reset {
    type Err = ResetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|reset| reset.as_str() == text).ok_or(ResetError)
    }
}

/// What is done with one of the connections that a source may have at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Nothing: no process has it.
    Free,
    /// Not yet connected, or not yet again.
    Waiting,
    /// About to be connected.
    Connecting,
    /// Read.
    Connected,
}

impl Phase {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Free, Self::Waiting, Self::Connecting, Self::Connected];

    /// As it is stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Waiting => "waiting",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
        }
    }
}

/// A slot: one of the connections that a source may have at once, as its holder last told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotReport {
    /// From 1 to `max_connections`.
    pub slot: u8,
    /// Which process has it, or had it last; for people.
    pub holder: String,
    /// What it does.
    pub phase: Phase,
    /// Since when.
    pub since: UnixMillis,
    /// No connect before, whoever has it.
    pub not_before: Option<UnixMillis>,
    /// Why it is not connected, or what is remarkable; for people.
    pub detail: Option<String>,
    /// Records of the present connection.
    pub records: u64,
    /// When the holder last told of it.
    pub seen: UnixMillis,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_service_refused_is_tried_again_with_other_settings_only() {
        let stopped =
            SourceStatus::Stopped { reason: "403".to_owned(), fingerprint: "a".to_owned() };
        let state = SourceState { status: stopped, ..SourceState::default() };
        assert!(!state.is_read_with("a"));
        assert!(state.is_read_with("b"));
        let paused = SourceState { status: SourceStatus::Paused, ..SourceState::default() };
        assert!(!paused.is_read_with("b"));
    }
}
