//! Recent events, tried against topics and filters that are not saved yet: which of them would
//! match, and why the others would not.
//!
//! A body is known of what is parked, and of attempts whose payload was kept; of other events only
//! the topic. A subscription with a form of its own sends another body than that of the event, so
//! the payloads of its attempts say nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use tokio::{task::spawn_blocking, time::timeout};

use crate::web::App;
use homing_delivery::parking::Bodies;
use homing_domain::{
    filter::{Budget, EventStates},
    id::SubscriptionId,
    payload::{Part, PayloadState},
    record::Record,
    subscription::SubscriptionSpec,
    time::UnixMillis,
    topic::Topic,
};
use homing_store::{RecordFilter, RecordPage, Selection, StoreError};

/// Events with a body that are tried at most.
const MAX_EVENTS: usize = 20;
/// Topics without one that are tried.
const MAX_TOPICS: u32 = 20;
/// Records that are looked at for payloads.
const RECORDS: u32 = 200;
/// The time for reading all of them; what was not read by then is not tried.
const DEADLINE: Duration = Duration::from_secs(3);
/// Steps of matching one event, as a worker would take at most.
const STEPS: u64 = 1_000_000;

/// A recent event.
struct Event {
    id: String,
    topic: String,
    at: Option<UnixMillis>,
    body: Bytes,
    encoding: Option<String>,
    /// Where its body was found.
    source: &'static str,
}

/// Recent events, the newest of each source first.
#[derive(Default)]
pub(super) struct Recent {
    events: Vec<Event>,
    /// Topics of the last events.
    topics: Vec<(String, UnixMillis)>,
    /// The parts that could not be read.
    notes: Vec<String>,
}

/// A tried event.
#[derive(Debug)]
pub(super) struct Tried {
    /// Its id; empty: only its topic is known.
    pub(super) id: String,
    pub(super) topic: String,
    pub(super) at: Option<UnixMillis>,
    pub(super) source: &'static str,
    /// `matches`, `does not match`, or `not known`.
    pub(super) verdict: &'static str,
    /// The tone of the verdict.
    pub(super) tone: &'static str,
    /// The reason.
    pub(super) why: String,
}

/// The result of trying.
#[derive(Debug, Default)]
pub(super) struct Trial {
    pub(super) tried: Vec<Tried>,
    pub(super) notes: Vec<String>,
}

impl Trial {
    /// The number of events that match.
    pub(super) fn matching(&self) -> usize {
        self.tried.iter().filter(|tried| tried.verdict == MATCHES).count()
    }

    /// Tries the topics and filters of `wanted`.
    pub(super) async fn of(wanted: &SubscriptionSpec, recent: Recent) -> Self {
        let wanted = wanted.clone();
        // Filters may take a while.
        let trying = spawn_blocking(move || Self::made(&wanted, recent)).await;
        trying.unwrap_or_default()
    }

    fn made(wanted: &SubscriptionSpec, Recent { events, topics, notes }: Recent) -> Self {
        let seen: BTreeSet<_> = events.iter().map(|event| event.topic.clone()).collect();
        let without = topics.into_iter().filter(|(topic, _)| !seen.contains(topic));
        let mut tried: Vec<_> = events.into_iter().map(|event| of_event(wanted, event)).collect();
        tried.extend(without.map(|(topic, at)| of_topic(wanted, topic, at)));
        Self { tried, notes }
    }
}

const MATCHES: &str = "matches";

fn of_event(wanted: &SubscriptionSpec, event: Event) -> Tried {
    let Event { id, topic, at, body, encoding, source } = event;
    let (verdict, why) = match refused_topic(wanted, &topic) {
        Some(why) => (Some(false), why),
        None if wanted.wants_any_body() => (Some(true), String::new()),
        None => of_body(wanted, &body, encoding.as_deref()),
    };
    shown(Tried { id, topic, at, source, verdict: "", tone: "", why }, verdict)
}

