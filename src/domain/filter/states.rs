//! What a filter sees of an event.

use serde_json::Value;

/// The states of an event, before and after what happened.
///
/// The new state is the body's object `newState`; a body without one *is* the new state, so that
/// events of any publisher can be filtered. The old state is the body's object `oldState`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventStates(Value);

/// Which of the two states a filter looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// After the event.
    New,
    /// Before the event.
    Old,
}

impl EventStates {
    /// Reads an event's body.
    ///
    /// # Errors
    ///
    /// The body is not JSON, or is nested deeper than `serde_json` reads (128 levels).
    pub fn from_bytes(body: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(body).map(Self)
    }

    /// The ids of the object that the event is about, as Workfront has them: `ID`, in newer
    /// objects `id`, in one of the states or in both.
    pub fn object_ids(&self) -> impl Iterator<Item = &str> {
        let states = [State::New, State::Old];
        let ids = states.into_iter().flat_map(|state| ["ID", "id"].map(|name| (state, name)));
        ids.filter_map(|(state, name)| self.field(state, name)?.as_str())
    }

    /// The field `name` of `state`; `None` if either is missing.
    pub(super) fn field(&self, state: State, name: &str) -> Option<&Value> {
        self.state(state)?.get(name)
    }

    /// Whether the field `name` differs between the states, or is in only one of them.
    ///
    /// Without an old state nothing is known to have changed. With an empty one, as a CREATE has,
    /// every field has. Values are compared as they stand: `0` and `"0"` differ here.
    pub(super) fn changed(&self, name: &str) -> bool {
        self.state(State::Old).is_some_and(|old| old.get(name) != self.field(State::New, name))
    }

    fn state(&self, state: State) -> Option<&Value> {
        let named = self.0.get(state.as_str()).filter(|value| value.is_object());
        match state {
            State::New => named.or(Some(&self.0)),
            State::Old => named,
        }
    }
}

impl From<Value> for EventStates {
    fn from(body: Value) -> Self {
        Self(body)
    }
}

impl State {
    /// As in the JSON form, and the key in the event's body.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::New => "newState",
            Self::Old => "oldState",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_body_without_a_new_state_is_the_new_state() {
        for (body, expected) in [
            (json!({"newState": {"a": 1}, "a": 2}), Some(json!(1))),
            (json!({"newState": {}, "a": 2}), None),
            (json!({"newState": "eyJhIjoxfQ==", "a": 2}), Some(json!(2))),
            (json!({"a": 2}), Some(json!(2))),
            (json!(["a"]), None),
            (json!("a"), None),
        ] {
            let event = EventStates::from(body.clone());
            assert_eq!(event.field(State::New, "a"), expected.as_ref(), "{body}");
        }
    }

    #[test]
    fn the_old_state_is_an_object_or_missing() {
        let field = |body: Value| EventStates::from(body).field(State::Old, "a").cloned();
        assert_eq!(field(json!({"oldState": {"a": 1}})), Some(json!(1)));
        assert_eq!(field(json!({"oldState": [], "a": 1})), None);
        assert_eq!(field(json!({"a": 1})), None);
    }

    #[test]
    fn changed_compares_the_states_as_they_stand() {
        for (new, old, expected) in [
            (json!({"a": 1}), json!({"a": 1}), false),
            (json!({"a": 1}), json!({"a": 2}), true),
            (json!({"a": 1}), json!({"a": "1"}), true),
            (json!({"a": null}), json!({}), true),
            (json!({}), json!({"a": null}), true),
            (json!({}), json!({}), false),
            (json!({"a": {"x": 1, "y": 2}}), json!({"a": {"y": 2, "x": 1}}), false),
            (json!({"a": [1, 2]}), json!({"a": [2, 1]}), true),
            (json!({"a": 1}), json!(null), false),
        ] {
            let event = EventStates::from(json!({"newState": new, "oldState": old}));
            assert_eq!(event.changed("a"), expected, "{event:?}");
        }
    }

    #[test]
    fn bytes_that_are_not_json_are_refused() {
        assert!(EventStates::from_bytes(b"{").is_err());
        assert!(EventStates::from_bytes("[".repeat(100_000).as_bytes()).is_err());
    }
}
