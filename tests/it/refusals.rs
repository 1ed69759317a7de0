//! Refusals of the broker are reported with its own reason, and readiness knows of it.

use homing::config::Settings;
use homing_broker::{Broker, Denial, error::BrokerError};

use lapin::{options::QueueBindOptions, types::FieldTable};

use crate::support::{
    broker::{self, Corner, Raw},
    eventually, holds,
    node::Node,
    receiver::Receiver,
};

const VHOST: &str = "plan";

/// The URL of `user` and `vhost` at the node.
fn url(node: &Node, user: &str, vhost: &str) -> String {
    let address = node.url.rsplit('@').next().expect("a URL has a host");
    format!("amqp://{user}@{address}/{vhost}")
}

fn broker(corner: &Corner) -> Broker {
    let text = format!("[broker]\nurl = \"{}\"\nnew_queue_wait = \"0s\"", corner.url);
    let settings = Settings::from_toml(&text).expect("the settings make sense");
    Broker::new(&settings.broker, corner.topology.clone()).expect("the settings make sense")
}

/// Why a process of homing does not start as `user` in `vhost`.
async fn refusal(node: &Node, user: &str, vhost: &str) -> BrokerError {
    let corner = Corner::at(url(node, user, vhost), &[]);
    let broker = broker(&corner);
    let refused = broker.connect().await.expect_err("the broker refuses");
    broker.close().await;
    refused
}

fn reason(error: &BrokerError) -> Option<&Denial> {
    if let BrokerError::Denied { reason, .. } = error { Some(reason) } else { None }
}

async fn limit(node: &Node, limits: &str) {
    node.ctl(&["set_vhost_limits", "-p", VHOST, limits]).await;
}

/// Goal: wrong password, unknown virtual host, no access and reached limits are four things, each reported
/// with the broker's words, and none of them as a broker that is away. Method: a broker of its own, made
/// to refuse in every way.
#[tokio::test]
async fn a_refusal_is_reported_with_the_brokers_reason() {
    let node = Node::start("refusals").await;
    node.ctl(&["add_vhost", VHOST]).await;
    node.ctl(&["add_user", "u", "p"]).await;
    let expect = async |user: &str, vhost: &str, texts: &[&str]| {
        let error = refusal(&node, user, vhost).await;
        let error_report = error.report();
        assert!(texts.iter().all(|text| error_report.contains(text)), "{error_report}");
        assert_ne!(error.summary(), "the broker cannot be reached", "{error_report}");
        assert!(!error_report.contains("u:"), "{error_report}");
        error
    };

    let error = expect("u:wrong", VHOST, &["refuses user `u`", "Login was refused", "403"]).await;
    assert_eq!(reason(&error), Some(&Denial::Login { user: "u".to_owned() }));
    let error = expect("u:p", "nowhere", &["no virtual host `nowhere`", "add_vhost", "530"]).await;
    assert_eq!(reason(&error), Some(&Denial::UnknownVhost { vhost: "nowhere".to_owned() }));
    let error = expect("u:p", VHOST, &["does not let user `u` into", "set_permissions"]).await;
    assert!(matches!(reason(&error), Some(Denial::NoAccess { .. })), "{error:?}");

    node.ctl(&["set_permissions", "-p", VHOST, "u", ".*", ".*", ".*"]).await;
    limit(&node, "{\"max-connections\": 0}").await;
    let error = expect("u:p", VHOST, &["takes no more connections", "limit (0)"]).await;
    assert_eq!(reason(&error), Some(&Denial::Limit));
    limit(&node, "{\"max-connections\": -1, \"max-queues\": 3}").await;
    let error = expect("u:p", VHOST, &["queue limit in vhost", "raise that limit"]).await;
    assert!(!matches!(error, BrokerError::Different { .. }), "{error:?}");
    assert!(error.summary().contains("limit"), "{}", error.summary());
    limit(&node, "{\"max-queues\": -1}").await;

    node.ctl(&["set_permissions", "-p", VHOST, "u", "^$", ".*", ".*"]).await;
    let error = expect("u:p", VHOST, &["may not declare", "topology apply", "403"]).await;
    assert!(error.is_denied(), "{error:?}");
}

