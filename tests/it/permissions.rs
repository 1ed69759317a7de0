//! The least that an account of homing needs, and exchanges that publishers declare themselves.

use std::process::Stdio;

use lapin::{
    ExchangeKind,
    options::ExchangeDeclareOptions,
    types::{AMQPValue, FieldTable},
};

use crate::support::{
    broker::{Corner, Raw, connect},
    eventually, holds,
    installation::Installation,
    node::Node,
    process::Site,
    receiver::Receiver,
};

/// Goal: where an administrator has declared the topology, homing runs without the right to declare
/// anything, hears of subscriptions by looking, and says both once. Method: `topology apply` as an
/// administrator; then a worker whose user may configure nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_needs_no_right_to_declare() {
    let node = Node::start("least").await;
    let address = node.url.rsplit('@').next().expect("a URL has a host").to_owned();
    node.ctl(&["add_user", "worker", "p"]).await;
    let site = Site::at(Corner::at(node.url.clone(), &[]), &[], "");
    let prefix = site.corner.prefix.clone();
    let own = format!("^({prefix}\\.v[0-9]+\\.|amq\\.default$)");
    node.ctl(&["set_permissions", "worker", "^$", &own, &own]).await;
    let url = format!("amqp://worker:p@{address}/");
    let as_worker = ["--broker", url.as_str()];

    // Nothing is there yet: refused with what to do.
    let refused = site.command(&[&["topology", "apply"][..], &as_worker].concat()).output();
    let refused = refused.expect("the program can be run");
    let errors = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && errors.contains("may not declare"), "{errors}");

    site.run(&["topology", "apply"]);
    site.run(&[&["topology", "check"][..], &as_worker].concat());
    let receiver = Receiver::accepting().await;
    site.subscribe(&receiver.url("/before"), "#", &[]);
    let mut command = site.command(&[&["run", "--role", "worker"][..], &as_worker].concat());
    command.stdout(Stdio::null());
    let worker = site.spawn(command);
    site.wait_for_consumers(1).await;
    let publisher = site.publisher().await;
    publisher.publish(Raw::new("t", "event-1", "{}")).await;
    receiver.wait_for(1).await;
    // Found without an announcement, after some events that only the other one gets.
    site.subscribe(&receiver.url("/after"), "#", &[]);
    let mut events = 1;
    eventually(async || {
        events += 1;
        publisher.publish(Raw::new("t", &format!("event-{events}"), "{}")).await;
        holds(receiver.count_at("/after") > 0, "the new subscription gets nothing")
    })
    .await;
    receiver.wait_for_at("/before", events).await;

    let log = std::fs::read_to_string(site.log()).expect("a log");
    assert_eq!(log.matches("topology.not_declared").count(), 1, "{log}");
    assert_eq!(log.matches("control.unavailable").count(), 1, "{log}");
    assert!(!log.contains("lane.failed"), "{log}");
    drop(worker);
}

async fn declare_events(corner: &Corner, alternate: Option<String>) -> lapin::Result<()> {
    let connection = connect(&corner.url).await?;
    let channel = connection.create_channel().await?;
    let mut arguments = FieldTable::default();
    if let Some(alternate) = alternate {
        arguments.insert("alternate-exchange".into(), AMQPValue::LongString(alternate.into()));
    }
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let events = corner.topology.names().events();
    channel.exchange_declare(events.into(), ExchangeKind::Topic, options, arguments).await
}

/// Goal: who declares the exchange first, publisher or homing, and with or without its argument: both run.
#[tokio::test]
async fn a_publisher_may_declare_the_exchange_before_homing_does() {
    for with_argument in [true, false] {
        let corner = Corner::new(&[]);
        let unrouted = with_argument.then(|| corner.topology.names().alternate());
        declare_events(&corner, unrouted).await.expect("the publisher is first");
        let installation = Installation::at(corner, &[], "").await;
        let receiver = Receiver::accepting().await;
        installation.subscribe_all(&receiver.url("/")).await;
        let running = installation.start();
        installation.publisher.publish(Raw::new("t", "event-1", "{}")).await;
        receiver.wait_for(1).await;
        running.stop().await;
        // And once more, with the argument that rabbitmq/README.md gives.
        let unrouted = with_argument.then(|| installation.names().alternate());
        declare_events(&installation.corner, unrouted).await.expect("declared as it is");
    }
}
