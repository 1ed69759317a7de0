//! The audit: a record of every change that someone made, with the one who made it.
//!
//! A record never holds a secret: [`difference`](Change::difference) is masked where it is made.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{record::RecordId, time::UnixMillis};

/// Bytes of one value of a difference, as JSON; a longer one is cut.
pub const MAX_VALUE_BYTES: usize = 2_048;

/// The one who makes a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The way in which it is made.
    pub via: Via,
    /// The name of a token, `user@host` of a command, or one of those that no token gets.
    pub name: String,
    /// The address of the client; `None`: a command, or homing itself.
    pub address: Option<String>,
    /// The client's own id of its request (`x-request-id`).
    pub request: Option<String>,
}

impl Actor {
    /// The name of the holder of a token of the settings.
    pub const CONFIGURED: &str = "api.tokens";
    /// The name of homing itself.
    pub const HOMING: &str = "homing";
    /// The name of a client of this machine that needs no token.
    pub const LOOPBACK: &str = "loopback";
}

impl Default for Actor {
    /// homing itself, or a program that uses its crates.
    fn default() -> Self {
        Self { via: Via::Process, name: Self::HOMING.to_owned(), address: None, request: None }
    }
}

/// The text is none of the words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("one of {0}")]
pub struct AuditWordError(String);

/// An enum whose variants are written as words.
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[derive(utoipa::ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Its word.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = AuditWordError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let known = Self::ALL.iter().copied().find(|one| one.as_str() == text);
                let words = || Self::ALL.iter().map(|one| one.as_str()).collect::<Vec<_>>();
                known.ok_or_else(|| AuditWordError(words().join(", ")))
            }
        }
    };
}

words! {
    /// The way in which a change is made.
    Via {
        /// The HTTP API.
        Api = "api",
        /// The HTTP API in the form of Workfront's.
        Workfront = "workfront",
        /// The dashboard.
        Dashboard = "dashboard",
        /// A command.
        Cli = "cli",
        /// homing itself, or a program that uses its crates.
        Process = "process",
    }
}

words! {
    /// The kind of object that is changed.
    ObjectKind {
        /// A subscription, by its id.
        Subscription = "subscription",
        /// An endpoint, by its URL.
        Endpoint = "endpoint",
        /// Parked deliveries, by the selection.
        Parked = "parked",
        /// A replay of the archive, by its id.
        Replay = "replay",
        /// A source, by its name.
        Source = "source",
        /// An API token, by its name.
        Token = "token",
        /// The keys of the store, by the id of the primary one.
        Keys = "keys",
        /// Queues and exchanges at the broker, by their prefix.
        Topology = "topology",
    }
}

words! {
    /// The change.
    Action {
        /// It was created.
        Created = "created",
        /// Its fields were changed.
        Updated = "updated",
        /// It was deleted.
        Deleted = "deleted",
        /// Its circuit was closed.
        Enabled = "enabled",
        /// Its circuit was frozen.
        Disabled = "disabled",
        /// A probe was made due.
        Probed = "probed",
        /// A source is not read any more; nothing is sent to an endpoint for a while.
        Paused = "paused",
        /// It is read again.
        Resumed = "resumed",
        /// Its next connect begins at one end of the data.
        Reset = "reset",
        /// It was stopped.
        Stopped = "stopped",
        /// It came to its end.
        Ended = "ended",
        /// They were sent again.
        Replayed = "replayed",
        /// They were dropped for ever.
        Dropped = "dropped",
        /// Everything was encrypted anew.
        Rotated = "rotated",
        /// Missing parts were created.
        Applied = "applied",
    }
}

words! {
    /// The result of a change.
    ChangeResult {
        /// It was made.
        Done = "done",
        /// It is under way, its process was killed, or the store did not take its end.
        Begun = "begun",
        /// It was stopped before its end; what was done until then stays done.
        Stopped = "stopped",
        /// It failed; what was done until then stays done.
        Failed = "failed",
    }
}

/// A change, but not who made it and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The kind of the object.
    pub kind: ObjectKind,
    /// Its id, URL or name.
    pub object: String,
    /// The change.
    pub action: Action,
    /// By field: its value `before` and `after`, masked where it is secret. Other facts, such as
    /// counts, by their name.
    pub difference: Map<String, Value>,
    /// The result.
    pub result: ChangeResult,
}

