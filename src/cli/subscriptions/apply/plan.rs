//! The difference between the subscriptions of a file and those that exist.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use serde_saphyr::UserMessageFormatter;
use uuid::Uuid;

use crate::{
    cli::{
        failure::Failure,
        subscriptions::{
            fields,
            stated::{STATED, stated},
        },
        target::NewSubscription,
    },
    registry::View,
};
use homing_domain::{
    id::SubscriptionId,
    subscription::{Draft, FieldError, Subscription},
    time::UnixMillis,
};

/// One subscription of a file.
pub(super) struct Entry {
    id: Option<SubscriptionId>,
    /// As the file has it, without the id.
    fields: NewSubscription,
    /// As homing would show it.
    wanted: View,
}

/// A change of a subscription that exists.
pub(super) struct Change {
    pub(super) id: SubscriptionId,
    pub(super) url: String,
    /// The fields that differ, as they are to be.
    pub(super) fields: Map<String, Value>,
    /// By field: its value before and after.
    pub(super) difference: Vec<(&'static str, Value, Value)>,
}

/// The changes that make the subscriptions those of a file.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) create: Vec<NewSubscription>,
    pub(super) update: Vec<Change>,
    /// Only on request.
    pub(super) delete: Vec<(SubscriptionId, String)>,
    /// Those that are as the file has them.
    pub(super) same: usize,
    /// Those that the file does not have, and that stay.
    pub(super) others: usize,
}

/// The subscriptions of a file in YAML or JSON.
///
/// # Errors
///
/// [`Failure::Field`]: the field at fault, `subscriptions[2].url`; or two that are the same.
pub(super) fn read(text: &str) -> Result<Vec<Entry>, Failure> {
    let document: Value = serde_saphyr::from_str(text).map_err(|error| {
        // Without the excerpt, which is drawn over several lines, and in the words of its writer.
        let error = error.without_snippet().render_with_formatter(&UserMessageFormatter);
        let error = error.lines().next().unwrap_or_default();
        Failure::Field(FieldError::new("subscriptions", format!("this is not YAML: {error}")))
    })?;
    let Some(Value::Array(list)) = document.get("subscriptions") else {
        let message = "missing; the file has `subscriptions:` and a list below it";
        return Err(Failure::Field(FieldError::new("subscriptions", message)));
    };
    let mut names = document.as_object().into_iter().flat_map(Map::keys);
    if let Some(other) = names.find(|name| *name != "subscriptions" && !name.starts_with("x-")) {
        let message = "unknown; beside `subscriptions`, only names that begin with `x-` are taken, \
                       for anchors";
        return Err(Failure::Field(FieldError::new(other.as_str(), message)));
    }
    let entries: Result<Vec<_>, _> =
        list.iter().enumerate().map(|(index, entry)| one(index, entry)).collect();
    let entries = entries?;
    let mut seen = BTreeSet::new();
    for (index, entry) in entries.iter().enumerate() {
        if entry.id.is_none() && !seen.insert(entry.key()) {
            let field = format!("subscriptions[{index}]");
            let message = "another one above has this url and description; give each a description \
                           of its own, or an id";
            return Err(Failure::Field(FieldError::new(field, message)));
        }
    }
    Ok(entries)
}

fn one(index: usize, entry: &Value) -> Result<Entry, Failure> {
    let at = |field: &str, message: String| {
        let path = if field.is_empty() || field == "subscription" {
            format!("subscriptions[{index}]")
        } else {
            format!("subscriptions[{index}].{field}")
        };
        Failure::Field(FieldError::new(path, message))
    };
    let Value::Object(fields) = entry else {
        return Err(at("", "an object with `url` and `topics`".to_owned()));
    };
    let mut fields = fields.clone();
    let id = match fields.remove("id") {
        Some(Value::String(id)) => {
            Some(id.parse::<SubscriptionId>().map_err(|error| at("id", format!("{error}")))?)
        }
        Some(_) => return Err(at("id", "a text".to_owned())),
        None => None,
    };
    let text = Value::Object(fields.clone()).to_string();
    let draft: Draft = fields::parse(&text, "subscription").map_err(|failure| {
        let Failure::Field(FieldError { field, message }) = failure else { return failure };
        // The place is one in a text that no one has written.
        let message = message.split(" at line ").next().unwrap_or_default().to_owned();
        at(&field, message)
    })?;
    // The names of the schedules are for the installation to know.
    let schedules: Vec<_> = draft.schedule.iter().map(String::as_str).collect();
    let spec = draft.build(&schedules).map_err(|errors| at("", errors.to_string()))?;
    let (id_of_none, never) = (SubscriptionId::new(Uuid::nil()), UnixMillis::new(0));
    let built = Subscription { id: id_of_none, spec, created: never, updated: never };
    Ok(Entry { id, fields, wanted: View::from(&built) })
}