fn of_topic(wanted: &SubscriptionSpec, topic: String, at: UnixMillis) -> Tried {
    let (verdict, why) = match refused_topic(wanted, &topic) {
        Some(why) => (Some(false), why),
        None if wanted.wants_any_body() => (Some(true), String::new()),
        None => (None, "its topic matches; no body was kept for the filters".to_owned()),
    };
    let (id, at) = (String::new(), Some(at));
    shown(Tried { id, topic, at, source: "topic only", verdict: "", tone: "", why }, verdict)
}

fn shown(tried: Tried, verdict: Option<bool>) -> Tried {
    let (verdict, tone) = match verdict {
        Some(true) => (MATCHES, "good"),
        Some(false) => ("does not match", "idle"),
        None => ("not known", "wait"),
    };
    Tried { verdict, tone, ..tried }
}

/// The reason why the topic does not match; `None`: it does.
fn refused_topic(wanted: &SubscriptionSpec, topic: &str) -> Option<String> {
    let Ok(topic) = Topic::new(topic) else { return Some("its topic cannot be read".to_owned()) };
    if wanted.wants_topic(&topic) {
        return None;
    }
    if topic.is_own() && wanted.topics.iter().any(|pattern| pattern.matches(&topic)) {
        return Some("topic: homing's own events go only to patterns that name them".to_owned());
    }
    let near =
        wanted.topics.iter().find_map(|pattern| Some((pattern, pattern.difference(&topic)?)));
    Some(match near {
        Some((pattern, difference)) => format!("topic: near `{pattern}`, but {difference}"),
        None => "topic: no pattern matches".to_owned(),
    })
}

fn of_body(
    wanted: &SubscriptionSpec,
    body: &[u8],
    encoding: Option<&str>,
) -> (Option<bool>, String) {
    let states = match EventStates::read(body, encoding) {
        Ok(states) => states,
        Err(error) => return (None, format!("parked as unreadable: {error}")),
    };
    match wanted.refused_by(&states, &mut Budget::new(STEPS)) {
        Ok(fields) if fields.is_empty() => (Some(true), String::new()),
        Ok(fields) => (Some(false), format!("filter on {}", fields.join(", "))),
        Err(_over) => (None, "the filters cost too much on it".to_owned()),
    }
}

impl Recent {
    /// Reads what is parked, and kept payloads; parts that fail are left out, with a note.
    pub(super) async fn read(app: &App) -> Self {
        let mut recent = Self::default();
        if timeout(DEADLINE, recent.fill(app)).await.is_err() {
            recent.notes.push("not all could be read in time".to_owned());
        }
        recent
    }

    /// # Cancel safety
    ///
    /// What was found so far stays.
    async fn fill(&mut self, app: &App) {
        if let Err(error) = self.parked(app).await {
            self.notes.push(format!("what is parked could not be read: {error}"));
        }
        if let Err(error) = self.payloads(app).await {
            self.notes.push(format!("the attempt log could not be read: {error}"));
        }
        match app.services.store.topics_with("", MAX_TOPICS).await {
            Ok(seen) => self.topics = seen.into_iter().map(|it| (it.topic, it.last_ms)).collect(),
            Err(error) => self.notes.push(format!("topics could not be read: {error}")),
        }
    }

    fn has(&self, id: &str) -> bool {
        self.events.iter().any(|event| event.id == id)
    }

    async fn parked(&mut self, app: &App) -> Result<(), homing_delivery::parking::ParkingError> {
        let most = u32::try_from(MAX_EVENTS / 2).unwrap_or(u32::MAX);
        let parking = &app.services.parking;
        let listed = parking.list(&Selection::default(), most, Bodies::Included).await?;
        for entry in listed.entries {
            let (Some(topic), Some(body)) = (entry.topic, entry.body) else { continue };
            if !self.has(&entry.event_id) {
                self.events.push(Event {
                    id: entry.event_id,
                    topic,
                    at: entry.received_ms.or(entry.parked_ms),
                    body,
                    encoding: entry.content_encoding,
                    source: "parked",
                });
            }
        }
        Ok(())
    }

