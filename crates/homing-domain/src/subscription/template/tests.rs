//! The messages have the shape that their receivers publish.

use serde_json::{Value, json};

use super::*;
use crate::{
    circuit::{Reason, StateName},
    event::CONTENT_TYPE_DEFAULT,
    id::EventId,
    topic::Topic,
};

const KEY: &str = "0123456789abcdef0123456789abcdef";

fn event(topic: &str, body: &str) -> Event {
    Event {
        id: EventId::new("e-1").unwrap(),
        topic: Topic::new(topic).unwrap(),
        content_type: CONTENT_TYPE_DEFAULT.to_owned(),
        content_encoding: None,
        body: body.to_owned().into(),
    }
}

fn circuit(state: &str) -> Event {
    circuit_because(state, "10 consecutive failures")
}

fn circuit_because(state: &str, reason: &str) -> Event {
    let body = json!({
        "url": "https://example.com/a?b=1&c=<d>", "from": "closed", "to": "open",
        "reason": reason, "at": "2026-11-21T14:35:16.087Z",
    });
    event(&format!("homing.endpoint.{state}"), &body.to_string())
}

fn change() -> Event {
    let body = json!({
        "actor": "ci", "via": "api", "kind": "subscription", "action": "deleted", "object": "x",
        "difference": {"url": {"before": "https://a/", "after": null}},
        "at": "2026-11-21T14:35:16.087Z",
    });
    event("homing.audit.subscription.deleted", &body.to_string())
}

fn template(receiver: Receiver) -> Template {
    let mut template = Template::new(receiver);
    if receiver == Receiver::Email {
        template.from = Some("homing@example.com".to_owned());
        template.to = vec!["ops@example.com".to_owned(), "dev@example.com".to_owned()];
    }
    template
}

fn sent(receiver: Receiver, event: &Event) -> Value {
    let token = Some(KEY).filter(|_| receiver.has_key_in_body());
    let sender = Sender { name: "production", token, now: UnixMillis::new(1_700_000_000_000) };
    serde_json::from_slice(&template(receiver).message(event, &sender)).unwrap()
}

