//! The states of an event, as filters see them.

use std::{borrow::Cow, collections::HashMap};

use serde_json::Value;

use super::budget::{Budget, OverBudget};
use crate::json::{BodyError, Document, Json, Kind};

/// The states of an event, before and after what happened.
///
/// The new state is the body's object `newState`; a body without one *is* the new state, so that
/// events of any publisher can be filtered. The old state is the body's object `oldState`; beside
/// one, a `newState` of null is an empty state.
#[derive(Clone, Debug)]
pub struct EventStates<'b> {
    document: Document<'b>,
    new: Option<Place>,
    old: Option<Place>,
}

/// The place of a state in the document.
type Place = usize;

/// One of the two states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// After the event.
    New,
    /// Before the event.
    Old,
}

impl<'b> EventStates<'b> {
    /// Reads an event's body with its publisher's content encoding.
    ///
    /// # Errors
    ///
    /// [`BodyError`]: the content is unknown.
    pub fn read(body: &'b [u8], encoding: Option<&str>) -> Result<Self, BodyError> {
        Document::of_body(body, encoding).map(Self::of)
    }

    fn of(document: Document<'b>) -> Self {
        let mut states = Self { document, new: None, old: None };
        if let Some(root) = states.document.root() {
            let (mut new, mut old, mut is_null) = (None, None, false);
            for (name, value) in root.fields() {
                // The last of a name counts, whatever it is.
                let object = (value.kind() == Kind::Object).then(|| value.place());
                if name.says(State::New.as_str()) {
                    (new, is_null) = (object, value.kind() == Kind::Null);
                } else if name.says(State::Old.as_str()) {
                    old = object;
                }
            }
            let is_empty = is_null && old.is_some();
            let absent = (!is_empty).then(|| root.place());
            (states.new, states.old) = (new.or(absent), old);
        }
        states
    }

    /// True if the event is about the object `id`, as Workfront writes ids: `ID`, in newer objects
    /// `id`, in one of the states or in both.
    ///
    /// # Errors
    ///
    /// [`OverBudget`].
    pub fn is_about(&self, id: &str, budget: &mut Budget) -> Result<bool, OverBudget> {
        for state in [State::New, State::Old].into_iter().filter_map(|state| self.state(state)) {
            for name in ["ID", "id"] {
                if part(state, name, budget)?
                    .is_some_and(|found| found.kind() == Kind::Text && found.says(id))
                {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// The field `name` of `state`; `None` if either is missing.
    ///
    /// A name with dots is the field with that name, or else a path through objects: `data.total`
    /// is `total` in the object `data`.
    pub(super) fn field(
        &self,
        state: State,
        name: &str,
        budget: &mut Budget,
    ) -> Result<Option<Json<'_>>, OverBudget> {
        let Some(state) = self.state(state) else { return Ok(None) };
        let found = part(state, name, budget)?;
        if found.is_some() || !name.contains('.') {
            return Ok(found);
        }
        let mut found = Some(state);
        for word in name.split('.') {
            let Some(object) = found else { break };
            found = part(object, word, budget)?;
        }
        Ok(found)
    }

    /// True if the field `name` differs between the states, or is in only one of them.
    ///
    /// Without an old state, nothing counts as changed. With an empty one, as in a CREATE, every
    /// field does. Values are compared as written: `0` and `"0"` differ here, `1` and `1.0` are the
    /// same number.
    pub(super) fn changed(&self, name: &str, budget: &mut Budget) -> Result<bool, OverBudget> {
        if self.old.is_none() {
            return Ok(false);
        }
        let old = self.field(State::Old, name, budget)?;
        let new = self.field(State::New, name, budget)?;
        match (old, new) {
            (Some(old), Some(new)) => Ok(!same(old, new, budget)?),
            (old, new) => Ok(old.is_some() != new.is_some()),
        }
    }

    fn state(&self, state: State) -> Option<Json<'_>> {
        let place = match state {
            State::New => self.new,
            State::Old => self.old,
        };
        self.document.at(place?)
    }
}

impl From<Value> for EventStates<'_> {
    fn from(body: Value) -> Self {
        // `Value` writes valid JSON; `null` has no state for a filter.
        let text = Cow::Owned(body.to_string());
        let null = || Document::new(Cow::Borrowed("null"));
        Document::new(text)
            .or_else(|_| null())
            .map_or_else(|_| Self { document: Document::default(), new: None, old: None }, Self::of)
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

/// The part `name` of an object: the last of that name. `None` for anything but an object.
pub(super) fn part<'d>(
    of: Json<'d>,
    name: &str,
    budget: &mut Budget,
) -> Result<Option<Json<'d>>, OverBudget> {
    let mut found = None;
    for (key, value) in of.fields() {
        budget.read(key.raw().len())?;
        if key.says(name) {
            found = Some(value);
        }
    }
    Ok(found)
}

/// The parts of an object by name, the last of each.
pub(super) fn parts<'d>(
    of: Json<'d>,
    budget: &mut Budget,
) -> Result<HashMap<Cow<'d, str>, Json<'d>>, OverBudget> {
    /// Cost of hashing, growing and cache misses.
    const STEPS: usize = 80;
    let mut parts = HashMap::new();
    for (key, value) in of.fields() {
        budget.read(key.raw().len())?;
        budget.spend(STEPS)?;
        parts.insert(key.text().unwrap_or_default(), value);
    }
    Ok(parts)
}