    async fn payloads(&mut self, app: &App) -> Result<(), StoreError> {
        let filter = RecordFilter::default();
        let wanted = RecordPage { filter, after: None, limit: RECORDS };
        let records = app.services.store.attempts(&wanted).await?.records;
        let mut plain = BTreeMap::new();
        for record in records.iter().filter(|record| record.payload == PayloadState::Kept) {
            if self.events.len() >= MAX_EVENTS {
                break;
            }
            if self.has(&record.event) || !is_plain(app, record, &mut plain).await? {
                continue;
            }
            let Some(Ok(payload)) = app.services.store.payload(record.id).await? else { continue };
            if !payload.request.cut {
                self.events.push(of_payload(record, payload.request));
            }
        }
        Ok(())
    }
}

/// True if the subscription of a record sends events as published.
async fn is_plain(
    app: &App,
    record: &Record,
    known: &mut BTreeMap<SubscriptionId, bool>,
) -> Result<bool, StoreError> {
    let Some((id, _)) = record.recipient else { return Ok(false) };
    if let Some(is_plain) = known.get(&id) {
        return Ok(*is_plain);
    }
    let found = app.services.store.subscription(id).await;
    let is_plain = match found {
        Ok(found) => found.is_some_and(|one| one.spec.sends_as_published()),
        Err(StoreError::Corrupt(_)) => false,
        Err(error) => return Err(error),
    };
    known.insert(id, is_plain);
    Ok(is_plain)
}

fn of_payload(record: &Record, request: Part) -> Event {
    let encoding = request.headers.iter().find(|(name, _)| name == "content-encoding");
    Event {
        id: record.event.clone(),
        topic: record.topic.clone(),
        at: Some(record.started()),
        encoding: encoding.map(|(_, value)| value.clone()),
        body: request.body,
        source: "attempt",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use homing_domain::subscription::Draft;

    fn wanted(topics: &[&str], filters: &serde_json::Value) -> SubscriptionSpec {
        let draft = json!({"url": "https://a.example/", "topics": topics, "filters": filters});
        serde_json::from_value::<Draft>(draft).unwrap().build(&[]).unwrap()
    }

    fn event(topic: &str, body: &str) -> Event {
        Event {
            id: format!("of {topic}"),
            topic: topic.to_owned(),
            at: None,
            body: Bytes::copy_from_slice(body.as_bytes()),
            encoding: None,
            source: "parked",
        }
    }

    #[tokio::test]
    async fn each_event_has_a_verdict_and_a_reason() {
        let filter = json!([{"fieldName": "status", "fieldValue": "CUR", "comparison": "eq"}]);
        let wanted = wanted(&["order.*"], &filter);
        let events = vec![
            event("order.paid", r#"{"status": "CUR"}"#),
            event("order.paid", r#"{"status": "OLD"}"#),
            event("order.paid", "no json"),
            event("orders.paid", "{}"),
            event("other", "{}"),
        ];
        let at = UnixMillis::new(0);
        let topics = ["order.new", "order.paid", "homing.endpoint.opened"];
        let topics = topics.map(|topic| (topic.to_owned(), at)).to_vec();
        let trial = Trial::of(&wanted, Recent { events, topics, notes: Vec::new() }).await;
        let said: Vec<_> = trial
            .tried
            .iter()
            .map(|one| format!("{} {}: {}", one.topic, one.verdict, one.why))
            .collect();
        insta::assert_snapshot!(said.join("\n"), @"
        order.paid matches: 
        order.paid does not match: filter on status
        order.paid not known: parked as unreadable: it is not JSON: something else at byte 1
        orders.paid does not match: topic: near `order.*`, but one or two letters differ
        other does not match: topic: no pattern matches
        order.new not known: its topic matches; no body was kept for the filters
        homing.endpoint.opened does not match: topic: no pattern matches
        ");
        assert_eq!(trial.matching(), 1);
    }

    #[test]
    fn own_events_match_only_what_names_them() {
        let why = refused_topic(&wanted(&["#"], &json!([])), "homing.endpoint.opened").unwrap();
        assert!(why.contains("homing's own"), "{why}");
    }
}
