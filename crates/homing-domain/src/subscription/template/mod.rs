//! Templates: an event as the message that a chat, a pager or a mail gateway takes.
//!
//! [`words`] says an event in words, whatever it is about; each receiver gets these in its own form.
//! A body that cannot be read is quoted, so that every event has a message.
//!
//! Sources: Slack, *Sending messages using incoming webhooks*, *Formatting message text* (escaping),
//! *Block Kit: section* (limits); Microsoft Teams, *Create incoming webhooks with Workflows*, and
//! the schema of Adaptive Cards 1.4; `PagerDuty`, *Events API v2*; `SendGrid`, *v3 Mail Send*.

use std::str::FromStr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use self::words::{Importance, Words, cut};
use super::{Draft, FieldError};
use crate::{event::Event, time::UnixMillis};

mod words;

/// Characters of a text in a message; Slack takes 2,000 in a field, Teams 28 kB in all.
const MAX_TEXT: usize = 1_900;
/// Characters of a sentence, escaped; Slack takes 3,000 in a section.
const MAX_SENTENCE: usize = 2_900;
/// Characters of a summary; `PagerDuty` takes 1,024.
const MAX_SUMMARY: usize = 900;
/// Characters of the subject of a mail.
const MAX_SUBJECT: usize = 200;
/// Facts beside a summary; Slack takes ten fields in a section.
const MAX_FACTS: usize = 10;
/// Characters of a mail address. Source: RFC 5321, 4.5.3.1.
const MAX_ADDRESS: usize = 254;
const MAX_RECIPIENTS: usize = 20;

/// A template as the form of a subscription's events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Template {
    /// The kind of the receiver.
    pub receiver: Receiver,
    /// The sender of mails; only for `email`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The recipients of mails; only for `email`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<String>,
}

/// The kind of a receiver with a form of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = TemplateReceiver)]
pub enum Receiver {
    /// An incoming webhook of Slack, or of a chat that takes its form.
    Slack,
    /// A workflow of Microsoft Teams that begins with a webhook.
    Teams,
    /// Events API v2 of `PagerDuty`; the subscription's bearer token is the routing key.
    PagerDuty,
    /// A mail gateway with the form of `SendGrid`'s v3 Mail Send; the bearer token is its API key.
    Email,
}

/// The text names no receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("one of slack, teams, pagerduty, email")]
pub struct ReceiverError;

impl Receiver {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Slack, Self::Teams, Self::PagerDuty, Self::Email];

    /// As in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Slack => "slack",
            Self::Teams => "teams",
            Self::PagerDuty => "pagerduty",
            Self::Email => "email",
        }
    }

    /// Its name for operators.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Slack => "Slack",
            Self::Teams => "Microsoft Teams",
            Self::PagerDuty => "PagerDuty",
            Self::Email => "E-mail",
        }
    }

    /// True if the bearer token goes into the message, and not into a header.
    #[must_use]
    pub fn has_key_in_body(self) -> bool {
        self == Self::PagerDuty
    }
}

impl FromStr for Receiver {
    type Err = ReceiverError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|receiver| receiver.as_str() == text).ok_or(ReceiverError)
    }
}

/// The context of a message. Not shown by `Debug`, because of the token.
#[derive(Clone, Copy)]
pub struct Sender<'a> {
    /// The name of the sender; empty: `homing`.
    pub name: &'a str,
    /// The subscription's bearer token.
    pub token: Option<&'a str>,
    /// The instant of the request.
    pub now: UnixMillis,
}

impl Template {
    /// A template for `receiver`.
    #[must_use]
    pub fn new(receiver: Receiver) -> Self {
        Self { receiver, from: None, to: Vec::new() }
    }

    /// The message about `event`, in JSON.
    #[must_use]
    pub fn message(&self, event: &Event, sender: &Sender<'_>) -> Bytes {
        let words = Words::of(event);
        let name = if sender.name.is_empty() { "homing" } else { sender.name };
        let message = match self.receiver {
            Receiver::Slack => slack(&words, name),
            Receiver::Teams => teams(&words, name),
            Receiver::PagerDuty => pager_duty(&words, name, event, sender),
            Receiver::Email => self.email(&words, name),
        };
        message.to_string().into()
    }

    fn email(&self, words: &Words, name: &str) -> Value {
        let to: Vec<_> = self.to.iter().map(|address| json!({ "email": address })).collect();
        let facts = words.facts().map(|(title, text)| format!("{title}: {text}\n"));
        let text = format!("{}\n\n{}\n{name}\n", words.summary, facts.collect::<String>());
        json!({
            "personalizations": [{ "to": to }],
            "from": { "email": self.from },
            "subject": cut(&one_line(&format!("[{name}] {}", words.summary)), MAX_SUBJECT),
            "content": [{ "type": "text/plain", "value": text }],
        })
    }
}

