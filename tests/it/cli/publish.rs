//! `homing publish`

use serde_json::Value;

use super::Home;
use crate::support::broker::Publisher;

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_line_costs_no_other_line_anything() {
    let home = Home::new();
    let mut lines: Vec<_> =
        (0..300).map(|n| format!("{{\"topic\":\"order.paid\",\"data\":{{\"n\":{n}}}}}")).collect();
    lines[11] = "{\"topik\":\"order.paid\",\"data\":1}".to_owned();
    lines[249] = "order.paid 7".to_owned();
    lines[199] = "x".repeat(3_000_000);
    home.write("events.jsonl", lines.join("\n").as_bytes());

    let answer = home.run(&["publish", "events.jsonl"]);

    assert_eq!(answer.stdout, "published 297, 3 bad lines (12, 200, 250)\n", "{}", answer.stderr);
    assert_eq!(answer.code, 1);
    assert!(answer.stderr.contains("homing: line 12: unknown field `topik`"), "{}", answer.stderr);
    assert!(answer.stderr.contains("homing: line 200: longer than"), "{}", answer.stderr);
    let expected = "homing: line 250: not JSON: expected value at column 1";
    assert!(answer.stderr.contains(expected), "{}", answer.stderr);
    assert_eq!(home.depth("primary").await, 297);
}

#[tokio::test(flavor = "multi_thread")]
async fn publish_takes_bodies_from_lines_files_and_standard_input() {
    let home = Home::new();
    let answer = home.run_with(&["publish"], b"{\"topic\":\"t\",\"id\":\"o-7\",\"data\":1.50}\n");
    assert_eq!(answer.done(), "published 1 (id o-7)\n");

    let body = b"{\n  \"total\": 12.50\n}\n";
    home.write("order.json", body);
    let single = ["publish", "--topic", "order.paid", "--single", "--id", "o-8", "order.json"];
    assert_eq!(home.run(&single).done(), "published 1 (id o-8)\n");

    let answer = home.run_with(&["publish", "--topic", "t", "--json"], b"1\n\n2\r\n\"3\"").json();
    assert_eq!(answer["published"], 3);
    assert_eq!(answer["bad"], Value::Array(Vec::new()));

    let answer = home.run_with(&["publish", "--topic", "order.*"], b"4");
    assert!(answer.stderr.contains("in subscriptions only"), "{}", answer.stderr);
    assert!(answer.done().starts_with("published 1"));

    let broker = home.broker();
    let publisher = Publisher::new(&home.corner).await;
    let waiting = publisher.look_at(&broker.topology().names().primary()).await;
    broker.close().await;
    let mut bodies: Vec<_> = waiting.into_iter().map(|message| message.data).collect();
    bodies.sort();
    assert_eq!(bodies, [&b"\"3\""[..], b"1", b"1.50", b"2", b"4", body]);
    assert_eq!(home.run(&["publish", "nowhere.jsonl"]).code, 1);
}

/// Goal: a publisher learns at once that no subscription wants an event, and which nearly does.
#[tokio::test(flavor = "multi_thread")]
async fn topics_that_no_subscription_wants_are_named() {
    let home = Home::new();
    let unknown = home.run_with(&["publish", "--topic", "t"], b"1");
    let expected = "which subscriptions want 1 event is not known: there is no store at ";
    assert!(unknown.stderr.contains(expected), "{}", unknown.stderr);
    assert_eq!(unknown.code, 0);
    let create = ["subscriptions", "create", "--url", "https://example.com/hook"];
    home.run(&[&create[..], &["--topic", "order.paid"]].concat()).done();
    let lines = ["order.paid", "orders.paid", "orders.paid", "else"]
        .map(|topic| format!("{{\"topic\":\"{topic}\",\"data\":1}}\n"));
    let answer = home.run_with(&["publish"], lines.concat().as_bytes());
    let near =
        "no subscription wants 2 events with the topic `orders.paid`; near: `order.paid` of ";
    assert!(answer.stderr.contains(near), "{}", answer.stderr);
    let other = "no subscription wants 1 event with the topic `else`\n";
    assert!(answer.stderr.contains(other), "{}", answer.stderr);
    assert_eq!(answer.done(), "published 4\n");
    let answer = home.run_with(&["publish", "--json"], lines.concat().as_bytes()).json();
    assert_eq!((&answer["unwanted"], &answer["wanted_not_known"]), (&3.into(), &0.into()));
    assert_eq!(answer["unwanted_topics"]["orders.paid"]["events"], 2);
}

#[test]
fn topics_and_history_of_an_empty_store_say_so() {
    let home = Home::new();
    let topics = home.run(&["topics"]);
    assert_eq!((topics.stderr.as_str(), topics.code), ("No such topic was seen.\n", 0));
    let history = home.run(&["history", "--since", "7d"]);
    let expected = "Nothing was counted in this time.\n";
    assert_eq!((history.stderr.as_str(), history.code), (expected, 0));
}
