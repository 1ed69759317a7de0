//! Real servers end their connections at any time; no delivery pays for that.

use std::{process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{ChildStdout, Command},
    time::sleep,
};

use crate::support::{
    PATIENCE, broker::Raw, eventually, holds, installation::Installation, nginx::Nginx,
};

/// Goal: the end of an HTTP/2 connection is no attempt (GOAWAY). Method: nginx gives up each one
/// after a hundred requests, and there are as many events as end ten of them, many at once; nginx
/// itself says which attempt each request was.
#[tokio::test(flavor = "multi_thread")]
async fn nginx_ends_its_connections_and_no_attempt_is_charged() {
    const EVENTS: usize = 1_000;
    const LOG: &str = "$http_x_homing_attempt $server_protocol $connection";
    let nginx = Nginx::start(LOG, "keepalive_requests 100;", &[]).await;
    let settings = format!("endpoint.ca_file = \"{}\"", nginx.certificate().display());
    let installation = Installation::with(&[200], &settings).await;
    installation.subscribe_all(&nginx.url("/hook")).await;
    for number in 0..EVENTS {
        installation.publisher.publish(Raw::new("t", &format!("event-{number}"), "{}")).await;
    }
    let running = installation.start();
    eventually(async || {
        let requests = nginx.requests().len();
        holds(requests >= EVENTS, format!("{requests} of {EVENTS} requests"))
    })
    .await;
    installation.assert_nothing_waits().await;
    running.stop().await;
    let requests = nginx.requests();
    let mut connections: Vec<_> = requests
        .iter()
        .map(|line| line.strip_prefix("1 HTTP/2.0 ").expect("a first attempt over HTTP/2"))
        .collect();
    connections.sort_unstable();
    connections.dedup();
    assert_eq!(requests.len(), EVENTS);
    assert!(connections.len() >= 10, "{}", connections.len());
    assert!(installation.wait_for_parked(0).await.is_empty());
}

const NODE: &str = "
const server = require('http').createServer((request, response) => {
  console.log('attempt ' + request.headers['x-homing-attempt']);
  request.resume();
  response.setHeader('connection', 'keep-alive');  // without a word on how long
  request.on('end', () => response.end('ok'));
});
server.keepAliveTimeout = 500;
server.keepAliveTimeoutBuffer = 0;
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
";

async fn line(lines: &mut Lines<BufReader<ChildStdout>>) -> String {
    let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("in time");
    line.expect("it can be read").expect("Node still runs")
}

/// Goal: a server that ends idle connections costs no attempt. Method: plain Node, and an event just
/// when it ends the connection of the one before.
#[tokio::test]
async fn node_ends_idle_connections_and_no_attempt_is_charged() {
    let mut node = Command::new("node")
        .args(["-e", NODE])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("Node.js starts (tests/setup)");
    let mut lines = BufReader::new(node.stdout.take().expect("it is piped")).lines();
    let port = line(&mut lines).await;
    let installation = Installation::new(&[200]).await;
    installation.subscribe_all(&format!("http://127.0.0.1:{port}/")).await;
    let running = installation.start();
    for number in 0..12 {
        installation.publisher.publish(Raw::new("t", &format!("event-{number}"), "{}")).await;
        assert_eq!(line(&mut lines).await, "attempt 1");
        // Node ends the connection after half a second.
        sleep(Duration::from_millis(497 + number)).await;
    }
    installation.assert_nothing_waits().await;
    running.stop().await;
    assert!(installation.wait_for_parked(0).await.is_empty());
}