impl Entry {
    fn key(&self) -> (String, Option<String>) {
        (self.wanted.url.clone(), self.wanted.description.clone())
    }

    /// The position among `present` of the subscription that this describes.
    fn find(&self, index: usize, present: &[View]) -> Result<Option<usize>, Failure> {
        let field = format!("subscriptions[{index}]");
        if let Some(id) = self.id {
            let found = present.iter().position(|view| view.id == id);
            return found.map(Some).ok_or_else(|| {
                let message = format!("there is no subscription {id}; without `id` it is created");
                Failure::Field(FieldError::new(format!("{field}.id"), message))
            });
        }
        let is_it = |view: &View| {
            (&view.url, &view.description) == (&self.wanted.url, &self.wanted.description)
        };
        let found: Vec<_> = present.iter().enumerate().filter(|(_, view)| is_it(view)).collect();
        match found.as_slice() {
            [] => Ok(None),
            [(position, _)] => Ok(Some(*position)),
            several => {
                let ids: Vec<_> = several.iter().map(|(_, view)| view.id.to_string()).collect();
                let message = format!(
                    "several have this url and description; give its `id`, one of {}",
                    ids.join(", ")
                );
                Err(Failure::Field(FieldError::new(field, message)))
            }
        }
    }

    /// The change that makes `present` as this entry has it; `None`: it is so.
    fn change(&self, present: &View) -> Option<Change> {
        let (before, after) = (stated(present), stated(&self.wanted));
        let of = |values: &Map<_, _>, name: &str| values.get(name).cloned().unwrap_or_default();
        let difference: Vec<_> = STATED
            .into_iter()
            .map(|name| (name, of(&before, name), of(&after, name)))
            .filter(|(_, before, after)| before != after)
            .collect();
        let fields = difference.iter().map(|(name, _, after)| ((*name).to_owned(), after.clone()));
        let fields: Map<_, _> = fields.collect();
        let url = present.url.clone();
        (!fields.is_empty()).then_some(Change { id: present.id, url, fields, difference })
    }
}

impl Plan {
    /// The way from `present` to `entries`; what these do not have is deleted if `prunes`.
    ///
    /// # Errors
    ///
    /// [`Failure::Field`]: an entry describes none, or several.
    pub(super) fn new(entries: &[Entry], present: &[View], prunes: bool) -> Result<Self, Failure> {
        let mut plan = Self::default();
        let mut kept = BTreeSet::new();
        for (index, entry) in entries.iter().enumerate() {
            let found = entry.find(index, present)?.and_then(|at| present.get(at));
            let Some(view) = found else {
                plan.create.push(entry.fields.clone());
                continue;
            };
            if !kept.insert(view.id) {
                let message = format!("another one above is subscription {} too", view.id);
                let field = format!("subscriptions[{index}]");
                return Err(Failure::Field(FieldError::new(field, message)));
            }
            match entry.change(view) {
                Some(change) => plan.update.push(change),
                None => plan.same = plan.same.saturating_add(1),
            }
        }
        let others = present.iter().filter(|view| !kept.contains(&view.id));
        if prunes {
            plan.delete = others.map(|view| (view.id, view.url.clone())).collect();
        } else {
            plan.others = others.count();
        }
        Ok(plan)
    }