fn slack(words: &Words, name: &str) -> Value {
    let summary = mrkdwn(&format!("{name}: {}", words.summary), MAX_SENTENCE);
    let section = |text: String| json!({ "type": "mrkdwn", "text": text });
    let fields: Vec<_> = words
        .facts()
        .map(|(title, text)| section(format!("*{title}*\n{}", mrkdwn(text, MAX_TEXT))))
        .collect();
    let mut blocks = vec![json!({ "type": "section", "text": section(format!("*{summary}*")) })];
    // A section without fields is refused.
    if !fields.is_empty() {
        blocks.push(json!({ "type": "section", "fields": fields }));
    }
    json!({ "text": summary, "blocks": blocks })
}

/// Escapes what Slack would take for a link, a mention or an entity; at most `max` characters then.
fn mrkdwn(text: &str, max: usize) -> String {
    let (mut escaped, mut length) = (String::new(), 0_usize);
    for character in text.chars() {
        let entity = match character {
            '&' => Some("&amp;"),
            '<' => Some("&lt;"),
            '>' => Some("&gt;"),
            _ => None,
        };
        length = length.saturating_add(entity.map_or(1, str::len));
        if length > max {
            escaped.push('…');
            break;
        }
        match entity {
            Some(entity) => escaped.push_str(entity),
            None => escaped.push(character),
        }
    }
    escaped
}

fn teams(words: &Words, name: &str) -> Value {
    let facts: Vec<_> = words
        .facts()
        .map(|(title, text)| json!({ "title": title, "value": without_links(text) }))
        .collect();
    let title = json!({
        "type": "TextBlock",
        "text": without_links(&format!("{name}: {}", words.summary)),
        "weight": "Bolder",
        "wrap": true,
        "color": match words.importance {
            Importance::Over => "Good",
            Importance::News => "Default",
            Importance::Trouble => "Warning",
            Importance::Worst => "Attention",
        },
    });
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": [title, { "type": "FactSet", "facts": facts }],
            },
        }],
    })
}

/// Breaks what Markdown would take for a link with another text.
fn without_links(text: &str) -> String {
    text.replace("](", "] (")
}

fn pager_duty(words: &Words, name: &str, event: &Event, sender: &Sender<'_>) -> Value {
    let details: Map<_, _> =
        words.facts().map(|(title, text)| (title.to_owned(), json!(text))).collect();
    let (action, severity) = match words.importance {
        Importance::Over => ("resolve", "info"),
        Importance::News => ("trigger", "info"),
        Importance::Trouble => ("trigger", "error"),
        Importance::Worst => ("trigger", "critical"),
    };
    json!({
        "routing_key": sender.token,
        "event_action": action,
        "dedup_key": words.key(&event.id),
        "client": "homing",
        "payload": {
            "summary": words.summary,
            "source": name,
            "severity": severity,
            "timestamp": sender.now.to_string(),
            "component": "homing",
            "class": event.topic.as_str(),
            "custom_details": details,
        },
    })
}

/// Without what ends a line, which a header cannot have.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

impl Draft {
    pub(super) fn template(&self) -> Result<Option<Template>, FieldError> {
        let Some(template) = &self.template else { return Ok(None) };
        let wrong = |field: &str, message: &str| Err(FieldError::new(field, message));
        if self.workfront.is_some() {
            return wrong("template", "set either this field or `workfront`: each is a form");
        }
        if template.receiver.has_key_in_body() && self.auth_token.is_none() {
            return wrong("auth_token", "PagerDuty needs its routing key here");
        }
        if template.receiver != Receiver::Email {
            return if template.from.is_some() || !template.to.is_empty() {
                wrong("template", "`from` and `to` are for the receiver `email`")
            } else {
                Ok(self.template.clone())
            };
        }
        if !template.from.as_deref().is_some_and(is_address) {
            return wrong("template.from", "the address that mails come from: alerts@example.com");
        }
        if !(1..=MAX_RECIPIENTS).contains(&template.to.len()) {
            return wrong("template.to", "1 to 20 addresses");
        }
        match template.to.iter().position(|address| !is_address(address)) {
            Some(index) => wrong(&format!("template.to[{index}]"), "no mail address"),
            None => Ok(self.template.clone()),
        }
    }
}

/// True of what may be a mail address; the gateway knows better.
fn is_address(text: &str) -> bool {
    let fits = |c: char| !c.is_whitespace() && !c.is_control() && !"<>,;\"".contains(c);
    let parts = text.split_once('@');
    text.len() <= MAX_ADDRESS
        && text.chars().all(fits)
        && parts
            .is_some_and(|(user, host)| !user.is_empty() && !host.is_empty() && !host.contains('@'))
}

#[cfg(test)]
mod tests;
