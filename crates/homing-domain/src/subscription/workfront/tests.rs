//! Messages in Workfront's form.

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::{delivery::Progress, event::Event, id::EventId, topic::Topic};

const RECEIVED: UnixMillis = UnixMillis::new(1_507_319_336_998);

fn delivery(topic: &str, body: impl Into<Bytes>) -> Delivery {
    let event = Event {
        id: EventId::new("e1").unwrap(),
        topic: Topic::new(topic).unwrap(),
        content_type: "application/json".to_owned(),
        content_encoding: None,
        body: body.into(),
    };
    let subscription = "01931f5a-9c4e-7000-8000-000000000001".parse().unwrap();
    let progress = Progress { received: Some(RECEIVED), ..Progress::default() };
    Delivery::new(Arc::new(event), subscription, progress)
}

fn message(form: &WorkfrontForm, topic: &str, body: &str) -> Value {
    let now = RECEIVED.plus(std::time::Duration::from_secs(9));
    let message = form.message(&delivery(topic, body.to_owned()), now).unwrap();
    serde_json::from_slice(&message).unwrap()
}

/// Published by Adobe: what is sent for an event in this form is the event with the id and the
/// version of the subscription.
#[test]
fn the_published_examples_come_out_as_they_are_published() {
    let form = WorkfrontForm::default();
    for (sample, topic) in [
        (include_str!("../../../../../tests/samples/workfront-create.json"), "PROJ.CREATE"),
        (include_str!("../../../../../tests/samples/workfront-update.json"), "PROJ.UPDATE"),
    ] {
        let mut expected: Value = serde_json::from_str(sample).unwrap();
        expected["subscriptionId"] = json!("01931f5a-9c4e-7000-8000-000000000001");
        assert_eq!(message(&form, topic, sample), expected);
    }
}

#[test]
fn states_in_base64_are_their_bytes_and_the_rest_stays_plain() {
    let form = WorkfrontForm { base64_encoding: true, ..WorkfrontForm::default() };
    let sample = include_str!("../../../../../tests/samples/workfront-update.json");
    let sent = message(&form, "PROJ.UPDATE", sample);
    let expected: Value = serde_json::from_str(sample).unwrap();
    for state in ["newState", "oldState"] {
        let bytes = STANDARD.decode(sent[state].as_str().unwrap()).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert!(sample.contains(&text), "the bytes as published");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected[state]);
    }
    assert_eq!(sent["eventTime"], expected["eventTime"]);
}

