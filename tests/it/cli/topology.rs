//! `homing topology`

use homing::broker::topology::Argument;
use lapin::{
    Connection, ConnectionProperties,
    options::QueueDeclareOptions,
    types::{AMQPValue, FieldTable},
};

use super::{Home, SCHEDULE};
use crate::support::broker::url;

async fn connect() -> Connection {
    let properties = ConnectionProperties::default();
    Connection::connect(&url(), properties).await.expect("the broker is there")
}

#[test]
fn a_topology_is_planned_applied_and_checked() {
    let home = Home::new();
    let planned = home.run(&["topology", "plan"]).done();
    assert_eq!(planned.matches("missing").count(), 13, "{planned}");
    assert!(planned.ends_with("\n\napply would create 13 objects.\n"), "{planned}");
    assert_eq!(home.run(&["topology", "check"]).code, 3);

    let applied = home.run(&["topology", "apply"]).done();
    assert_eq!(applied.matches("created").count(), 13, "{applied}");
    assert_eq!(home.run(&["topology", "apply"]).done(), "Everything was there already.\n");
    assert_eq!(home.run(&["topology", "check", "--json"]).json()["sound"], true);

    home.write("homing.toml", SCHEDULE.replace("50ms", "70ms").as_bytes());
    let checked = home.run(&["topology", "check"]);
    assert_eq!(checked.code, 3);
    assert!(checked.stdout.contains("left over: no schedule needs it"), "{}", checked.stdout);
    let command = format!("`rabbitmqctl delete_queue {}.v1.wait.50`", home.corner.prefix);
    assert!(checked.stdout.contains(&command), "{}", checked.stdout);
    assert!(checked.stdout.ends_with("Not as it should be: 2 objects.\n"), "{}", checked.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_with_other_arguments_is_told_with_both_values() {
    let home = Home::new();
    let name = format!("{}.v1.wait.50", home.corner.prefix);
    let spec = home.corner.topology.queues().into_iter().find(|queue| queue.name == name).unwrap();
    let connection = connect().await;
    let channel = connection.create_channel().await.unwrap();
    let mut arguments = FieldTable::default();
    for (name, value) in spec.arguments() {
        let value = match value {
            Argument::Text(text) => AMQPValue::LongString(text.into()),
            Argument::Number(_) => AMQPValue::LongLongInt(1_234),
            Argument::Flag(flag) => AMQPValue::Boolean(flag),
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
}
