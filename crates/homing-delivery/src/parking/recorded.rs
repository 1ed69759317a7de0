//! Replays and drops on record: begun before anything is sent or removed, and ended with how many
//! were.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tracing::error;

use super::{Action, Parking, ParkingError, Selection};
use homing_domain::{
    audit::{self, Actor, Change, ChangeResult, ObjectKind},
    record::RecordId,
};

/// Bytes of a selection in a record: they are the key of an index.
const MAX_SELECTION_BYTES: usize = 1_000;

/// The record of an action. It ends with the action, or, if that is given up, with the last of what
/// it had under way; only where the process is killed, it stays begun.
pub(super) struct Recorded {
    parking: Parking,
    id: RecordId,
    change: Change,
    state: Mutex<State>,
}

struct State {
    done: u32,
    result: ChangeResult,
    is_ended: bool,
}

impl Parking {
    /// The same for the actions of `actor`.
    #[must_use]
    pub fn by(&self, actor: &Actor) -> Self {
        Self { store: self.store.by(actor), ..self.clone() }
    }

    /// Begins the record of an action on at most `limit` of what is selected.
    pub(super) async fn record(
        &self,
        action: Action,
        selection: &Selection,
        limit: Option<u32>,
    ) -> Result<Arc<Recorded>, ParkingError> {
        let action = match action {
            Action::Replay => audit::Action::Replayed,
            Action::Drop | Action::Count => audit::Action::Dropped,
        };
        let mut change = Change::new(ObjectKind::Parked, described(selection), action);
        change.result = ChangeResult::Begun;
        change.difference.extend(limit.map(|limit| ("limit".to_owned(), limit.into())));
        let id = self.store.record_change(&change).await?;
        let state = State { done: 0, result: ChangeResult::Stopped, is_ended: false };
        Ok(Arc::new(Recorded { parking: self.clone(), id, change, state: Mutex::new(state) }))
    }

    /// Notes the end of an action. Where the store does not take it, the record says that it is
    /// begun, and the log says why.
    async fn note_end(&self, id: RecordId, change: &Change) {
        if let Err(error) = self.store.change_ended(id, change).await {
            let (error, done) = (error.report(), change.difference.get("matched"));
            error!(%id, object = change.object, ?done, error, "audit.not_ended");
        }
    }
}

impl Recorded {
    /// Adds deliveries that were acted on.
    pub(super) fn add(&self, done: u32) {
        let mut state = self.state.lock();
        state.done = state.done.saturating_add(done);
    }

    /// Sets the result; until then, it is that the action was stopped.
    pub(super) fn set(&self, result: ChangeResult) {
        self.state.lock().result = result;
    }

    /// Ends the record, when nothing is under way any more.
    pub(super) async fn end(&self) {
        self.parking.note_end(self.id, &self.ended()).await;
        self.state.lock().is_ended = true;
    }

    fn ended(&self) -> Change {
        let mut change = self.change.clone();
        let state = self.state.lock();
        change.result = state.result;
        change.difference.insert("matched".to_owned(), state.done.into());
        change
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        if self.state.lock().is_ended {
            return;
        }
        // Without a runtime, the process ends.
        if let Ok(runtime) = Handle::try_current() {
            let (parking, id, change) = (self.parking.clone(), self.id, self.ended());
            let ending = async move { parking.note_end(id, &change).await };
            self.parking.acting.spawn_on(ending, &runtime);
        }
    }
}

/// The conditions of a selection: `reason=gone, topic=order.*`.
fn described(selection: &Selection) -> String {
    let Selection { id, reason, subscription, topic, event, delivery, url, status, text, .. } =
        selection;
    let Selection { ids, error, parked_after_ms, parked_before_ms, held_for, .. } = selection;
    let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
    let conditions = [
        ("id", id.map(|id| id.to_string())),
        ("ids", (!ids.is_empty()).then(|| ids.join(" "))),
        ("reason", reason.map(|reason| reason.as_str().to_owned())),
        ("subscription", subscription.map(|id| id.to_string())),
        ("topic", topic.as_ref().map(ToString::to_string)),
        ("event", event.clone()),
        ("delivery", delivery.map(|id| id.to_string())),
        ("url", url.clone()),
        ("status", status.map(|status| status.to_string())),
        ("error", error.map(|id| id.to_string())),
        ("text", text.as_ref().map(|text| text.as_str().to_owned())),
        ("parked_after", parked_after_ms.map(|at| at.to_string())),
        ("parked_before", parked_before_ms.map(|at| at.to_string())),
        ("parked_by_circuit_of", held_for.as_ref().map(|held| held.url.as_str().to_owned())),
    ];
    let set = conditions.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", value?)));
    let set: Vec<_> = set.collect();
    if set.is_empty() {
        return "everything".to_owned();
    }
    let mut described = set.join(", ");
    described.truncate(described.floor_char_boundary(MAX_SELECTION_BYTES));
    described
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(conditions: serde_json::Value) -> String {
        described(&serde_json::from_value(conditions).unwrap())
    }

    #[test]
    fn a_selection_is_described_by_its_conditions() {
        let conditions = serde_json::json!({
            "reason": "gone", "topic": "order.*", "status": "410", "parked_before_ms": "0",
        });
        insta::assert_snapshot!(selected(conditions), @"reason=gone, topic=order.*, status=410, parked_before=1970-01-01T00:00:00.000Z");
        assert_eq!(selected(serde_json::json!({})), "everything");
        let long = selected(serde_json::json!({"event": "ä".repeat(3_000)}));
        assert!(long.len() <= MAX_SELECTION_BYTES && long.starts_with("event=ä"), "{long}");
    }
}