    /// True if nothing is to be done.
    pub(super) fn is_nothing(&self) -> bool {
        self.create.is_empty() && self.update.is_empty() && self.delete.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const FILE: &str = "
subscriptions:
  - url: https://example.com/a
    topics: [order.*]
  - description: billing
    url: https://example.com/b
    topics: ['#']
    rate_limit: 10
";

    fn view(number: u128, entry: &Entry) -> View {
        View { id: SubscriptionId::new(Uuid::from_u128(number)), ..entry.wanted.clone() }
    }

    fn error(text: &str) -> String {
        read(text).err().unwrap().report()
    }

    #[test]
    fn what_is_as_the_file_has_it_stays() {
        let entries = read(FILE).unwrap();
        let present: Vec<_> =
            (1..).zip(&entries).map(|(number, entry)| view(number, entry)).collect();
        let plan = Plan::new(&entries, &present, true).unwrap();
        assert!(plan.is_nothing());
        assert_eq!((plan.same, plan.others), (2, 0));
        assert_eq!(Plan::new(&entries, &[], true).unwrap().create.len(), 2);
    }

    #[test]
    fn what_differs_is_changed_field_by_field() {
        let entries = read(FILE).unwrap();
        let mut present = vec![view(1, &entries[0]), view(2, &entries[1])];
        present[1].rate_limit = None;
        present[0].schedule = Some("short".to_owned());
        let plan = Plan::new(&entries, &present, false).unwrap();
        let fields: Vec<_> = plan.update.iter().map(|change| json!(change.fields)).collect();
        assert_eq!(fields, [json!({"schedule": null}), json!({"rate_limit": 10})]);
    }

    #[test]
    fn only_on_request_others_are_deleted() {
        let entries = read(FILE).unwrap();
        let other = View { url: "https://example.com/c".to_owned(), ..view(9, &entries[0]) };
        let plan = Plan::new(&entries, std::slice::from_ref(&other), false).unwrap();
        assert_eq!((plan.delete.len(), plan.others), (0, 1));
        let plan = Plan::new(&entries, std::slice::from_ref(&other), true).unwrap();
        assert_eq!(plan.delete, [(other.id, other.url)]);
    }

    #[test]
    fn an_entry_that_is_wrong_is_named_before_anything_is_done() {
        insta::assert_snapshot!(error("a: b"), @"`subscriptions`: missing; the file has `subscriptions:` and a list below it");
        insta::assert_snapshot!(error("{subscriptions: [], subscription: []}"), @"`subscription`: unknown; beside `subscriptions`, only names that begin with `x-` are taken, for anchors");
        assert!(
            read("{x-topics: &all ['#'], subscriptions: [{url: https://a/, topics: *all}]}")
                .is_ok()
        );
        insta::assert_snapshot!(error("subscriptions: [{url: x, topics: [t]}]"), @"`subscriptions[0]`: `url`: not a URL: it has no `https://` in front; write it as https://host/path");
        insta::assert_snapshot!(error("subscriptions: [{url: https://a/, topic: t}]"), @"`subscriptions[0].topic`: unknown field `topic`, expected one of `url`, `topics`, `filters`, `filter_connector`, `auth_token`, `authentication`, `client_certificate`, `secrets`, `signature_scheme`, `headers`, `schedule`, `rate_limit`, `deadline`, `max_concurrency`, `description`, `owner`, `labels`, `workfront`, `format`, `verification`, `template`");
        let twice =
            "subscriptions: [{url: https://a/, topics: [t]}, {url: https://a/, topics: [u]}]";
        assert!(error(twice).contains("subscriptions[1]"), "{}", error(twice));
        assert!(error("subscriptions: [").contains("not YAML"));
        insta::assert_snapshot!(error("subscriptions: []\n---\na: b"), @"`subscriptions`: this is not YAML: only single YAML document expected but multiple found at line 3, column 1");
        insta::assert_snapshot!(error("subscriptions: []\nsubscriptions: []"), @"`subscriptions`: this is not YAML: duplicate mapping key `subscriptions` is not allowed here at line 2, column 1");
    }

    #[test]
    fn an_id_that_is_not_there_is_an_error_and_several_that_fit_too() {
        let text = "subscriptions: [{id: 01931f5a-9c4e-7000-8000-0123456789ab, url: https://a/, topics: [t]}]";
        let entries = read(text).unwrap();
        assert!(Plan::new(&entries, &[], false).is_err());
        let entries = read("subscriptions: [{url: https://a/, topics: [t]}]").unwrap();
        let both = [view(1, &entries[0]), view(2, &entries[0])];
        let error = Plan::new(&entries, &both, false).err().unwrap().report();
        assert!(error.contains("several have this url and description"), "{error}");
    }
}
