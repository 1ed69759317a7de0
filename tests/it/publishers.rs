//! Publishers: what they may write, and what is believed of it.

use homing_domain::id::SubscriptionId;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::{AMQPValue, FieldTable},
};
use serde_json::json;

use crate::support::{
    broker::{Corner, Raw},
    installation::{Installation, millis},
    node::Node,
    receiver::Receiver,
};

fn headers(entries: &[(&str, &str)]) -> BasicProperties {
    let mut table = FieldTable::default();
    for (name, value) in entries {
        table.insert((*name).into(), AMQPValue::LongString((*value).into()));
    }
    BasicProperties::default().with_headers(table)
}

/// Publishes over a connection of its own; whether the broker took it, else what it said.
async fn publish(
    url: &str,
    (exchange, key): (&str, &str),
    properties: BasicProperties,
) -> Result<(), String> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await;
    let connection = connection.expect("the publisher may log in");
    let channel: Channel = connection.create_channel().await.expect("a channel opens");
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    let options = BasicPublishOptions::default();
    let confirm = match channel
        .basic_publish(exchange.into(), key.into(), options, b"{}", properties)
        .await
    {
        Ok(confirm) => confirm.await,
        Err(error) => Err(error),
    };
    let said = confirm.map(|confirm| assert!(confirm.is_ack())).map_err(|error| error.to_string());
    let _closed = connection.close(200, "OK".into()).await;
    said
}

/// Goal: the publisher of docs/security.md reaches its own topics and nothing else. Method: its permissions and a
/// topic permission, at a real broker; every known way around it.
#[tokio::test]
async fn a_publisher_with_the_least_rights_reaches_its_own_topics_only() {
    let node = Node::start("publishers").await;
    let corner = Corner::at(node.url.clone(), &millis(&[1_000]));
    let installation = Installation::at(corner, &[1_000], "").await;
    let receiver = Receiver::accepting().await;
    let to = |path: &str, topic: &str| json!({"url": receiver.url(path), "topics": [topic]});
    installation.subscribe(to("/a", "tenanta.#")).await;
    let others = installation.subscribe(to("/b", "tenantb.#")).await.subscription.id;
    installation.subscribe(to("/own", "homing.#")).await;
    let running = installation.start();

    let events = installation.names().events();
    let may_write = format!("^{}$", events.replace('.', r"\."));
    node.ctl(&["add_user", "shop", "secret"]).await;
    node.ctl(&["set_permissions", "shop", "^$", &may_write, "^$"]).await;
    node.ctl(&["set_topic_permissions", "shop", &events, r"^tenanta\.", "^$"]).await;
    let (_, host) = node.url.rsplit_once('@').expect("a user and a host");
    let url = format!("amqp://shop:secret@{host}");

    let plain = BasicProperties::default;
    let others = others.to_string();
    let to_others = [("x-homing-subscription", others.as_str())];
    let said = [
        publish(&url, (&events, "tenanta.plain"), plain()).await,
        publish(&url, (&events, "tenanta.typed"), plain().with_type("tenantb.x".into())).await,
        publish(&url, (&events, "tenanta.cloud"), headers(&[("cloudEvents:type", "tenantb.x")]))
            .await,
        publish(&url, (&events, "tenanta.named"), headers(&to_others)).await,
    ];
    assert!(said.iter().all(Result::is_ok), "{said:?}");
    for (exchange, key) in [
        (events.clone(), "tenantb.x".to_owned()),
        (events.clone(), "homing.endpoint.frozen".to_owned()),
        (installation.names().route(), installation.names().retry()),
        (String::new(), installation.names().primary()),
    ] {
        let forged = headers(&to_others).with_type("tenantb.x".into());
        let refused = publish(&url, (&exchange, &key), forged).await.expect_err("refused");
        assert!(refused.contains("ACCESS_REFUSED") || refused.contains("403"), "{refused}");
    }

    let parked = installation.wait_for_parked(1).await.remove(0);
    receiver.wait_for(3).await;
    installation.assert_nothing_waits().await;
    running.stop().await;
    let mut topics: Vec<_> = receiver
        .requests_at("/a")
        .iter()
        .map(|request| request.header("x-homing-topic").expect("a topic").to_owned())
        .collect();
    topics.sort_unstable();
    assert_eq!(topics, ["tenanta.cloud", "tenanta.plain", "tenanta.typed"]);
    // The subscriptions themselves are changes, which are announced to the one that names them.
    let is_audit = |topic: &str| topic.starts_with("homing.audit.");
    let requests = receiver.requests();
    let others = requests.iter().filter(|it| !it.header("x-homing-topic").is_some_and(is_audit));
    assert_eq!(others.count(), 3, "nothing at the others");
    assert_eq!(parked.reason.as_str(), "unreadable");
    let why = parked.last_outcome.expect("it says why");
    assert!(why.contains("`events.subscription_header`"), "{why}");
}

/// Goal: homing's own events cannot be forged, not even by sending again what was parked.
#[tokio::test]
async fn homings_own_events_are_not_forged_over_amqp() {
    let installation = Installation::with(&[50], "events.topic_from = \"type\"").await;
    let receiver = Receiver::accepting().await;
    // Not `homing.#`: that the subscription was made is announced, too.
    let topics = ["homing.endpoint.#", "homing.x", "order.#"];
    let draft = json!({"url": receiver.url("/"), "topics": topics});
    let id: SubscriptionId = installation.subscribe(draft).await.subscription.id;
    let running = installation.start();

    installation.publisher.publish(Raw::new("homing.endpoint.frozen", "key", "{}")).await;
    let raw = Raw::new("order.x", "cloud", "{}").header("cloudEvents:type", "homing.x");
    installation.publisher.publish(raw).await;
    let raw = Raw::new("order.x", "routing-key", "{}").header("x-homing-routing-key", "order.y");
    installation.publisher.publish(raw).await;

    let parked = installation.wait_for_parked(2).await;
    for entry in &parked {
        let why = entry.last_outcome.as_deref().expect("it says why");
        assert!(why.contains("reserved"), "{why}");
    }
    installation.replay_all().await;
    let requests = receiver.wait_for(1).await;
    installation.wait_for_parked(2).await;
    installation.assert_nothing_waits().await;
    running.stop().await;
    assert_eq!(receiver.requests().len(), 1, "nothing forged reaches {id}");
    assert_eq!(requests[0].header("x-homing-topic"), Some("order.x"));
}