#[test]
fn an_event_of_another_publisher_is_the_new_state() {
    let form = WorkfrontForm { version: Version::V1, ..WorkfrontForm::default() };
    let body = r#"{"ID": "a", "cost": 1.50, "newState": null}"#;
    let sent = form.message(&delivery("TASK.CREATE", body), RECEIVED).unwrap();
    insta::assert_snapshot!(String::from_utf8(sent.to_vec()).unwrap(), @r#"{"eventType":"CREATE","subscriptionId":"01931f5a-9c4e-7000-8000-000000000001","eventTime":{"epochSecond":1507319336,"nano":998000000},"eventVersion":"v2","subscriptionVersion":"v1","newState":{"ID": "a", "cost": 1.50, "newState": null},"oldState":{}}"#);
}

#[test]
fn the_author_of_a_change_is_passed_on() {
    let body = r#"{"newState": {}, "customerId": "c", "userId": "u", "eventVersion": "v9"}"#;
    let sent = message(&WorkfrontForm::default(), "TASK.DELETE", body);
    assert_eq!((&sent["customerId"], &sent["userId"]), (&json!("c"), &json!("u")));
    assert_eq!(sent["eventVersion"], "v9");
    assert_eq!(sent["oldState"], json!({}));
}

/// A deleted object has no new state.
#[test]
fn a_new_state_of_null_beside_an_old_state_is_empty() {
    let form = WorkfrontForm::default();
    let body = r#"{"newState": null, "oldState": {"ID": "a"}}"#;
    let sent = message(&form, "TASK.DELETE", body);
    assert_eq!((&sent["newState"], &sent["oldState"]), (&json!({}), &json!({"ID": "a"})));
    let without = message(&form, "TASK.DELETE", r#"{"ID": "a", "oldState": {"ID": "b"}}"#);
    assert_eq!(without["newState"], json!({"ID": "a", "oldState": {"ID": "b"}}));
}

#[test]
fn both_versions_are_sent_for_five_minutes_after_a_change() {
    let changed = UnixMillis::new(1_000_000);
    let form = WorkfrontForm { version_updated: Some(changed), ..WorkfrontForm::default() };
    let [present, former] = form.both_versions(changed.plus(Duration::from_secs(299))).unwrap();
    assert_eq!((present.to_string(), former.to_string()), ("v2".into(), "v1 former".into()));
    assert_eq!([present, former].map(|fixed| fixed.to_string().parse()), [Ok(present), Ok(former)]);
    assert_eq!(form.both_versions(changed.plus(BOTH_VERSIONS)), None);
    assert_eq!(WorkfrontForm::default().both_versions(changed), None);
    // By clocks that differ.
    assert!(form.both_versions(changed.minus(Duration::from_secs(60))).is_some());
    assert_eq!(form.both_versions(changed.minus(Duration::from_secs(301))), None);

    let mut delivery = delivery("TASK.UPDATE", "{}");
    delivery.progress.version = Some(former);
    let sent = form.message(&delivery, RECEIVED).unwrap();
    let sent: Value = serde_json::from_slice(&sent).unwrap();
    assert_eq!(sent["subscriptionVersion"], "v1");
}

#[test]
fn only_a_change_of_the_version_moves_its_time() {
    let (before, now) = (UnixMillis::new(1), UnixMillis::new(2));
    let former = WorkfrontForm { version_updated: Some(before), ..WorkfrontForm::default() };
    let mut same = WorkfrontForm { base64_encoding: true, ..WorkfrontForm::default() };
    same.keep_version_time(&former, now);
    assert_eq!(same.version_updated, Some(before));
    let mut other = WorkfrontForm { version: Version::V1, ..WorkfrontForm::default() };
    other.keep_version_time(&former, now);
    assert_eq!(other.version_updated, Some(now));
}

#[test]
fn bodies_that_are_no_object_do_not_fit() {
    for body in ["[]", "1", "", "nothing", "{", "{\"newState\": {}"] {
        let unfit = WorkfrontForm::default().message(&delivery("TASK.CREATE", body), RECEIVED);
        assert!(unfit.is_err(), "{body}");
    }
}

#[test]
fn json_that_other_readers_refuse_is_sent_unchanged() {
    let states = r#"{"max":1e400,"name":"cut \ud83d","id":12345678901234567890123}"#;
    let body = format!(
        "\u{feff}{{\"newState\":{states},\"\\ud83d\":{}1{}}}",
        "[".repeat(500),
        "]".repeat(500)
    );
    let sent = WorkfrontForm::default().message(&delivery("TASK.UPDATE", body), RECEIVED);
    let sent = String::from_utf8(sent.unwrap().to_vec()).unwrap();
    assert!(sent.contains(&format!(r#""newState":{states},"oldState":{{}}"#)), "{sent}");
}

#[test]
fn topics_of_workfront_name_an_object_and_what_happens_to_it() {
    assert_eq!(split_topic("TASK.UPDATE"), Some(("TASK", "UPDATE")));
    assert_eq!(split_topic("approval_stage.CREATE"), Some(("approval_stage", "CREATE")));
    for topic in ["task.UPDATE", "TASK.update", "TASK.*", "TASK", "#", "a.TASK.UPDATE"] {
        assert_eq!(split_topic(topic), None, "{topic}");
    }
}
