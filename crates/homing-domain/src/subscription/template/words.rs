//! An event in words: one sentence, and the facts beside it.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{MAX_FACTS, MAX_SUMMARY, MAX_TEXT};
use crate::{
    circuit::{Reason, StateName},
    event::Event,
    id::EventId,
};

/// The weight of an event for those who are on call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Importance {
    /// A trouble is over.
    Over,
    /// Good to know.
    News,
    /// An endpoint gets only probes.
    Trouble,
    /// An endpoint gets nothing until someone enables it.
    Worst,
}

/// An event in words.
pub(super) struct Words {
    /// One sentence.
    pub(super) summary: String,
    pub(super) importance: Importance,
    facts: Vec<(&'static str, String)>,
    /// The object of a trouble, from its beginning to its end; `None`: the event itself.
    about: Option<String>,
}

impl Words {
    /// Of any event.
    pub(super) fn of(event: &Event) -> Self {
        let topic = event.topic.as_str();
        let body = match event.content_encoding {
            None => serde_json::from_slice::<Value>(&event.body).ok(),
            Some(_) => None,
        };
        let known = body.as_ref().and_then(|body| {
            if body.get("test").is_some_and(|test| test == "homing") {
                Some(Self::of_test(topic))
            } else if let Some(state) = topic.strip_prefix("homing.endpoint.") {
                Self::of_endpoint(state, body)
            } else if topic.starts_with("homing.audit.") {
                Self::of_change(body)
            } else {
                None
            }
        });
        let mut words = known.unwrap_or_else(|| Self::of_other(event));
        words.summary = cut(&words.summary, MAX_SUMMARY);
        words.facts.push(("Topic", topic.to_owned()));
        words
    }

    /// The facts, bounded.
    pub(super) fn facts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.facts.iter().take(MAX_FACTS).map(|(title, text)| (*title, text.as_str()))
    }

    /// The key of the trouble that it begins or ends: the same for both.
    pub(super) fn key(&self, event: &EventId) -> String {
        let about = self.about.clone().unwrap_or_else(|| format!("event {event}"));
        format!("homing:{}", URL_SAFE_NO_PAD.encode(Sha256::digest(about)))
    }

    fn new(summary: String, importance: Importance) -> Self {
        Self { summary, importance, facts: Vec::new(), about: None }
    }

    /// Adds a fact that is not empty.
    fn with(mut self, title: &'static str, text: &str) -> Self {
        if !text.is_empty() {
            self.facts.push((title, cut(text, MAX_TEXT)));
        }
        self
    }

    fn of_test(topic: &str) -> Self {
        let summary = format!("This is a test: events such as `{topic}` arrive here");
        Self::new(summary, Importance::News)
    }

    /// A change of a circuit; `None`: it says something else.
    fn of_endpoint(state: &str, body: &Value) -> Option<Self> {
        let url = body.get("url")?.as_str()?;
        let reason = text(body, "reason");
        let is_by = |by: Reason, state| by.of(state) == reason;
        let (says, importance) = match state {
            // An operator's own act alarms no one.
            "opened" if is_by(Reason::Disabled, StateName::Open) => {
                ("is paused by an operator: its deliveries are held", Importance::News)
            }
            "frozen" if is_by(Reason::Disabled, StateName::Frozen) => (
                "is disabled by an operator: nothing is sent until someone enables it",
                Importance::News,
            ),
            "closed" if is_by(Reason::Enabled, StateName::Closed) => {
                ("is enabled by an operator: what was held is sent", Importance::Over)
            }
            "opened" => ("fails: only probes are sent to it", Importance::Trouble),
            "frozen" => ("is frozen: nothing is sent until someone enables it", Importance::Worst),
            "closed" => ("is well again: what was held is sent", Importance::Over),
            _ => return None,
        };
        let words = Self::new(format!("{url} {says}"), importance);
        let words = Self { about: Some(format!("endpoint {url}")), ..words };
        let words = words.with("Endpoint", url).with("Because", reason);
        Some(words.with("At", text(body, "at")))
    }

    /// A change that is in the audit.
    fn of_change(body: &Value) -> Option<Self> {
        let part = |name| body.get(name).and_then(Value::as_str);
        let (actor, action) = (part("actor")?, part("action")?);
        let (kind, object) = (part("kind")?, part("object")?);
        let words = Self::new(format!("{actor} {action} {kind} {object}"), Importance::News);
        let difference = body.get("difference").filter(|it| **it != serde_json::json!({}));
        let difference = difference.map(ToString::to_string).unwrap_or_default();
        let words = words.with("Who", actor).with("Via", text(body, "via"));
        let words = words.with("From", text(body, "address")).with("Change", &difference);
        Some(words.with("At", text(body, "at")))
    }

    /// Any other event, with the beginning of its body.
    fn of_other(event: &Event) -> Self {
        let words = Self::new(format!("Event `{}`", event.topic.as_str()), Importance::News);
        let body = match event.content_encoding {
            None => String::from_utf8_lossy(&event.body).into_owned(),
            Some(_) => format!("{} bytes, encoded", event.body.len()),
        };
        words.with("Event", event.id.as_str()).with("Body", &body)
    }
}

fn text<'a>(body: &'a Value, name: &str) -> &'a str {
    body.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// The text, or its beginning.
pub(super) fn cut(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
