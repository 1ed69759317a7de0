//! The stored state of a source, and of its connections.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::time::UnixMillis;

/// The status of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SourceStatus {
    /// It is read.
    #[default]
    Running,
    /// An operator paused it.
    Paused,
    /// The service refused permanently; it is read again when its settings change or an operator
    /// asks.
    Stopped {
        /// The service's answer, for operators.
        reason: String,
        /// The settings that it was refused with; see [`SourceState::is_read_with`].
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

/// The stored state of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceState {
    /// Its status.
    pub status: SourceStatus,
    /// The start of its status.
    pub since: UnixMillis,
    /// The reset that an operator requested for the next connect.
    pub reset: Option<Reset>,
}

impl SourceState {
    /// True if a source with settings of this fingerprint is read.
    #[must_use]
    pub fn is_read_with(&self, settings: &str) -> bool {
        match &self.status {
            SourceStatus::Running => true,
            SourceStatus::Paused => false,
            SourceStatus::Stopped { fingerprint, .. } => fingerprint != settings,
        }
    }
}

/// The position where a stream starts anew. It discards what the service keeps for the next
/// connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reset {
    /// Start with the oldest available data.
    Smallest,
    /// Start with the newest data.
    Largest,
    /// As [`Self::Smallest`], in the words of Adobe's newer pages.
    Earliest,
    /// As [`Self::Largest`], in the words of Adobe's newer pages.
    Latest,
}

impl Reset {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Smallest, Self::Largest, Self::Earliest, Self::Latest];

    /// The service's name for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Smallest => "smallest",
            Self::Largest => "largest",
            Self::Earliest => "earliest",
            Self::Latest => "latest",
        }
    }
}

impl fmt::Display for Reset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// None of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`smallest` or `earliest` (the oldest data there is), `largest` or `latest` (the newest); \
     which words a stream takes depends on its version"
)]
pub struct ResetError;

impl FromStr for Reset {
    type Err = ResetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|reset| reset.as_str() == text).ok_or(ResetError)
    }
}

/// The phase of one of the connections that a source may have at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// No process has it.
    Free,
    /// Not yet connected, or not yet again.
    Waiting,
    /// About to be connected.
    Connecting,
    /// Being read.
    Connected,
}

impl Phase {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Free, Self::Waiting, Self::Connecting, Self::Connected];

    /// The form in the store and in lists.
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

/// A slot: one of the connections that a source may have at once, as last reported by its holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotReport {
    /// From 1 to `max_connections`.
    pub slot: u8,
    /// The process that has it, or had it last; for operators.
    pub holder: String,
    /// Its phase.
    pub phase: Phase,
    /// The start of its phase.
    pub since: UnixMillis,
    /// No connect before this, by any process.
    pub not_before: Option<UnixMillis>,
    /// The reason for not being connected, or another note; for operators.
    pub detail: Option<String>,
    /// Records of the current connection.
    pub records: u64,
    /// The time of the holder's last report.
    pub seen: UnixMillis,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_source_is_tried_again_only_with_other_settings() {
        let stopped =
            SourceStatus::Stopped { reason: "403".to_owned(), fingerprint: "a".to_owned() };
        let state = SourceState { status: stopped, ..SourceState::default() };
        assert!(!state.is_read_with("a"));
        assert!(state.is_read_with("b"));
        let paused = SourceState { status: SourceStatus::Paused, ..SourceState::default() };
        assert!(!paused.is_read_with("b"));
    }
}