/// Goal: an installation that others can see to be connected and that delivers nothing is not ready, and
/// says why. Method: its user may declare and publish, and not read.
#[tokio::test]
async fn a_lane_that_may_not_consume_is_not_ready() {
    let node = Node::start("lanes").await;
    node.ctl(&["add_vhost", VHOST]).await;
    node.ctl(&["add_user", "u", "p"]).await;
    node.ctl(&["set_permissions", "-p", VHOST, "u", ".*", ".*", ".*"]).await;
    let corner = Corner::at(url(&node, "u:p", VHOST), &[]);
    let site = crate::support::process::Site::at(corner, &[], "");
    let port = free_port();
    let listen = format!("127.0.0.1:{port}");
    let mut command = site.command(&["run", "--set", &format!("api.listen={listen}")]);
    command.env("NO_COLOR", "1");
    site.run(&["topology", "apply"]);
    let worker = site.spawn(command);
    site.wait_for_consumers(1).await;
    assert_eq!(ready(port).await.0, 200);

    node.ctl(&["set_permissions", "-p", VHOST, "u", ".*", ".*", "^$"]).await;
    node.ctl(&["close_all_connections", "--vhost", VHOST, "taken away"]).await;
    let detail = wait_for(port, 503, &["lane.primary: not consuming", "permission (403)"]).await;
    assert!(!detail.contains("cannot be reached"), "{detail}");
    let log = std::fs::read_to_string(site.log()).expect("a log");
    assert!(log.matches("lane.failed").count() <= 8, "{log}");

    node.ctl(&["set_permissions", "-p", VHOST, "u", ".*", ".*", ".*"]).await;
    wait_for(port, 200, &[]).await;

    // And one that may not publish.
    node.ctl(&["set_permissions", "-p", VHOST, "u", ".*", "^$", ".*"]).await;
    node.ctl(&["close_all_connections", "--vhost", VHOST, "taken away"]).await;
    let client = client();
    let publish = async || {
        let url = format!("http://127.0.0.1:{port}/v1/events?topic=t");
        client.post(url).body("{}").send().await.expect("an answer").status().as_u16()
    };
    eventually(async || {
        let published = publish().await;
        let (status, body) = ready(port).await;
        let detail = body["detail"].as_str().unwrap_or_default();
        let said = detail.contains("broker.publishing: the broker account lacks");
        holds((status, published, said) == (503, 503, true), format!("{status}: {body}"))
    })
    .await;
    node.ctl(&["set_permissions", "-p", VHOST, "u", ".*", ".*", ".*"]).await;
    eventually(async || holds(publish().await == 202, "publishing does not work again")).await;
    wait_for(port, 200, &[]).await;
    drop(worker);
}

/// Goal: a binding that is missing, and that the account may not make, has what it is missing for sent on
/// ever more seldom; it is said once, and by readiness; nothing is lost. Method: an administrator takes the
/// binding of the primary queue away, and makes it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_binding_that_the_account_may_not_make_is_missed_in_peace() {
    const EVENTS: usize = 50;
    let node = Node::start("bindings").await;
    node.ctl(&["add_vhost", VHOST]).await;
    node.ctl(&["add_user", "u", "p"]).await;
    node.ctl(&["set_permissions", "-p", VHOST, "u", ".*", ".*", ".*"]).await;
    let corner = Corner::at(url(&node, "u:p", VHOST), &[]);
    let site = crate::support::process::Site::at(corner, &[], "");
    site.run(&["topology", "apply"]);
    node.ctl(&["set_permissions", "-p", VHOST, "u", "^$", ".*", ".*"]).await;
    node.ctl(&["set_permissions", "-p", VHOST, "guest", ".*", ".*", ".*"]).await;
    let receiver = Receiver::accepting().await;
    site.subscribe(&receiver.url("/"), "#", &[]);

    let names = site.corner.topology.names();
    let (queue, exchange) = (names.primary(), names.events());
    let administrator = broker::connect(&url(&node, "guest:guest", VHOST)).await.expect("let in");
    let channel = administrator.create_channel().await.expect("a channel");
    let (key, table) = ("#".into(), FieldTable::default());
    let unbound = channel.queue_unbind(queue.as_str().into(), exchange.as_str().into(), key, table);
    unbound.await.expect("unbound");
    let publisher = site.publisher().await;
    for number in 0..EVENTS {
        publisher.publish(Raw::new("t", &format!("event-{number}"), "{}")).await;
    }

    let port = free_port();
    let listen = format!("127.0.0.1:{port}");
    let mut command = site.command(&["run", "--set", &format!("api.listen={listen}")]);
    command.env("NO_COLOR", "1");
    let worker = site.spawn(command);
    wait_for(port, 503, &["broker.bindings: messages have no route"]).await;
    let log = std::fs::read_to_string(site.log()).expect("a log");
    assert_eq!(log.matches("topology.no_route").count(), 1, "{log}");
    // Some ten seconds, in which each was sent on after 0, 1, 3 and 7.
    let moved = log.lines().filter(|line| line.contains("topology.emptied"));
    let moved = moved.filter_map(|line| {
        let (_, behind) = line.split_once("moved=")?;
        behind.split(|it: char| !it.is_ascii_digit()).next()?.parse::<usize>().ok()
    });
    assert!(moved.sum::<usize>() <= 6 * EVENTS, "{log}");

    let (key, table, options) = ("#".into(), FieldTable::default(), QueueBindOptions::default());
    let bound =
        channel.queue_bind(queue.as_str().into(), exchange.as_str().into(), key, options, table);
    bound.await.expect("bound");
    receiver.wait_for(EVENTS).await;
    wait_for(port, 200, &[]).await;
    assert_eq!(receiver.requests().len(), EVENTS);
    drop(worker);
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it has an address").port()
}

fn client() -> reqwest::Client {
    // Another test may have been first.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().timeout(crate::support::PATIENCE);
    client.build().expect("a client can be built")
}

async fn ready(port: u16) -> (u16, serde_json::Value) {
    let answer = client().get(format!("http://127.0.0.1:{port}/readyz")).send().await;
    let Ok(answer) = answer else { return (0, serde_json::Value::Null) };
    let status = answer.status().as_u16();
    let body = answer.text().await.unwrap_or_default();
    (status, serde_json::from_str(&body).unwrap_or_default())
}

/// Waits until readiness has this status and says all of `texts`; its detail.
async fn wait_for(port: u16, status: u16, texts: &[&str]) -> String {
    eventually(async || {
        let (found, body) = ready(port).await;
        let detail = body.get("detail").and_then(|it| it.as_str()).unwrap_or_default();
        let is_so = found == status && texts.iter().all(|text| detail.contains(text));
        if is_so { Ok(detail.to_owned()) } else { Err(format!("{found}: {body}")) }
    })
    .await
}