impl Change {
    /// A change that is made, without a difference.
    #[must_use]
    pub fn new(kind: ObjectKind, object: impl Into<String>, action: Action) -> Self {
        let (object, result) = (object.into(), ChangeResult::Done);
        Self { kind, object, action, difference: Map::new(), result }
    }

    /// The same with a difference.
    #[must_use]
    pub fn with(self, difference: Map<String, Value>) -> Self {
        Self { difference, ..self }
    }

    /// The same with another result.
    #[must_use]
    pub fn resulting(self, result: ChangeResult) -> Self {
        Self { result, ..self }
    }

    /// The topic of the event that announces it: `homing.audit.subscription.created`.
    #[must_use]
    pub fn topic(&self) -> String {
        format!("homing.audit.{}.{}", self.kind, self.action)
    }
}

/// A field that changes from `before` to `after`.
#[must_use]
pub fn from_to(before: impl Into<Value>, after: impl Into<Value>) -> Value {
    json!({ "before": cut(before.into()), "after": cut(after.into()) })
}

/// `value`, or the beginning of its text if that is longer than [`MAX_VALUE_BYTES`].
fn cut(value: Value) -> Value {
    let text = value.to_string();
    if text.len() <= MAX_VALUE_BYTES {
        return value;
    }
    let end = (0..=MAX_VALUE_BYTES).rev().find(|end| text.is_char_boundary(*end));
    let kept = end.and_then(|end| text.get(..end)).unwrap_or_default();
    Value::String(format!("{kept}…"))
}

/// A change, who made it, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditRecord {
    /// A `UUIDv7` of the instant at which it was made.
    pub id: RecordId,
    /// The one who made it.
    pub actor: Actor,
    /// The change.
    pub change: Change,
}

impl AuditRecord {
    /// The instant at which the change was made.
    #[must_use]
    pub fn at(&self) -> UnixMillis {
        self.id.started()
    }
}

/// A record as it is shown and announced.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = AuditRecord)]
pub struct View {
    /// Its id.
    pub id: RecordId,
    /// The instant of the change; RFC 3339.
    pub at: String,
    /// The way in which it was made.
    pub via: Via,
    /// The name of a token, `api.tokens` for one of the settings, `loopback` for a request without
    /// one, `user@host` of a command, or `homing`.
    pub actor: String,
    /// The address of the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// `x-request-id` of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// The kind of the object.
    pub kind: ObjectKind,
    /// Its id, URL or name.
    pub object: String,
    /// The change.
    pub action: Action,
    /// By field: its value `before` and `after`, masked where it is secret; counts by their name.
    pub difference: Map<String, Value>,
    /// The result; `begun`: it is under way, its process was killed, or the store did not take its
    /// end.
    pub result: ChangeResult,
}

impl View {
    /// The difference in words, one text for each field: `state: closed → frozen`.
    #[must_use]
    pub fn fields(&self) -> Vec<String> {
        let field =
            |(name, value): (&String, &Value)| match (value.get("before"), value.get("after")) {
                (Some(before), Some(after)) => {
                    format!("{name}: {} → {}", in_words(before), in_words(after))
                }
                _ => format!("{name}: {}", in_words(value)),
            };
        self.difference.iter().map(field).collect()
    }
}

fn in_words(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

impl From<AuditRecord> for View {
    fn from(record: AuditRecord) -> Self {
        let at = record.at().to_string();
        let AuditRecord { id, actor, change } = record;
        let Actor { via, name: actor, address, request } = actor;
        let Change { kind, object, action, difference, result } = change;
        Self { id, at, via, actor, address, request, kind, object, action, difference, result }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_they_are_written() {
        for kind in ObjectKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(*kind));
            assert_eq!(json!(kind), json!(kind.as_str()));
        }
        for action in Action::ALL {
            assert_eq!(action.as_str().parse(), Ok(*action));
            assert_eq!(json!(action), json!(action.as_str()));
        }
        let error = "robot".parse::<Via>().unwrap_err().to_string();
        insta::assert_snapshot!(error, @"one of api, workfront, dashboard, cli, process");
    }

    #[test]
    fn a_long_value_is_cut_between_two_letters() {
        let long = "ä".repeat(MAX_VALUE_BYTES);
        let change = from_to(long.as_str(), "short");
        let kept = change["before"].as_str().unwrap();
        assert!(kept.len() < MAX_VALUE_BYTES + 8 && kept.ends_with('…'), "{}", kept.len());
        assert_eq!(change["after"], "short");
    }
}
