//! `homing topology`

use homing_broker::topology::ArgumentValue;
use lapin::{
    Connection, ConnectionProperties,
    options::QueueDeclareOptions,
    types::{AMQPValue, FieldTable},
};

use super::{Home, SCHEDULE};
use crate::support::{
    broker::url,
    receiver::{Receiver, Reply},
};

async fn connect() -> Connection {
    let properties = ConnectionProperties::default();
    Connection::connect(&url(), properties).await.expect("the broker is there")
}

#[test]
fn a_topology_is_planned_applied_and_checked() {
    let home = Home::new();
    let planned = home.run(&["topology", "plan"]).done();
    assert_eq!(planned.matches("missing").count(), 14, "{planned}");
    assert!(planned.ends_with("\n\napply would create 14 objects.\n"), "{planned}");
    assert_eq!(home.run(&["topology", "check"]).code, 3);

    let applied = home.run(&["topology", "apply"]).done();
    assert_eq!(applied.matches("created").count(), 14, "{applied}");
    assert_eq!(home.run(&["topology", "apply"]).done(), "Everything already exists.\n");
    assert_eq!(home.run(&["topology", "check", "--json"]).json()["sound"], true);

    home.write("homing.toml", SCHEDULE.replace("50ms", "70ms").as_bytes());
    let checked = home.run(&["topology", "check"]);
    assert_eq!(checked.code, 3);
    assert!(
        checked.stdout.contains("left over: the settings do not need it"),
        "{}",
        checked.stdout
    );
    let command = format!("`rabbitmqctl delete_queue {}.v1.wait.50`", home.corner.prefix);
    assert!(checked.stdout.contains(&command), "{}", checked.stdout);
    assert!(checked.stdout.ends_with("Not as it should be: 2 objects.\n"), "{}", checked.stdout);
}

/// Goal: `check` says what a policy does to a queue, where the management API lets it look, and why it
/// does not know where it does not.
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_breaks_a_promise_is_named() {
    let home = Home::new();
    home.run(&["topology", "apply"]).done();
    let blind = home.run(&["topology", "check"]);
    assert_eq!(blind.code, 0);
    assert!(blind.stderr.contains("set `broker.management_url`"), "{}", blind.stderr);

    let parked = home.corner.topology.names().parked();
    let queue = serde_json::json!({
        "name": parked, "policy": "blanket", "operator_policy": null,
        "effective_policy_definition": {"expires": 60_000},
    });
    let page = serde_json::json!({"page": 1, "page_count": 1, "items": [queue]}).to_string();
    let page: &'static str = page.leak();
    let management = Receiver::answering(move |_| Reply::status(200).saying(page)).await;
    let url = management.url("/").replace("http://", "http://guest:secret@");
    let settings = format!("[broker]\nmanagement_url = \"{url}\"\n{SCHEDULE}");
    home.write("homing.toml", settings.as_bytes());

    let checked = home.run(&["topology", "check"]);
    assert_eq!(checked.code, 3, "{}", checked.stderr);
    let line = checked.stdout.lines().find(|line| line.starts_with(&parked)).expect("its line");
    assert!(line.contains("policy `blanket`: `expires` deletes the queue"), "{line}");
    let asked = management.requests().remove(0);
    assert_eq!(asked.path, "/api/queues/%2F");
    assert!(asked.header("authorization").is_some_and(|it| it.starts_with("Basic ")), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_with_other_arguments_is_reported_with_both_values() {
    let home = Home::new();
    let name = format!("{}.v1.wait.50", home.corner.prefix);
    let spec = home.corner.topology.queues().into_iter().find(|queue| queue.name == name).unwrap();
    let connection = connect().await;
    let channel = connection.create_channel().await.unwrap();
    let mut arguments = FieldTable::default();
    for (name, value) in spec.arguments() {
        let value = match value {
            ArgumentValue::Text(text) => AMQPValue::LongString(text.into()),
            ArgumentValue::Number(_) => AMQPValue::LongLongInt(1_234),
            ArgumentValue::Flag(flag) => AMQPValue::Boolean(flag),
        };
        arguments.insert(name.into(), value);
    }
    let options = QueueDeclareOptions::durable();
    channel.queue_declare(name.as_str().into(), options, arguments).await.unwrap();
    connection.close(200, "OK".into()).await.unwrap();

    let checked = home.run(&["topology", "check"]);
    assert_eq!(checked.code, 3);
    let published = home.run_with(&["publish", "--topic", "t"], b"1");
    assert_eq!(published.code, 1);
    for text in [&checked.stdout, &published.stderr] {
        for part in [name.as_str(), "'x-message-ttl'", "'50'", "'1234'"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
    assert!(published.stderr.contains("use another `broker.prefix`"), "{}", published.stderr);
    assert_eq!(home.run(&["topology", "apply"]).code, 1);
    let planned = home.run(&["topology", "plan", "--json"]).json();
    let is_missing = |object: &&serde_json::Value| object["state"] == "missing";
    let missing = planned["objects"].as_array().unwrap().iter().filter(is_missing).count();
    let applied = home.run(&["audit", "--kind", "topology", "--json"]).json();
    let applied = &applied["records"][0];
    let created = applied["difference"]["created"]["after"].as_array().unwrap();
    assert_eq!(applied["result"], "failed");
    assert_eq!(applied["difference"]["missing"], created.len() + missing, "{applied}");
}