/// True if two values are equal, to any depth and without recursion.
fn same<'d>(left: Json<'d>, right: Json<'d>, budget: &mut Budget) -> Result<bool, OverBudget> {
    // Mostly nothing has changed, and then the text is the same.
    budget.read(left.raw().len().min(right.raw().len()))?;
    if left.raw() == right.raw() {
        return Ok(true);
    }
    let mut pairs = vec![(left, right)];
    while let Some((left, right)) = pairs.pop() {
        budget.spend(4)?;
        let is_same = left.kind() == right.kind()
            && match left.kind() {
                Kind::Null | Kind::Bool => left.raw() == right.raw(),
                Kind::Number | Kind::Text => {
                    budget.read(left.raw().len().saturating_add(right.raw().len()))?;
                    left.number() == right.number() && left.text() == right.text()
                }
                Kind::List => push_elements(left, right, &mut pairs, budget)?,
                Kind::Object => push_fields(left, right, &mut pairs, budget)?,
            };
        if !is_same {
            return Ok(false);
        }
    }
    Ok(true)
}

type Pairs<'d> = Vec<(Json<'d>, Json<'d>)>;

/// Adds pairs that have to be equal; `false`: one of the lists is longer.
fn push_elements<'d>(
    left: Json<'d>,
    right: Json<'d>,
    pairs: &mut Pairs<'d>,
    budget: &mut Budget,
) -> Result<bool, OverBudget> {
    let (mut left, mut right) = (left.elements(), right.elements());
    loop {
        budget.spend(1)?;
        match (left.next(), right.next()) {
            (Some(left), Some(right)) => pairs.push((left, right)),
            (left, right) => return Ok(left.is_none() && right.is_none()),
        }
    }
}