/// Events of every kind, those from outside with everything that a receiver gives a meaning.
fn events() -> Vec<Event> {
    let test = json!({"test": "homing", "sent": "now", "sample": {"topic": "a"}}).to_string();
    vec![
        circuit("opened"),
        circuit("frozen"),
        circuit("closed"),
        change(),
        event("homing.endpoint.closed", &test),
        event("homing.endpoint.opened", "[]"),
        event("homing.audit.keys.rotated", "{}"),
        event("homing.ledger.hour", r#"{"events": 12}"#),
        event("order.paid", "<!channel> [a](https://evil.example) \u{0}\n"),
        event("order.paid", &"ä<".repeat(50_000)),
    ]
}

#[test]
fn slack_gets_a_text_and_sections_within_its_limits() {
    for event in events() {
        let message = sent(Receiver::Slack, &event);
        assert!(message["text"].as_str().is_some_and(|text| text.starts_with("production: ")));
        let blocks = message["blocks"].as_array().unwrap();
        assert!(!blocks.is_empty() && blocks.len() <= 50);
        for block in blocks {
            assert_eq!(block["type"], "section");
            let fields = block["fields"].as_array().cloned().unwrap_or_default();
            assert!(fields.len() <= 10 && (block.get("text").is_some() || !fields.is_empty()));
            for (text, max) in
                fields.iter().map(|it| (it, 2_000)).chain(block.get("text").map(|it| (it, 3_000)))
            {
                assert_eq!(text["type"], "mrkdwn");
                let text = text["text"].as_str().unwrap();
                assert!((1..=max).contains(&text.chars().count()), "{}", text.chars().count());
                assert!(!text.contains('<') && !text.contains('>'), "{text}");
            }
        }
    }
    let frozen = sent(Receiver::Slack, &circuit("frozen"));
    insta::assert_snapshot!(frozen["text"], @r#""production: https://example.com/a?b=1&amp;c=&lt;d&gt; is frozen: nothing is sent until someone enables it""#);
}

#[test]
fn teams_gets_one_adaptive_card() {
    for event in events() {
        let message = sent(Receiver::Teams, &event);
        assert_eq!(message["type"], "message");
        let attachments = message["attachments"].as_array().unwrap();
        assert_eq!(attachments.len(), 1);
        let card = &attachments[0]["content"];
        let kind = &attachments[0]["contentType"];
        assert_eq!(kind, "application/vnd.microsoft.card.adaptive");
        assert_eq!((&card["type"], &card["version"]), (&json!("AdaptiveCard"), &json!("1.4")));
        assert_eq!(card["body"][0]["type"], "TextBlock");
        assert_eq!(card["body"][1]["type"], "FactSet");
        for fact in card["body"][1]["facts"].as_array().unwrap() {
            assert!(fact["title"].is_string() && fact["value"].is_string(), "{fact}");
        }
        let text = message.to_string();
        assert!(text.len() < 28_000 && !text.contains("]("), "{}", text.len());
    }
}

#[test]
fn a_pager_is_triggered_and_resolved_by_one_key() {
    for event in events() {
        let message = sent(Receiver::PagerDuty, &event);
        assert_eq!(message["routing_key"], KEY);
        let action = message["event_action"].as_str().unwrap();
        assert!(["trigger", "resolve"].contains(&action), "{action}");
        assert!((1..=255).contains(&message["dedup_key"].as_str().unwrap().len()));
        let payload = &message["payload"];
        let summary = payload["summary"].as_str().unwrap();
        assert!((1..=1_024).contains(&summary.chars().count()), "{summary}");
        let severity = payload["severity"].as_str().unwrap();
        assert!(["critical", "error", "warning", "info"].contains(&severity), "{severity}");
        assert_eq!(payload["source"], "production");
        assert!(payload["custom_details"].is_object());
        assert!(message.to_string().len() < 512_000);
    }
    let (opened, closed) = (circuit("opened"), circuit("closed"));
    let (opened, closed) = (sent(Receiver::PagerDuty, &opened), sent(Receiver::PagerDuty, &closed));
    assert_eq!(opened["dedup_key"], closed["dedup_key"]);
    assert_eq!(
        (&opened["event_action"], &closed["event_action"]),
        (&json!("trigger"), &json!("resolve"))
    );
    assert_eq!(sent(Receiver::PagerDuty, &circuit("frozen"))["payload"]["severity"], "critical");
}

/// Goal: no one is woken by what a colleague does on purpose. Method: the reasons as circuits write
/// them.
#[test]
fn an_operators_own_act_is_news_and_no_trouble() {
    for (topic, reason, state, says) in [
        ("opened", Reason::Disabled, StateName::Open, "is paused by an operator"),
        ("frozen", Reason::Disabled, StateName::Frozen, "is disabled by an operator"),
        ("closed", Reason::Enabled, StateName::Closed, "is enabled by an operator"),
    ] {
        let event = circuit_because(topic, &reason.of(state));
        let message = sent(Receiver::PagerDuty, &event);
        assert_eq!(message["payload"]["severity"], "info", "{topic}");
        assert!(message["payload"]["summary"].as_str().is_some_and(|it| it.contains(says)));
        let trouble = sent(Receiver::PagerDuty, &circuit(topic));
        assert_eq!(message["dedup_key"], trouble["dedup_key"], "what was triggered is resolved");
    }
    for state in ["frozen", "opened"] {
        let event = circuit_because(state, &Reason::Gone.of(StateName::Frozen));
        assert_ne!(sent(Receiver::PagerDuty, &event)["payload"]["severity"], "info", "{state}");
    }
}

#[test]
fn a_mail_has_a_subject_of_one_line() {
    for event in events() {
        let mail = sent(Receiver::Email, &event);
        let to = json!([{"to": [{"email": "ops@example.com"}, {"email": "dev@example.com"}]}]);
        assert_eq!(mail["personalizations"], to);
        assert_eq!(mail["from"], json!({"email": "homing@example.com"}));
        let subject = mail["subject"].as_str().unwrap();
        assert!(subject.starts_with("[production] ") && !subject.contains(char::is_control));
        assert_eq!(mail["content"][0]["type"], "text/plain");
        assert!(mail["content"][0]["value"].as_str().is_some_and(|text| !text.is_empty()));
    }
    let mail = sent(Receiver::Email, &change());
    insta::assert_snapshot!(mail["content"][0]["value"].as_str().unwrap(), @r#"
    ci deleted subscription x

    Who: ci
    Via: api
    Change: {"url":{"after":null,"before":"https://a/"}}
    At: 2026-11-21T14:35:16.087Z
    Topic: homing.audit.subscription.deleted

    production
    "#);
}

#[test]
fn a_template_is_checked_for_what_its_receiver_needs() {
    let refused = |template: Value, change: fn(&mut Draft)| {
        let mut draft = Draft::new("https://example.com/", "homing.#");
        draft.template = Some(serde_json::from_value(template).unwrap());
        change(&mut draft);
        draft.build(&[]).err().map(|errors| errors.to_string())
    };
    let same = |_: &mut Draft| ();
    assert_eq!(refused(json!({"receiver": "slack"}), same), None);
    assert_eq!(refused(json!({"receiver": "teams"}), same), None);
    let pager = |draft: &mut Draft| draft.auth_token = Some(KEY.to_owned());
    assert_eq!(refused(json!({"receiver": "pagerduty"}), pager), None);
    let mail = json!({"receiver": "email", "from": "a@example.com", "to": ["b@example.com"]});
    assert_eq!(refused(mail.clone(), same), None);
    for (template, expected) in [
        (json!({"receiver": "pagerduty"}), "`auth_token`: PagerDuty needs its routing key here"),
        (json!({"receiver": "slack", "from": "a@b"}), "`template`: `from` and `to` are for"),
        (json!({"receiver": "email", "to": ["b@example.com"]}), "`template.from`: "),
        (json!({"receiver": "email", "from": "a@example.com"}), "`template.to`: 1 to 20"),
        (json!({"receiver": "email", "from": "a@b", "to": ["c@d", "e"]}), "`template.to[1]`: "),
        (json!({"receiver": "email", "from": "<a@b>", "to": ["c@d"]}), "`template.from`: "),
    ] {
        let message = refused(template.clone(), same).unwrap_or_default();
        assert!(message.starts_with(expected), "{template}: {message}");
    }
    let form = |draft: &mut Draft| {
        draft.topics = vec!["TASK.UPDATE".to_owned()];
        draft.workfront = Some(super::super::WorkfrontForm::default());
    };
    assert!(refused(json!({"receiver": "slack"}), form).is_some_and(|it| it.contains("workfront")));
    assert!(serde_json::from_value::<Template>(json!({"receiver": "fax"})).is_err());
}
