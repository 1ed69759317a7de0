//! A replay as a row.

use serde_json::Value;
use uuid::Uuid;

use homing_domain::{
    replay::{Replay, ReplayId, ReplayProgress, ReplaySelection},
    time::UnixMillis,
};

/// A row of `replays`.
#[derive(sqlx_macros::FromRow)]
pub(super) struct ReplayRow {
    id: Vec<u8>,
    selection: String,
    state: String,
    actor: String,
    created_ms: i64,
    updated_ms: i64,
    first_offset: Option<i64>,
    end_offset: Option<i64>,
    next_offset: Option<i64>,
    events_read: i64,
    sent: i64,
    unreadable: i64,
    gone: i64,
    left_out: i64,
    archive_begins_ms: Option<i64>,
    note: Option<String>,
}

impl ReplayRow {
    /// Builds the replay.
    pub(super) fn read(self) -> sqlx::Result<Replay> {
        let number = |number: i64| u64::try_from(number).map_err(sqlx::Error::decode);
        let optional = |value: Option<i64>| value.map(number).transpose();
        let (first, end) = (optional(self.first_offset)?, optional(self.end_offset)?);
        let progress = ReplayProgress {
            events: end.zip(first).map(|(end, first)| end.saturating_sub(first)),
            position: optional(self.next_offset)?,
            end,
            read: number(self.events_read)?,
            sent: number(self.sent)?,
            unreadable: number(self.unreadable)?,
            gone: number(self.gone)?,
            left_out: number(self.left_out)?,
            archive_begins_ms: self.archive_begins_ms.map(UnixMillis::new),
            note: self.note,
        };
        Ok(Replay {
            id: ReplayId::new(Uuid::from_slice(&self.id).map_err(sqlx::Error::decode)?),
            selection: serde_json::from_str(&self.selection).map_err(sqlx::Error::decode)?,
            state: self.state.parse().map_err(sqlx::Error::decode)?,
            progress,
            actor: self.actor,
            created_ms: UnixMillis::new(self.created_ms),
            updated_ms: UnixMillis::new(self.updated_ms),
        })
    }
}

/// A selection as the table has it, of its form in documents: workers of earlier versions, which read it
/// as well, know instants in milliseconds, under the names `since_ms` and `until_ms`.
pub(super) fn kept(selection: &ReplaySelection, mut written: Value) -> Value {
    if let Some(fields) = written.as_object_mut() {
        let (since, until) = (selection.since_ms.get(), selection.until_ms.get());
        for (name, former, instant) in [("since", "since_ms", since), ("until", "until_ms", until)]
        {
            fields.remove(name);
            fields.insert(former.to_owned(), instant.into());
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn workers_of_earlier_versions_read_what_is_kept() {
        let selection: ReplaySelection = serde_json::from_value(
            json!({"since": "1970-01-01T00:00:01Z", "until": "1970-01-01T00:00:09Z", "rate": 7}),
        )
        .unwrap();
        let kept = kept(&selection, serde_json::to_value(&selection).unwrap());
        assert_eq!((&kept["since_ms"], &kept["until_ms"]), (&json!(1_000), &json!(9_000)));
        assert_eq!((kept.get("since"), kept.get("until")), (None, None), "they refuse other names");
        let read: ReplaySelection = serde_json::from_value(kept).unwrap();
        assert_eq!(read, selection);
    }
}
