//! Budgets of filters, and places beside the lanes.

use bytes::Bytes;
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use homing_domain::{id::EventId, subscription::Draft, time::UnixMillis, topic::Topic};

fn event(body: impl Into<Bytes>) -> Event {
    Event {
        id: EventId::new("e").unwrap(),
        topic: Topic::new("t").unwrap(),
        content_type: String::new(),
        content_encoding: None,
        body: body.into(),
    }
}

fn subscription(number: u128, filters: &Value) -> Arc<Subscription> {
    let draft = json!({
        "url": "https://example.com/", "topics": ["#"],
        "filters": filters, "filter_connector": "OR",
    });
    let draft: Draft = serde_json::from_value(draft).unwrap();
    let (created, updated) = (UnixMillis::new(0), UnixMillis::new(0));
    let id = SubscriptionId::new(Uuid::from_u128(number));
    Arc::new(Subscription { id, spec: draft.build(&[]).unwrap(), created, updated })
}

fn equals(value: &str) -> Value {
    json!([{"fieldName": "status", "comparison": "eq", "fieldValue": value}])
}

/// Filters of one subscription that cost far more on [`many`] than an event may.
fn costly() -> Value {
    let values = |at: usize| (0..30).map(|value| value * 30 + at).chain([9]).collect::<Vec<_>>();
    let filter =
        |at| json!({"fieldName": "a", "comparison": "containsOnly", "fieldValue": values(at)});
    (0..60).map(filter).collect()
}

fn many(status: &str) -> String {
    format!(r#"{{"a":[{}9],"status":"{status}"}}"#, "9,".repeat(520_000 - 1))
}

fn candidates(of: &[Arc<Subscription>]) -> Candidates {
    let mut candidates = Candidates::default();
    for subscription in of {
        candidates.push(subscription);
    }
    candidates
}

#[test]
fn a_costly_filter_takes_nothing_from_the_others() {
    let wants = |number| subscription(number, &equals("CUR"));
    let all = [wants(1), subscription(2, &costly()), wants(3), subscription(4, &costly())];
    let event = event(many("CUR"));
    let evaluation = evaluate(&event, &all, EVENT_STEPS).unwrap();
    assert_eq!(evaluation.wanted, [all[0].id, all[2].id]);
    assert_eq!(evaluation.over_budget, [all[1].id, all[3].id]);
}

#[test]
fn unused_steps_go_to_filters_that_need_more() {
    let costly =
        subscription(1, &json!([{"fieldName": "a", "comparison": "contains", "fieldValue": "x"}]));
    let others: Vec<_> = (2..50).map(|number| subscription(number, &equals("x"))).collect();
    let all: Vec<_> = [costly].into_iter().chain(others).collect();
    let event = event(many("CUR"));
    let one = evaluate(&event, &all[..1], 10_000_000).unwrap();
    assert_eq!(one, Evaluation::default(), "it costs less than the whole, and more than a share");
    assert_eq!(evaluate(&event, &all, 10_000_000).unwrap(), Evaluation::default());
    assert_eq!(evaluate(&event, &all[..1], 10_000_000 / 49).unwrap().over_budget, [all[0].id]);
}

#[tokio::test]
async fn the_lane_does_what_is_cheap_and_leaves_the_rest() {
    let matching = Matching::new();
    let all = [subscription(1, &equals("CUR")), subscription(2, &json!([]))];
    let small = event(r#"{"status":"CUR"}"#);
    let matches = matching.at_once(&small, candidates(&all)).unwrap();
    assert_eq!(matches, [Match::Matched(all[1].id), Match::Matched(all[0].id)]);

    let mut packed = small.clone();
    packed.content_encoding = ContentEncoding::new("gzip");
    let long = r#"{"status":"CUR","a":"#.to_owned() + &"9".repeat(LANE_BYTES) + "}";
    let list = format!(r#"{{"a":[{}9],"status":"CUR"}}"#, "9,".repeat(30_000));
    let costly = [subscription(1, &costly()), subscription(2, &json!([]))];
    for (event, of) in [(packed, &all), (event(long), &all), (event(list), &costly)] {
        let beside = matching.at_once(&event, candidates(of)).unwrap_err();
        let matches = matching.beside(&Arc::new(event), beside).await;
        let wanted = matches.iter().filter(|it| matches!(it, Match::Matched(_))).count();
        assert_eq!((wanted, matches.len()), (if of[0] == costly[0] { 1 } else { 2 }, 2));
    }
    // A subscription without filters needs no body.
    let unread = event(vec![0xff; 1_000_000]);
    assert_eq!(matching.at_once(&unread, candidates(&all[1..])).unwrap().len(), 1);
}

#[tokio::test]
async fn a_body_that_cannot_be_read_decides_nothing() {
    let matching = Matching::new();
    let all = [subscription(1, &equals("CUR")), subscription(2, &json!([]))];
    let matches = matching.at_once(&event("{\"status\""), candidates(&all)).unwrap();
    let [Match::Matched(_), Match::Undecided(id, why)] = &matches[..] else {
        panic!("{matches:?}")
    };
    assert_eq!(*id, all[0].id);
    insta::assert_snapshot!(why, @"the filters cannot be applied: it is not JSON: it ends too early");
}