/// Adds pairs that have to be equal; `false`: one of the objects has an extra field.
fn push_fields<'d>(
    left: Json<'d>,
    right: Json<'d>,
    pairs: &mut Pairs<'d>,
    budget: &mut Budget,
) -> Result<bool, OverBudget> {
    let (left, right) = (parts(left, budget)?, parts(right, budget)?);
    if left.len() != right.len() {
        return Ok(false);
    }
    for (name, value) in left {
        let Some(other) = right.get(&name) else { return Ok(false) };
        pairs.push((value, *other));
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plenty() -> Budget {
        Budget::new(1_000_000)
    }

    fn field(body: &Value, state: State, name: &str) -> Option<String> {
        let event = EventStates::from(body.clone());
        let found = event.field(state, name, &mut plenty()).expect("within the budget");
        found.map(|found| found.raw().to_owned())
    }

    #[test]
    fn a_body_without_a_new_state_is_the_new_state() {
        for (body, expected) in [
            (json!({"newState": {"a": 1}, "a": 2}), Some("1")),
            (json!({"newState": {}, "a": 2}), None),
            (json!({"newState": "eyJhIjoxfQ==", "a": 2}), Some("2")),
            (json!({"a": 2}), Some("2")),
            (json!({"newState": null, "oldState": {"a": 1}, "a": 2}), None),
            (json!({"newState": null, "a": 2}), Some("2")),
            (json!({"oldState": {"a": 1}, "a": 2}), Some("2")),
            (json!(["a"]), None),
            (json!("a"), None),
        ] {
            assert_eq!(field(&body, State::New, "a").as_deref(), expected, "{body}");
        }
    }

    #[test]
    fn the_old_state_is_an_object_or_missing() {
        let field = |body: Value| field(&body, State::Old, "a");
        assert_eq!(field(json!({"oldState": {"a": 1}})).as_deref(), Some("1"));
        assert_eq!(field(json!({"oldState": [], "a": 1})), None);
        assert_eq!(field(json!({"a": 1})), None);
    }

    #[test]
    fn a_name_with_dots_is_a_field_or_a_path() {
        let body =
            json!({"data": {"total": {"net": 3}, "x.y": 4}, "data.list": 5, "list": [{"a": 6}]});
        for (name, expected) in [
            ("data.total.net", Some("3")),
            ("data.total", Some("{\"net\":3}")),
            ("data.list", Some("5")),
            ("data.x.y", None),
            ("data.none.net", None),
            ("data.total.net.none", None),
            ("list.a", None),
            ("list.0", None),
            ("data.", None),
            (".data", None),
        ] {
            assert_eq!(field(&body, State::New, name).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn changed_compares_the_states_as_they_stand() {
        for (new, old, expected) in [
            (json!({"a": 1}), json!({"a": 1}), false),
            (json!({"a": 1}), json!({"a": 1.0}), false),
            (json!({"a": 1}), json!({"a": 2}), true),
            (json!({"a": 1}), json!({"a": "1"}), true),
            (json!({"a": null}), json!({}), true),
            (json!({}), json!({"a": null}), true),
            (json!({}), json!({}), false),
            (json!({"a": {"x": 1, "y": 2}}), json!({"a": {"y": 2, "x": 1}}), false),
            (json!({"a": {"x": 1, "y": 2}}), json!({"a": {"y": 2, "z": 1}}), true),
            (json!({"a": [1, 2]}), json!({"a": [2, 1]}), true),
            (json!({"a": [1, 2]}), json!({"a": [1, 2, 3]}), true),
            (json!({"a": [{"x": [1e2]}]}), json!({"a": [{"x": [100]}]}), false),
            (json!({"a": true}), json!({"a": false}), true),
            (json!({"a": 1}), json!(null), false),
        ] {
            let event = EventStates::from(json!({"newState": new, "oldState": old}));
            assert_eq!(event.changed("a", &mut plenty()), Ok(expected), "{new} {old}");
        }
        let written = br#"{"newState": {"a": "\u0041", "a": "A"}, "oldState": {"a": "\u0041"}}"#;
        let event = EventStates::read(written, None).expect("JSON");
        assert_eq!(event.changed("a", &mut plenty()), Ok(false));
        assert_eq!(event.changed("a", &mut Budget::new(2)), Err(OverBudget));
    }

    #[test]
    fn any_depth_is_compared() {
        let deep = |inner: &str| format!("{}{inner}{}", "[".repeat(100_000), "]".repeat(100_000));
        let body = format!(
            r#"{{"newState": {{"a": {}}}, "oldState": {{"a": {}}}}}"#,
            deep("1"),
            deep("2")
        );
        let event = EventStates::read(body.as_bytes(), None).expect("JSON");
        assert_eq!(event.changed("a", &mut plenty()), Ok(true));
    }

    #[test]
    fn bytes_that_are_not_json_are_refused() {
        assert!(EventStates::read(b"{", None).is_err());
        assert!(EventStates::read("[".repeat(100_000).as_bytes(), None).is_err());
    }
}
